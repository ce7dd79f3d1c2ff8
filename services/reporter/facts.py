"""The facts of a run: the structure that `facts.json` holds.

Every figure of the report is one of these. A figure that is not known is null; NaN never appears.
"""

import math
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A finite number, or None where it is not known."""


class ScoreFacts(BaseModel):
    """How well one model did on one set of labelled rows; see `Scores` in model.proto."""

    average_precision: Figure = None
    roc_auc: Figure = None
    prevalence: Figure = None
    log_loss: Figure = None
    accuracy: Figure = None
    accuracy_always_legitimate: Figure = None
    recall_at_half_percent: Figure = None
    recall_at_one_percent: Figure = None
    row_count: int
    fraud_count: int
    flagged_count: int


class RunIdentity(BaseModel):
    """What the run is and how it ended; `outcome` is None while it goes on. `layers` are widths, input to output;
    `roster` says how banks know each other's signing keys where contributions are masked."""

    id: str
    seed: int
    recipe: str
    population: str
    aggregation: str
    roster: Literal["first use"] | None = None
    model_sha256: str | None = None
    outcome: Literal["finished", "stopped", "failed"] | None = None
    reason: str = ""
    started_time: datetime
    ended_time: datetime | None = None
    round_count: int
    quorum: int
    expected_bank_count: int
    hyperparameters: dict[str, bool | int | float | str]
    layers: list[int]


class Summary(BaseModel):
    """One figure over the banks that disclose it: `count` of them."""

    best: float
    mean: float
    worst: float
    count: int


class FinalFacts(BaseModel):
    """The last committed model, and the banks' average precision alone and with it."""

    holdout: ScoreFacts | None = None
    pooled: ScoreFacts | None = None
    alone: Summary | None = None
    federated: Summary | None = None
    alone_holdout: Summary | None = None
    federated_holdout: Summary | None = None


class RoundFacts(BaseModel):
    """One round. `number` is the training round, 0 when preparing; `round` counts every round of the run from 1.

    `banks` answered; `dropped` are the seats of the cohort that did not. `holdout` and `pooled` describe the model that
    the round produced.
    """

    number: int
    round: int
    attempt: int
    segments: list[str]
    outcome: Literal["committed", "void", "abandoned"]
    reason: str = ""
    seconds: Figure = None
    banks: int
    cohort: int
    dropped: list[str] = []
    clipped_share: Figure = None
    holdout: ScoreFacts | None = None
    pooled: ScoreFacts | None = None


class BankFacts(BaseModel):
    """What a bank disclosed, the latest of each figure; uplift is federated minus alone, in average precision."""

    seat: str
    rows: int | None = None
    fraud_rate: Figure = None
    alone: Figure = None
    federated: Figure = None
    alone_holdout: Figure = None
    federated_holdout: Figure = None
    uplift: Figure = None
    uplift_holdout: Figure = None


class Refusal(BaseModel):
    """A contribution that did not count."""

    seat: str
    status: str
    reason: str


class Refusals(BaseModel):
    """All of them counted, the last few in full."""

    count: int = 0
    last: list[Refusal] = []


class RunFacts(BaseModel):
    """Everything that the journal says of one run; `final` is filled when the run ends."""

    run: RunIdentity
    final: FinalFacts = FinalFacts()
    rounds: list[RoundFacts] = []
    banks: list[BankFacts] = []
    refusals: Refusals = Refusals()

    def to_json(self) -> str:
        """The content of `facts.json`: the same bytes for the same journal."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunFacts":
        """Reads `facts.json` again; ValueError if it is something else."""
        return cls.model_validate_json(text)
