"""A pure fold over the journal's entries, from which the facts of each run come."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from fedfraud import chain, wire
from fedfraud.build import build
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.packing import WORD_BYTES, Packing
from fedfraud.recipe import Recipe
from fedfraud.trade_wire import terms_from_proto, trade_from_proto
from fedfraud.v1 import history_pb2, model_pb2
from services.reporter import summary
from services.reporter.attempt import Attempt
from services.reporter.events import Wording
from services.reporter.facts import (
    BankFacts,
    CodeFacts,
    Event,
    FeatureFacts,
    Refusal,
    Refusals,
    RunFacts,
    RunIdentity,
    RunStateFacts,
    SeatState,
)
from services.reporter.plan import plan_facts
from services.reporter.release_facts import BankRelease, ReleaseRecord, SegmentFacts, SegmentRelease
from services.reporter.round_facts import RoundFacts
from services.reporter.rounding import difference
from services.reporter.score_facts import RecalibrationFacts, ScoreFacts
from services.reporter.trade_facts import trade_facts

LAST_REFUSALS = 20
"""How many refusals are kept in full; all are counted."""
LAST_EVENTS = 400
"""How many events are kept; those before are counted."""
CONTENT = {
    Segment.COUNT: "transactions and known frauds in each merchant bucket and day",
    Segment.STANDARDISE: "sums of each feature and its square, rows and frauds of the training rows",
    Segment.TRAIN: "the weighted update of the model, the weight, how many coordinates were clipped",
    Segment.EVALUATE: "validation rows in each score bin, by label",
    Segment.TRADE: "validation payments, cards and cents by day and alert budget, and bootstrap replicates by card",
}
"""What a segment's integers are."""

_Protection = Literal["masked", "plain", "unknown"]
_PROTECTIONS: dict[int, tuple[str, _Protection]] = {
    model_pb2.AGGREGATION_PLAIN: ("plain", "plain"),
    model_pb2.AGGREGATION_SECURE: ("secure", "masked"),
}
_OUTCOMES: dict[int, Literal["finished", "stopped", "failed"]] = {
    history_pb2.RUN_OUTCOME_FINISHED: "finished",
    history_pb2.RUN_OUTCOME_STOPPED: "stopped",
    history_pb2.RUN_OUTCOME_FAILED: "failed",
}
_Ended = history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned


