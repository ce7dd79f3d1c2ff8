"""A round as a pure state machine: no gRPC, clock, disk or randomness; what happens is told to it.

    open ──all answered, or the deadline with a quorum──> committed
      └────the deadline without a quorum────────────────> void

An attempt's contributions are keyed by (run, round, attempt, seat); the same bytes for a key count once.
"""

from dataclasses import dataclass, field
from enum import Enum

from fedfraud.errors import Conflict, Invalid, Stale
from fedfraud.fixed_point import Segment
from fedfraud.wire import RoundKey


class Outcome(Enum):
    """What became of a round."""

    OPEN = "open"
    COMMITTED = "committed"
    VOID = "void"


@dataclass(frozen=True)
class Plan:
    """What a round asks for. `step` is the training round the model stands before, 0 in a preparing round;
    `roster_size` how many seats, the first enrolled ones, a masked round's roster has, 0 in plain aggregation;
    `task_sha256` what its banks sign besides, empty in plain aggregation."""

    key: RoundKey
    step: int
    segments: tuple[Segment, ...]
    cohort: frozenset[str]
    quorum: int
    model_sha256: bytes
    word_count: int
    final: bool = False
    roster_size: int = 0
    task_sha256: bytes = b""


@dataclass
class Round:
    """One attempt of a round: who has answered, with which contribution, and what came of it."""

    plan: Plan
    outcome: Outcome = Outcome.OPEN
    answered: dict[str, bytes] = field(default_factory=dict)

    def admit(self, seat: str, key: RoundKey, model_sha256: bytes, word_count: int, vector_sha256: bytes) -> bool:
        """Whether a contribution announced like this may be sent; False if the same one counts already."""
        plan = self.plan
        if key != plan.key:
            raise Stale(f"a contribution must answer the open round, {plan.key}, got {key}")
        if seat not in plan.cohort:
            raise Stale(f"a contribution must come from the cohort of round {plan.key}, got one from {seat}")
        if seat in self.answered:
            if self.answered[seat] == vector_sha256:
                return False
            raise Conflict(
                f"a seat contributes once a round: {seat} gave {self.answered[seat].hex()[:12]}, "
                f"got {vector_sha256.hex()[:12]}"
            )
        if self.outcome is not Outcome.OPEN:
            raise Stale(f"a contribution must come before the deadline: round {plan.key} is {self.outcome.value}")
        if model_sha256 != plan.model_sha256:
            raise Stale(
                f"a contribution must be made on model {plan.model_sha256.hex()[:12] or 'none'}, "
                f"got {model_sha256.hex()[:12] or 'none'}"
            )
        if word_count != plan.word_count:
            raise Invalid(f"a contribution must have {plan.word_count} words, got {word_count}")
        if len(vector_sha256) != 32:
            raise Invalid(f"a vector's SHA-256 must have 32 bytes, got {len(vector_sha256)}")
        return True

    def accept(self, seat: str, vector_sha256: bytes) -> None:
        """A contribution that `admit` let in is durable and counts."""
        self.answered[seat] = vector_sha256

    @property
    def complete(self) -> bool:
        """Whether the whole cohort has answered."""
        return self.answered.keys() == self.plan.cohort

    @property
    def awaited(self) -> list[str]:
        """The seats that have not answered, sorted."""
        return sorted(self.plan.cohort - self.answered.keys())

    def close(self) -> Outcome:
        """Everybody has answered or the deadline has passed: no contribution is admitted from here."""
        if self.outcome is Outcome.OPEN:
            self.outcome = Outcome.COMMITTED if len(self.answered) >= self.plan.quorum else Outcome.VOID
        return self.outcome
