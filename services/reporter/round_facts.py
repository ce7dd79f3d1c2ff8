"""A round as facts: the one that is going on, and those that are over."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from services.reporter.part import Figure, Part
from services.reporter.score_facts import ScoreFacts

Stage = Literal["advertise", "share", "mask", "consent", "unmask"]
"""Of a masked round; see masking.proto."""


class OpenRound(Part):
    """The round that is going on: who has answered, is waited for, or sits it out; of the cohort, others are out.

    In a masked round that is said of its present `stage`. `contributed` are the seats whose contributions are in.
    """

    number: int
    round: int
    attempt: int
    segments: list[str]
    opened_time: datetime
    cohort: list[str]
    quorum: int
    answered: list[str] = Field(default_factory=list)
    awaited: list[str] = Field(default_factory=list)
    sat_out: list[str] = Field(default_factory=list)
    contributed: list[str] = Field(default_factory=list)
    bytes: int = 0
    stage: Stage | None = None


class MissingAnswer(Part):
    """A seat whose answer a round lacked: at which stage, where the round was masked, and why."""

    seat: str
    stage: Stage | None = None
    reason: str


class RoundFacts(Part):
    """One round. `number` is the training round, 0 when preparing; `round` counts every round of the run from 1.

    `banks` answered; `dropped` are the seats of the cohort that did not, `missing` says why; `absent` are enrolled
    seats that were not there when a round ended without a result. `stage` is that at which a masked round ended so.
    `holdout` and `pooled` describe the model that the round produced.
    `contributions` and `bytes` count what banks sent and the aggregator accepted.
    """

    number: int
    round: int
    attempt: int
    segments: list[str]
    outcome: Literal["committed", "void", "abandoned"]
    reason: str = ""
    stage: Stage | None = None
    seconds: Figure = None
    banks: int
    cohort: int
    dropped: list[str] = Field(default_factory=list)
    missing: list[MissingAnswer] = Field(default_factory=list)
    absent: list[str] = Field(default_factory=list)
    clipped_share: Figure = None
    holdout: ScoreFacts | None = None
    pooled: ScoreFacts | None = None
    contributions: int = 0
    bytes: int = 0
    opened_time: datetime | None = None
    ended_time: datetime | None = None
