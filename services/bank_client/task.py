"""What one round asks of a bank, as a value."""

from dataclasses import dataclass

from fedfraud.fixed_point import Segment
from fedfraud.model import RunState, Vector
from fedfraud.recipe import Recipe
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.wire import RoundKey
from services.bank_client.seeds import training_seed


@dataclass(frozen=True)
class Task:
    """What a round asks of this bank; model and run state are None in a standardise round."""

    key: RoundKey
    seat: str
    step: int
    segments: tuple[Segment, ...]
    recipe: Recipe
    seed: int
    rounds: int
    final: bool
    model_sha256: bytes
    run_state: RunState | None
    vector: Vector | None
    alone_until: float
    """When training alone is given up, by the monotonic clock: a task may wait for others before it is begun."""
    counters_sha256: bytes = b""
    """Of the counters that features follow from; empty without any, and in the round that counts."""
    retry: int = 0
    """Rounds of this step that were opened without a commit."""
    task_sha256: bytes = bytes(32)
    """Of all that a contribution follows from besides the bank's own rows."""
    terms: TradeTerms = USUAL_TERMS
    """What the run's figures of the trade are for."""
    masked: bool = False
    """Whether the contribution is to be masked."""

    @property
    def training_seed(self) -> bytes:
        """What the update is drawn from, 32 bytes."""
        return training_seed(self.seed, self.seat, self.step, self.model_sha256, self.retry)

    @property
    def is_last(self) -> bool:
        """Whether it is of a run's last round, after all of its training, with the model that the run leaves."""
        evaluated = Segment.EVALUATE in self.segments and Segment.TRAIN not in self.segments
        has_model = self.run_state is not None and self.vector is not None
        return self.final and evaluated and has_model and self.step == self.rounds + 1
