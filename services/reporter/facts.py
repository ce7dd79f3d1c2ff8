"""The facts of a run: the structure that `facts.json` holds.

Every figure of the report and of the page is one of these. A figure that is not known is null; NaN never appears.
`docs/facts.schema.json` is its schema, written by `python -m services.reporter schema`.
"""

import json
from datetime import date, datetime
from typing import Literal

from pydantic import Field

from services.reporter.derived_facts import DerivedFacts
from services.reporter.part import Figure, Part
from services.reporter.release_facts import ReleaseRecord
from services.reporter.round_facts import OpenRound, RoundFacts
from services.reporter.score_facts import CurveFacts, RecalibrationFacts, ScoreFacts
from services.reporter.trade_facts import TradeFacts


class FeatureFacts(Part):
    """An input of the model; mean and deviation over all banks' training rows, in its unit."""

    name: str
    unit: str
    mean: Figure = None
    deviation: Figure = None


class RunStateFacts(Part):
    """What the preparing round computed from all banks' training rows."""

    training_rows: int
    training_frauds: int
    fraud_rate: Figure
    weight_scale: Figure


class PlanFacts(Part):
    """Which days the rows are of, where banks have payments: see feature_plan.py. Days are UTC dates, both ends count.

    Training and validation are of their days; what a bank discloses of its rows is of all days of the plan.
    """

    first_day: date
    last_day: date
    train_first_day: date
    train_last_day: date
    test_first_day: date
    day_count: int
    history_days: int
    train_days: int
    delay_days: int
    test_days: int
    label_delay_days: int


class RunIdentity(Part):
    """What the run is and how it ended; `outcome` is None while it goes on. `layers` are widths, input to output;
    `roster` says how banks know each other's signing keys where contributions are masked. `journal_head` is the
    SHA-256 chain's head after entry `journal_sequence`, the run's last one so far."""

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
    round_deadline_seconds: Figure = None
    parameter_count: int | None = None
    model_bytes: int | None = None
    vector_sha256: str | None = None
    features: list[FeatureFacts] = Field(default_factory=list)
    feature_plan: PlanFacts | None = None
    run_state: RunStateFacts | None = None
    journal_sequence: int | None = None
    journal_head: str | None = None


class Summary(Part):
    """One figure over the banks that disclose it: `count` of them."""

    best: float
    mean: float
    worst: float
    count: int


class AgainstCentral(Part):
    """Which model has the higher average precision on the hold-out, or without one on all validation rows, and by how
    much: the difference of the two as they are printed, with three decimals. Neither where these are the same; None
    where the two were judged on other numbers of rows or frauds."""

    ahead: Literal["federated", "central", "neither"]
    by: float


class FinalFacts(Part):
    """The last committed model, and the banks' average precision alone and with it.

    `central` is the same recipe on all rows in one place, scored on the hold-out, or without one on all validation
    rows (simulation only); `central_trade` is that model in the trade's terms. Banks gain or lose on their own
    validation rows, of those `banks_compared` that disclose both figures, at the printed precision: the others are
    unchanged. `banks_uncompared` are the rest of the run's banks. `alone` and `federated` are over all banks that
    disclose the one; `compared_…` and `uplift` over those that disclose both, and the mean uplift is the difference
    of their means as they are printed.
    """

    holdout: ScoreFacts | None = None
    pooled: ScoreFacts | None = None
    central: ScoreFacts | None = None
    against_central: AgainstCentral | None = None
    holdout_curve: CurveFacts | None = None
    pooled_curve: CurveFacts | None = None
    recalibration: RecalibrationFacts | None = None
    trade: TradeFacts | None = None
    central_trade: TradeFacts | None = None
    alone: Summary | None = None
    federated: Summary | None = None
    alone_holdout: Summary | None = None
    federated_holdout: Summary | None = None
    compared_alone: Summary | None = None
    compared_federated: Summary | None = None
    compared_alone_holdout: Summary | None = None
    compared_federated_holdout: Summary | None = None
    uplift: Summary | None = None
    uplift_holdout: Summary | None = None
    banks_compared: int = 0
    banks_gaining: int = 0
    banks_losing: int = 0
    banks_unchanged: int = 0
    banks_uncompared: int = 0


