"""A run's hyperparameters, by name."""

from dataclasses import dataclass
from enum import Enum

from fedfraud.errors import Invalid

CLIP = 4.0
"""What an update's coordinates are clipped to; in masked rounds banks insist on it."""


class WeightRule(Enum):
    """What a bank's weight in the average is proportional to."""

    ROWS = "rows"
    HARMONIC = "harmonic"
    SQRT_FRAUD = "sqrt_fraud"

    def measure(self, frauds: int, rows: int) -> float:
        """The rule's value for a bank; it never falls when frauds or legitimate rows are added."""
        legitimate = rows - frauds
        match self:
            case WeightRule.ROWS:
                return float(rows)
            case WeightRule.HARMONIC:
                return 2.0 * frauds * legitimate / rows if rows else 0.0
            case WeightRule.SQRT_FRAUD:
                return float(frauds**0.5)


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters: `learning_rate` of Adam, rows a batch, local epochs a round, then what the server does."""

    name: str
    learning_rate: float
    batch_size: int
    local_epochs: int = 1
    dropout: float = 0.0
    logit_adjustment: bool = False
    weight_rule: WeightRule = WeightRule.ROWS
    momentum: float = 0.0
    clip: float = CLIP

    def __post_init__(self) -> None:
        for rule, held, value in (
            ("learning rate must be above 0 and finite", 0 < self.learning_rate < float("inf"), self.learning_rate),
            ("batch size must be 1 to 65536", 1 <= self.batch_size <= 2**16, self.batch_size),
            ("local epochs must be 1 to 100", 1 <= self.local_epochs <= 100, self.local_epochs),
            ("dropout must be at least 0 and below 1", 0 <= self.dropout < 1, self.dropout),
            ("momentum must be at least 0 and below 1", 0 <= self.momentum < 1, self.momentum),
            ("clip must be above 0 and finite", 0 < self.clip < float("inf"), self.clip),
        ):
            if not held:
                raise Invalid(f"{rule}, got {value}")


RECIPES = {
    recipe.name: recipe
    for recipe in (
        # The tutorial's own: it detects nothing in ten rounds, and the report says so.
        Recipe("tutorial", learning_rate=5e-4, batch_size=512, dropout=0.1),
        # The best found for ten rounds; `benchmarks/recipes.py` prints its figures.
        Recipe(
            "default",
            learning_rate=3e-3,
            batch_size=128,
            local_epochs=2,
            logit_adjustment=True,
            weight_rule=WeightRule.SQRT_FRAUD,
            momentum=0.5,
        ),
        # For card payments: chosen on weeks before those that `benchmarks/handbook.py` prints its figures of.
        Recipe(
            "cards",
            learning_rate=5e-3,
            batch_size=512,
            local_epochs=3,
            dropout=0.2,
            logit_adjustment=True,
            weight_rule=WeightRule.SQRT_FRAUD,
        ),
    )
}

DEFAULTS = {"tutorial": ("default", 10), "cards": ("cards", 20)}
"""The recipe and the committed training rounds of a population's runs, where none are set."""


def recipe_named(name: str) -> Recipe:
    """The recipe of that name, or an error that lists the names there are."""
    if name not in RECIPES:
        raise Invalid(f"recipe must be one of {', '.join(RECIPES)}, got {name[:40]!r}")
    return RECIPES[name]