class Facts:
    """The fold: `apply` each entry of the journal once, in order. There is one run at a time."""

    def __init__(self) -> None:
        self.current: RunFacts | None = None
        """The run that is going on. `completed` gives it with its sums."""
        self.last: RunFacts | None = None
        """The run that ended last."""
        self.seats: dict[str, SeatState] = {}
        """Every enrolled bank, and whether it is there."""
        self.events: list[Event] = []
        """What happened since the last run ended, or in this one; the last few hundred."""
        self.sequence, self.head = 0, b""
        self._omitted = 0
        self._wording = Wording()
        self._leases: dict[str, int] = {}
        self._banks: dict[str, BankFacts] = {}
        self._released: dict[str, BankRelease] = {}
        self._layouts: tuple[Manifest, Recipe] | None = None
        self._attempt: Attempt | None = None  # of the open round
        self._last: RoundFacts | None = None  # the last committed round that left a model

    def apply(self, entry: history_pb2.Entry) -> RunFacts | None:
        """Takes the next entry. Returns the run that it ended, if it ended one."""
        kind, time = entry.WhichOneof("event"), entry.time.ToDatetime(UTC)
        # As the journal has it: deterministic bytes, fields in order.
        self.sequence, self.head = entry.sequence, chain.next_head(self.head, entry.SerializeToString())
        self._follow_seats(entry)
        self._note(self._wording.events(entry))
        if kind == "run_started":
            self._begin(entry.run_started, time)
        elif self.current is not None:
            self._continue(self.current, kind, entry)
            if kind == "run_finished" and entry.run_finished.run_id == self.current.run.id:
                return self._end(self.current, entry.run_finished, time)
        return None

    def completed(self) -> RunFacts | None:
        """The run that is going on, with its sums as they stand; else the last one."""
        if self.current is None:
            return self.last
        return summary.complete(self._stand(self.current), self._last)

    def _begin(self, started: history_pb2.RunStarted, time: datetime) -> None:
        recipe = wire.recipe_from_proto(started.recipe)
        manifest = wire.manifest_from_proto(started.manifest)
        hyperparameters = {**asdict(recipe), "weight_rule": recipe.weight_rule.value}
        unknown: tuple[str, _Protection] = ("unknown", "unknown")
        aggregation, protection = _PROTECTIONS.get(started.aggregation, unknown)
        of_payments = {Segment.COUNT, Segment.TRADE}
        asked = [segment for segment in Segment if segment not in of_payments or manifest.feature_plan]
        terms = terms_from_proto(started)
        layouts = [Layout((segment,), manifest, recipe, terms) for segment in asked]
        masked = started.aggregation == model_pb2.AGGREGATION_SECURE
        segments = [_segment(layout, masked=masked) for layout in layouts]
        self.current = RunFacts(
            run=RunIdentity(
                id=started.run_id,
                seed=started.seed,
                recipe=hyperparameters.pop("name"),
                population=manifest.population,
                aggregation=aggregation,
                roster="first use" if started.aggregation == model_pb2.AGGREGATION_SECURE else None,
                started_time=time,
                round_count=started.round_count,
                quorum=started.quorum,
                expected_bank_count=started.expected_bank_count,
                hyperparameters=hyperparameters,
                layers=[len(manifest.features), *manifest.hidden_sizes, 1],
                round_deadline_seconds=started.round_deadline_seconds or None,
                parameter_count=manifest.parameter_count,
                model_bytes=4 * manifest.parameter_count,
                features=[FeatureFacts(name=feature.name, unit=feature.unit) for feature in manifest.features],
                feature_plan=plan_facts(manifest.feature_plan) if manifest.feature_plan else None,
            ),
            code=CodeFacts(**asdict(build())),
            release=ReleaseRecord(protection=protection, segments=segments),
        )
        self._attempt = None
        self._banks, self._released, self._last, self._layouts = {}, {}, None, (manifest, recipe)
        if started.HasField("run_state"):
            _take_run_state(self.current, started.run_state)

    def _continue(self, run: RunFacts, kind: str | None, entry: history_pb2.Entry) -> None:
        if self._attempt is not None:
            self._attempt.take(entry)
        # A refusal names whatever round its sender liked, so it belongs to the run that was going on.
        if kind == "contribution_refused":
            self._refuse(run, entry.contribution_refused)
        elif kind == "round_opened" and entry.round_opened.key.run_id == run.run.id:
            self._open(run, entry.round_opened, entry.time.ToDatetime(UTC))
        elif kind == "contribution_accepted" and entry.contribution_accepted.key.run_id == run.run.id:
            self._accept(run, entry.contribution_accepted)
        elif kind == "stage_answered" and entry.stage_answered.key.run_id == run.run.id:
            released = self._release(entry.stage_answered.seat)
            released.mask_messages += 1
            released.mask_bytes += entry.stage_answered.answer.ByteSize()
        elif kind == "round_committed" and entry.round_committed.key.run_id == run.run.id:
            self._commit(run, entry.round_committed, entry.time.ToDatetime(UTC))
        elif kind == "round_void" and entry.round_void.key.run_id == run.run.id:
            self._close(run, entry.round_void, entry.time.ToDatetime(UTC), "void", entry.round_void.reason)
        elif kind == "round_abandoned" and entry.round_abandoned.key.run_id == run.run.id:
            self._close(
                run, entry.round_abandoned, entry.time.ToDatetime(UTC), "abandoned", entry.round_abandoned.reason
            )

    def _open(self, run: RunFacts, opened: history_pb2.RoundOpened, time: datetime) -> None:
        self._attempt = Attempt(opened, time)
        run.open = self._attempt.facts
        for seat in opened.cohort:
            self._bank(run, seat).rounds_asked += 1

    def _bank(self, run: RunFacts, seat: str) -> BankFacts:
        if seat not in self._banks:
            self._banks[seat] = BankFacts(seat=seat)
            run.banks = sorted(self._banks.values(), key=lambda bank: summary.seat_order(bank.seat))
        return self._banks[seat]

    def _release(self, seat: str) -> BankRelease:
        return self._released.setdefault(seat, BankRelease(seat=seat))

    def _accept(self, run: RunFacts, accepted: history_pb2.ContributionAccepted) -> None:
        bank, released = self._bank(run, accepted.seat), self._release(accepted.seat)
        bank.rounds_answered += 1
        bank.last_answered_round = accepted.key.round
        given = asdict(wire.disclosure_from_proto(accepted.disclosure))
        given["rows"] = given.pop("row_count")
        for name, value in given.items():
            if value is not None:
                setattr(bank, name, value)
                released.disclosed = sorted({*released.disclosed, name})
        bank.uplift = difference(bank.federated, bank.alone)
        bank.uplift_holdout = difference(bank.federated_holdout, bank.alone_holdout)
        released.contributions += 1
        released.bytes += accepted.size_bytes
        if run.open is not None:
            for name in run.open.segments:
                self._count_segment(run, released, name)

    def _count_segment(self, run: RunFacts, released: BankRelease, name: str) -> None:
        size = next(segment.bytes for segment in run.release.segments if segment.name == name)
        for segment in released.segments:
            if segment.name == name:
                segment.times, segment.bytes = segment.times + 1, segment.bytes + size
                return
        released.segments.append(SegmentRelease(name=name, times=1, bytes=size))

    def _refuse(self, run: RunFacts, refused: history_pb2.ContributionRefused) -> None:
        refusal = Refusal(seat=refused.seat, status=refused.status, reason=refused.reason)
        run.refusals = Refusals(count=run.refusals.count + 1, last=[*run.refusals.last, refusal][-LAST_REFUSALS:])
        if refused.seat in self._banks:
            self._banks[refused.seat].refusals += 1

    def _commit(self, run: RunFacts, committed: history_pb2.RoundCommitted, time: datetime) -> None:
        done = self._close(run, committed, time, "committed")
        done.holdout = _scores(committed, "holdout")
        # The message's pooled scores are those of the model that the round received: the one before it.
        received = _scores(committed, "pooled")
        if self._last is not None and received is not None:
            self._last.pooled = received
        if Segment.EVALUATE.value in done.segments and Segment.TRAIN.value not in done.segments:
            done.pooled = received  # an evaluate-only round leaves the model that it received
        if committed.HasField("run_state"):
            _take_run_state(run, committed.run_state)
        if committed.pooled_curve:  # in the final round
            # Banks' validation rows are of the plan's test days; of a public hold-out nobody says that.
            days = run.run.feature_plan.test_days if run.run.feature_plan else None
            run.final.pooled_curve = summary.curve(wire.curve_from_proto(committed.pooled_curve), days)
            run.final.holdout_curve = summary.curve(wire.curve_from_proto(committed.holdout_curve))
        if committed.HasField("recalibration"):
            run.final.recalibration = _recalibration(committed.recalibration)
        if committed.HasField("trade"):  # of the final round, where banks have payments
            run.final.trade = trade_facts(trade_from_proto(committed.trade))
        if committed.HasField("model"):
            self._last = done
            run.run.model_sha256 = committed.model.model_sha256.hex()
            run.run.vector_sha256 = committed.model.vector_sha256.hex() or None

    def _close(
        self,
        run: RunFacts,
        ended: _Ended,
        time: datetime,
        outcome: Literal["committed", "void", "abandoned"],
        reason: str = "",
    ) -> RoundFacts:
        attempt, self._attempt, run.open = self._attempt, None, None
        if attempt is not None and (attempt.facts.round, attempt.facts.attempt) != (ended.key.round, ended.key.attempt):
            attempt = None
        opened, seats, committed = attempt.facts if attempt else None, list(ended.seats), outcome == "committed"
        missing = attempt.missing(seats, committed=committed) if attempt else []
        done = RoundFacts(
            number=ended.step,
            round=ended.key.round,
            attempt=ended.key.attempt,
            segments=_segments(ended.segments),
            outcome=outcome,
            reason=reason,
            stage=opened.stage if opened and not committed else None,
            seconds=ended.seconds,
            banks=len(seats),
            cohort=len(opened.cohort if opened else seats),
            dropped=sorted((one.seat for one in missing), key=summary.seat_order),
            missing=missing,
            absent=[] if committed else self._absent(),
            clipped_share=ended.clipped_share if isinstance(ended, history_pb2.RoundCommitted) else None,
            contributions=len(opened.contributed) if opened else 0,
            bytes=opened.bytes if opened else 0,
            opened_time=opened.opened_time if opened else None,
            ended_time=time,
        )
        run.rounds.append(done)
        return done

    def _absent(self) -> list[str]:
        away = [seat for seat, state in self.seats.items() if state in ("absent", "lapsed")]
        return sorted(away, key=summary.seat_order)

    def _end(self, run: RunFacts, finished: history_pb2.RunFinished, time: datetime) -> RunFacts:
        run.run.outcome = _OUTCOMES.get(finished.outcome, "failed")
        run.run.reason, run.run.ended_time = finished.reason, time
        run.run.model_sha256 = finished.model_sha256.hex() or None
        run.final.central = _scores(finished, "central")
        if finished.HasField("central_trade"):
            run.final.central_trade = trade_facts(trade_from_proto(finished.central_trade))
        self.last, self.current = summary.complete(self._stand(run), self._last), None
        self.events, self._omitted = [], 0
        return self.last

    def _stand(self, run: RunFacts) -> RunFacts:
        """The run with what is followed beside it: seats, events, the release record, the journal's head."""
        for bank in run.banks:
            bank.state = self.seats.get(bank.seat, bank.state)
        run.release.banks = sorted(self._released.values(), key=lambda bank: summary.seat_order(bank.seat))
        run.events, run.events_omitted = list(self.events), self._omitted
        run.run.journal_sequence, run.run.journal_head = self.sequence, self.head.hex()
        return run

    def _note(self, events: list[Event]) -> None:
        self.events += events
        if (surplus := len(self.events) - LAST_EVENTS) > 0:
            self._omitted += surplus
            del self.events[:surplus]

    def _follow_seats(self, entry: history_pb2.Entry) -> None:
        match entry.WhichOneof("event"):
            case "lease_granted":
                lease = entry.lease_granted
                self._leases[lease.seat], self.seats[lease.seat] = lease.fencing_number, "present"
            case "certificate_issued" if entry.certificate_issued.seat:
                self.seats.setdefault(entry.certificate_issued.seat, "absent")
            case "seat_absent" if self.seats.get(entry.seat_absent.seat) == "present":
                gone = entry.seat_absent
                if self._leases.get(gone.seat) == gone.fencing_number:
                    self.seats[gone.seat] = "absent"
            case "seat_lapsed" if self.seats.get(entry.seat_lapsed.seat) == "absent":
                self.seats[entry.seat_lapsed.seat] = "lapsed"
            case "certificate_revoked" if entry.certificate_revoked.seat:
                self.seats[entry.certificate_revoked.seat] = "revoked"