SeatState = Literal["present", "absent", "lapsed", "revoked"]


class BankFacts(Part):
    """What a bank disclosed, the latest of each figure; uplift is federated minus alone, in average precision, both at
    the printed precision of three decimals.

    `state` is that of its seat; it was asked in `rounds_asked` rounds, has answered `rounds_answered` of them, the last
    time `last_answered_round`, which counts every round of the run. `no_uplift` says why its uplift is not known when
    the run has ended.
    """

    seat: str
    state: SeatState = "present"
    rounds_asked: int = 0
    rounds_answered: int = 0
    last_answered_round: int | None = None
    refusals: int = 0
    rows: int | None = None
    fraud_rate: Figure = None
    alone: Figure = None
    federated: Figure = None
    alone_holdout: Figure = None
    federated_holdout: Figure = None
    uplift: Figure = None
    uplift_holdout: Figure = None
    no_uplift: str | None = None


class Refusal(Part):
    """A contribution that did not count."""

    seat: str
    status: str
    reason: str


class Refusals(Part):
    """All of them counted, the last few in full."""

    count: int = 0
    last: list[Refusal] = Field(default_factory=list)


class Totals(Part):
    """Sums over the run's rounds; `answers_missing` counts the seats of a cohort that did not answer, each round."""

    rounds_committed: int = 0
    rounds_void: int = 0
    rounds_abandoned: int = 0
    training_rounds: int = 0
    contributions: int = 0
    bytes: int = 0
    seconds: Figure = 0.0
    answers_missing: int = 0


class Spread(Part):
    """A disclosed figure over the `count` banks that disclose it; `ratio` is most by least, None if that is 0."""

    least: float
    mean: float
    most: float
    ratio: Figure
    count: int


class Heterogeneity(Part):
    """How different the banks are, as far as they disclose it."""

    rows: Spread | None = None
    fraud_rate: Spread | None = None


class Event(Part):
    """Something that happened, in words."""

    time: datetime
    kind: Literal["run", "round", "bank", "missing", "refusal", "aggregator"]
    level: Literal["info", "warning", "error"] = "info"
    text: str


class CodeFacts(Part):
    """The code that read the journal and made these facts: the package's version, and the git commit that it was
    built from or is checked out at."""

    version: str = "unknown"
    commit: str = "unknown"


class RunFacts(Part):
    """Everything that the journal says of one run; all but `rounds`, `banks`, `refusals`, `events` and `open` is final
    when the run has ended. `events` are the last few hundred, `events_omitted` counts those before. `derived` is
    None in files of versions before it."""

    run: RunIdentity
    code: CodeFacts = CodeFacts()
    final: FinalFacts = FinalFacts()
    totals: Totals = Totals()
    rounds: list[RoundFacts] = Field(default_factory=list)
    banks: list[BankFacts] = Field(default_factory=list)
    heterogeneity: Heterogeneity = Heterogeneity()
    release: ReleaseRecord = ReleaseRecord()
    derived: DerivedFacts | None = None
    refusals: Refusals = Refusals()
    events: list[Event] = Field(default_factory=list)
    events_omitted: int = 0
    open: OpenRound | None = None

    def to_json(self) -> str:
        """The content of `facts.json`: the same bytes for the same journal."""
        return self.model_dump_json(indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "RunFacts":
        """Reads `facts.json` again; ValueError if it is something else."""
        return cls.model_validate_json(text)


def schema() -> str:
    """The JSON schema (2020-12) of `facts.json`, as docs/facts.schema.json holds it."""
    described = RunFacts.model_json_schema(mode="serialization")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "The facts of a fedfraud run"}
    return json.dumps({**described, **head}, indent=2) + "\n"
