"""The feature schemas: names, units and order of the columns that a dataset must have."""

from collections.abc import Iterator
from dataclasses import dataclass

from fedfraud.errors import Invalid

LABEL = "fraud"
"""The column of labels in every dataset: 0 is legitimate, 1 is fraud."""


@dataclass(frozen=True)
class Feature:
    """One input column.

    `resolution` is in the feature's unit: values are rounded to a multiple of it before they are summed for the scaler.
    """

    name: str
    unit: str
    resolution: float


TUTORIAL = tuple(Feature(f"feature_{i:02d}", "standard score", 2.0**-20) for i in range(1, 31))
"""The thirty anonymous columns of the tutorial's population."""

WINDOWS = (1, 7, 30)
"""Days that a customer's payments, and a merchant's risk, are looked back over."""


def _cards() -> Iterator[Feature]:
    yield Feature("amount", "euro", 2.0**-10)
    yield Feature("during_weekend", "0 or 1", 1.0)
    yield Feature("during_night", "0 or 1", 1.0)
    for days in WINDOWS:
        yield Feature(f"customer_count_{days}d", "payments", 1.0)
        yield Feature(f"customer_mean_{days}d", "euro", 2.0**-10)
    for days in WINDOWS:
        yield Feature(f"merchant_count_{days}d", "payments", 1.0)
        yield Feature(f"merchant_risk_{days}d", "share of frauds", 2.0**-20)


CARDS = tuple(_cards())
"""The fifteen features of card payments (Le Borgne et al. 2022); a bank computes them from its transactions and the
summed counters, by its feature plan."""

SCHEMAS = {"tutorial": TUTORIAL, "cards": CARDS}
"""The features of each population, in the order of the model's columns."""

PRESETS: dict[str, tuple[str, ...]] = {"tutorial": (), "cards": ("national", "regional", "skewed")}
"""How a simulated population can be dealt out to banks, its default first."""
HAVE_HOLDOUT = frozenset({"tutorial"})
"""The populations with rows that no bank has."""


def preset_of(population: str, chosen: str) -> str:
    """The preset that was chosen, or the population's default; empty where it has none."""
    known = PRESETS[population]
    if chosen and not known:
        raise Invalid(f"the population {population} has no presets, got {chosen[:40]!r}")
    if chosen and chosen not in known:
        raise Invalid(f"a preset of {population} must be one of {', '.join(known)}, got {chosen[:40]!r}")
    return chosen or next(iter(known), "")
