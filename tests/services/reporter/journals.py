"""Builds small journals for the reporter's tests, entry by entry, as the aggregator writes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

from fedfraud import wire
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import Segment
from fedfraud.manifest import Manifest
from fedfraud.metrics import CurvePoint, Scores
from fedfraud.recipe import recipe_named
from fedfraud.trade_metrics import TradeFigures
from fedfraud.trade_wire import trade_to_proto
from fedfraud.transactions import Feature
from fedfraud.v1 import history_pb2, model_pb2
from services.reporter import summary
from services.reporter.facts import RunFacts
from services.reporter.fold import Facts

FINISHED, STOPPED, FAILED = (
    history_pb2.RUN_OUTCOME_FINISHED,
    history_pb2.RUN_OUTCOME_STOPPED,
    history_pb2.RUN_OUTCOME_FAILED,
)
RUN = "20261123-224501-5f3a"
PREPARING = (Segment.STANDARDISE,)
TRAINING = (Segment.EVALUATE, Segment.TRAIN)
FINAL = (Segment.EVALUATE,)
OF_PAYMENTS = (Segment.EVALUATE, Segment.TRADE)
START = datetime(2026, 11, 23, 22, 45, 1, tzinfo=UTC)


def scores(precision: float | None, rows: int = 1000, frauds: int = 20, flagged: int = 15) -> Scores:
    """20 frauds in 1,000 rows: a prevalence of 0.02, and 980 in 1,000 right by calling all legitimate."""
    if precision is None:
        return Scores(rows, 0, flagged, log_loss=0.1, accuracy=1.0, accuracy_always_legitimate=1.0)
    return Scores(rows, frauds, flagged, precision, 0.9, 0.2, 0.3, 0.05, 0.985, 0.98)


class Journal:
    """Entries with sequences from 1, a second apart."""

    def __init__(self) -> None:
        self.entries: list[history_pb2.Entry] = []

    def add(self, **event: Any) -> "Journal":  # noqa: ANN401  # any of the events
        """Appends the event."""
        entry = history_pb2.Entry(sequence=len(self.entries) + 1, **event)
        entry.time.FromDatetime(START + timedelta(seconds=len(self.entries)))
        self.entries.append(entry)
        return self

    def started(
        self,
        rounds: int = 2,
        recipe: str = "default",
        run: str = RUN,
        secure: bool = False,
        plan: FeaturePlan | None = None,
    ) -> "Journal":
        """With a plan the banks have payments."""
        manifest = Manifest("cards" if plan else "tutorial", (Feature("f1", "euro", 0.01),), (4,), feature_plan=plan)
        return self.add(
            run_started=history_pb2.RunStarted(
                run_id=run,
                seed=7,
                recipe=wire.recipe_to_proto(recipe_named(recipe)),
                manifest=wire.manifest_to_proto(manifest),
                aggregation=model_pb2.AGGREGATION_SECURE if secure else model_pb2.AGGREGATION_PLAIN,
                round_count=rounds,
                quorum=1,
                expected_bank_count=2,
            )
        )

    def opened(self, number: int, cohort: list[str], run: str = RUN) -> "Journal":
        key = model_pb2.RoundKey(run_id=run, round=number, attempt=1)
        segments = wire.segments_to_proto(TRAINING)
        return self.add(round_opened=history_pb2.RoundOpened(key=key, segments=segments, cohort=cohort))

    def accepted(self, number: int, seat: str, run: str = RUN, size: int = 0, **figures: Any) -> "Journal":  # noqa: ANN401  # any of the disclosure's
        key = model_pb2.RoundKey(run_id=run, round=number, attempt=1)
        disclosure = model_pb2.Disclosure(**figures)
        accepted = history_pb2.ContributionAccepted(key=key, seat=seat, size_bytes=size, disclosure=disclosure)
        return self.add(contribution_accepted=accepted)

    def disclosing(self, seat: str = "", **figures: float) -> "Journal":
        """What banks have disclosed, or this one, with other figures."""
        for entry in self.entries:
            accepted = entry.contribution_accepted
            if entry.HasField("contribution_accepted") and seat in ("", accepted.seat):
                for name, value in figures.items():
                    setattr(accepted.disclosure, name, value)
        return self

    def refused(self, seat: str, reason: str, status: str = "INVALID_ARGUMENT") -> "Journal":
        key = model_pb2.RoundKey(run_id="whatever the sender liked", round=99)
        return self.add(
            contribution_refused=history_pb2.ContributionRefused(key=key, seat=seat, status=status, reason=reason)
        )

    def committed(
        self,
        number: int,
        step: int,
        seats: list[str],
        segments: tuple[Segment, ...] = TRAINING,
        pooled: Scores | None = None,
        holdout: Scores | None = None,
        run: str = RUN,
        curve: tuple[CurvePoint, ...] = (),
        trade: TradeFigures | None = None,
        recalibration: model_pb2.Recalibration | None = None,
    ) -> "Journal":
        committed = history_pb2.RoundCommitted(
            key=model_pb2.RoundKey(run_id=run, round=number, attempt=1),
            step=step,
            seats=seats,
            model=model_pb2.ModelReference(model_sha256=bytes([number]) * 32),
            seconds=0.25,
            segments=wire.segments_to_proto(segments),
            pooled_curve=wire.curve_to_proto(curve),
            holdout_curve=wire.curve_to_proto(curve if holdout else ()),
            recalibration=recalibration,
        )
        if pooled:
            committed.pooled.CopyFrom(wire.scores_to_proto(pooled))
        if trade:
            committed.trade.CopyFrom(trade_to_proto(trade))
        if holdout:
            committed.holdout.CopyFrom(wire.scores_to_proto(holdout))
        return self.add(round_committed=committed)

    def void(self, number: int, step: int, seats: list[str], reason: str, run: str = RUN) -> "Journal":
        key = model_pb2.RoundKey(run_id=run, round=number, attempt=1)
        segments = wire.segments_to_proto(TRAINING)
        return self.add(
            round_void=history_pb2.RoundVoid(
                key=key, step=step, seats=seats, reason=reason, seconds=1.5, segments=segments
            )
        )

    def finished(
        self, outcome: history_pb2.RunOutcome.ValueType = FINISHED, reason: str = "", model: bytes = b"", run: str = RUN
    ) -> "Journal":
        return self.add(
            run_finished=history_pb2.RunFinished(run_id=run, outcome=outcome, reason=reason, model_sha256=model)
        )

    def facts(self) -> RunFacts:
        """The facts of the last run that ended."""
        facts, last = Facts(), None
        for entry in self.entries:
            last = facts.apply(entry) or last
        assert last is not None
        return last


def with_central(run: RunFacts, precision: float) -> RunFacts:
    """The run with a central model of this average precision on the hold-out."""
    assert run.final.holdout is not None
    run.final.central = run.final.holdout.model_copy(update={"average_precision": precision})
    return summary.complete(run, run.rounds[-1])


def two_banks(
    recipe: str = "default",
    precisions: tuple[float, ...] = (0.02, 0.4, 0.7),
    flagged: int = 15,
    run: str = RUN,
    secure: bool = False,
    curve: tuple[CurvePoint, ...] = (),
    recalibration: model_pb2.Recalibration | None = None,
) -> Journal:
    """Two training rounds: the initial model and each round's, on the hold-out; pooled, large ones are 0.1 lower.

    bank-01 gains (0.5 to 0.65), bank-02 loses (0.8 to 0.6).
    """
    both = ["bank-01", "bank-02"]
    held = [scores(precision, flagged=flagged) for precision in precisions]
    pooled = [scores(precision - 0.1 if precision > 0.15 else precision, flagged=flagged) for precision in precisions]
    journal = Journal().started(recipe=recipe, run=run, secure=secure)
    journal.opened(1, both, run).committed(1, 0, both, PREPARING, holdout=held[0], run=run)
    journal.opened(2, both, run).committed(2, 1, both, pooled=pooled[0], holdout=held[1], run=run)
    journal.opened(3, both, run).committed(3, 2, both, pooled=pooled[1], holdout=held[2], run=run)
    journal.opened(4, both, run)
    first: dict[str, Any] = {"row_count": 4000, "fraud_rate": 0.025, "alone": 0.5, "federated": 0.65}
    journal.accepted(4, "bank-01", run, **first, alone_holdout=0.3, federated_holdout=0.7)
    second: dict[str, Any] = {"row_count": 2000, "fraud_rate": 0.05, "alone": 0.8, "federated": 0.6}
    journal.accepted(4, "bank-02", run, **second, alone_holdout=0.8, federated_holdout=0.7)
    fit = recalibration
    journal.committed(4, 3, both, FINAL, pooled=pooled[2], holdout=held[2], run=run, curve=curve, recalibration=fit)
    return journal.finished(model=b"\x03" * 32, run=run)