def _segment(layout: Layout, *, masked: bool) -> SegmentFacts:
    """Of a layout of this segment alone."""
    (segment,) = layout.codecs
    size = WORD_BYTES * layout.length if masked else Packing(layout).size
    return SegmentFacts(name=segment.value, words=layout.length, bytes=size, content=CONTENT[segment])


def _segments(kinds: "Iterable[model_pb2.SegmentKind.ValueType]") -> list[str]:
    return [segment.value for segment in wire.segments_from_proto(list(kinds))]


def _take_run_state(run: RunFacts, state: model_pb2.RunState) -> None:
    rate = state.fraud_count / state.row_count if state.row_count else None
    run.run.run_state = RunStateFacts(
        training_rows=state.row_count,
        training_frauds=state.fraud_count,
        fraud_rate=rate,
        weight_scale=state.weight_scale,
    )
    for feature, mean, deviation in zip(run.run.features, state.means, state.deviations, strict=False):
        feature.mean, feature.deviation = mean, deviation


def _scores(
    event: history_pb2.RoundCommitted | history_pb2.RunFinished, field: Literal["pooled", "holdout", "central"]
) -> ScoreFacts | None:
    if not event.HasField(field):  # type: ignore[arg-type]  # each of the two events has its own of these
        return None
    scores = wire.scores_from_proto(getattr(event, field))
    return ScoreFacts(**asdict(scores), prevalence=scores.prevalence)


def _recalibration(told: model_pb2.Recalibration) -> RecalibrationFacts:
    found = wire.recalibration_from_proto(told)
    return RecalibrationFacts(
        slope=found.slope,
        intercept=found.intercept,
        pooled_log_loss=found.log_loss,
        holdout_log_loss=told.holdout_log_loss if told.HasField("holdout_log_loss") else None,
    )
