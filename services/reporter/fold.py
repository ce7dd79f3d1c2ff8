"""A pure fold over the journal's entries, from which the facts of each run come."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Literal

from fedfraud import wire
from fedfraud.fixed_point import Segment
from fedfraud.v1 import history_pb2, model_pb2
from services.reporter.facts import (
    BankFacts,
    FinalFacts,
    Refusal,
    Refusals,
    RoundFacts,
    RunFacts,
    RunIdentity,
    ScoreFacts,
    Summary,
)

LAST_REFUSALS = 20
"""How many refusals are kept in full; all are counted."""

_AGGREGATIONS = {model_pb2.AGGREGATION_PLAIN: "plain", model_pb2.AGGREGATION_SECURE: "secure"}
_OUTCOMES: dict[int, Literal["finished", "stopped", "failed"]] = {
    history_pb2.RUN_OUTCOME_FINISHED: "finished",
    history_pb2.RUN_OUTCOME_STOPPED: "stopped",
    history_pb2.RUN_OUTCOME_FAILED: "failed",
}


class Facts:
    """The fold: `apply` each entry of the journal once, in order. There is one run at a time."""

    def __init__(self) -> None:
        self.current: RunFacts | None = None
        self._banks: dict[str, BankFacts] = {}
        self._cohorts: dict[tuple[int, int], list[str]] = {}  # by (round, attempt)
        self._last: RoundFacts | None = None  # the last committed round that left a model

    def apply(self, entry: history_pb2.Entry) -> RunFacts | None:
        """Takes the next entry. Returns the run that it ended, if it ended one."""
        kind = entry.WhichOneof("event")
        if kind == "run_started":
            self._begin(entry.run_started, entry.time.ToDatetime(UTC))
        elif self.current is not None:
            self._continue(self.current, kind, entry)
            if kind == "run_finished" and entry.run_finished.run_id == self.current.run.id:
                ended = _end(self.current, entry.run_finished, entry.time.ToDatetime(UTC), self._last)
                self.current = None
                return ended
        return None

    def _begin(self, started: history_pb2.RunStarted, time: datetime) -> None:
        recipe = wire.recipe_from_proto(started.recipe)
        manifest = wire.manifest_from_proto(started.manifest)
        hyperparameters = {**asdict(recipe), "weight_rule": recipe.weight_rule.value}
        self.current = RunFacts(
            run=RunIdentity(
                id=started.run_id,
                seed=started.seed,
                recipe=hyperparameters.pop("name"),
                population=manifest.population,
                aggregation=_AGGREGATIONS.get(started.aggregation, "unknown"),
                roster="first use" if started.aggregation == model_pb2.AGGREGATION_SECURE else None,
                started_time=time,
                round_count=started.round_count,
                quorum=started.quorum,
                expected_bank_count=started.expected_bank_count,
                hyperparameters=hyperparameters,
                layers=[len(manifest.features), *manifest.hidden_sizes, 1],
            )
        )
        self._banks, self._cohorts, self._last = {}, {}, None

    def _continue(self, run: RunFacts, kind: str | None, entry: history_pb2.Entry) -> None:
        # A refusal names whatever round its sender liked, so it belongs to the run that was going on.
        if kind == "contribution_refused":
            _refuse(run, entry.contribution_refused)
        elif kind == "round_opened" and entry.round_opened.key.run_id == run.run.id:
            self._open(run, entry.round_opened)
        elif kind == "contribution_accepted" and entry.contribution_accepted.key.run_id == run.run.id:
            self._accept(run, entry.contribution_accepted)
        elif kind == "round_committed" and entry.round_committed.key.run_id == run.run.id:
            self._commit(run, entry.round_committed)
        elif kind == "round_void" and entry.round_void.key.run_id == run.run.id:
            run.rounds.append(self._round(entry.round_void, "void", entry.round_void.reason))
        elif kind == "round_abandoned" and entry.round_abandoned.key.run_id == run.run.id:
            run.rounds.append(self._round(entry.round_abandoned, "abandoned", entry.round_abandoned.reason))

    def _open(self, run: RunFacts, opened: history_pb2.RoundOpened) -> None:
        self._cohorts[opened.key.round, opened.key.attempt] = list(opened.cohort)
        for seat in opened.cohort:
            self._bank(run, seat)

    def _bank(self, run: RunFacts, seat: str) -> BankFacts:
        if seat not in self._banks:
            self._banks[seat] = BankFacts(seat=seat)
            # By number: bank-100 comes after bank-99.
            run.banks = sorted(self._banks.values(), key=lambda bank: (len(bank.seat), bank.seat))
        return self._banks[seat]

    def _accept(self, run: RunFacts, accepted: history_pb2.ContributionAccepted) -> None:
        bank = self._bank(run, accepted.seat)
        given = asdict(wire.disclosure_from_proto(accepted.disclosure))
        given["rows"] = given.pop("row_count")
        for name, value in given.items():
            if value is not None:
                setattr(bank, name, value)
        bank.uplift = _difference(bank.federated, bank.alone)
        bank.uplift_holdout = _difference(bank.federated_holdout, bank.alone_holdout)

    def _commit(self, run: RunFacts, committed: history_pb2.RoundCommitted) -> None:
        done = self._round(committed, "committed")
        done.holdout = _scores(committed, "holdout")
        # The message's pooled scores are those of the model that the round received: the one before it.
        received = _scores(committed, "pooled")
        if self._last is not None and received is not None:
            self._last.pooled = received
        if Segment.EVALUATE.value in done.segments and Segment.TRAIN.value not in done.segments:
            done.pooled = received  # an evaluate-only round leaves the model that it received
        run.rounds.append(done)
        if committed.HasField("model"):
            self._last = done
            run.run.model_sha256 = committed.model.model_sha256.hex()

    def _round(
        self,
        ended: history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned,
        outcome: Literal["committed", "void", "abandoned"],
        reason: str = "",
    ) -> RoundFacts:
        cohort = self._cohorts.get((ended.key.round, ended.key.attempt), list(ended.seats))
        return RoundFacts(
            number=ended.step,
            round=ended.key.round,
            attempt=ended.key.attempt,
            segments=[segment.value for segment in wire.segments_from_proto(list(ended.segments))],
            outcome=outcome,
            reason=reason,
            seconds=ended.seconds,
            banks=len(ended.seats),
            cohort=len(cohort),
            dropped=sorted(set(cohort) - set(ended.seats)),
            clipped_share=ended.clipped_share if isinstance(ended, history_pb2.RoundCommitted) else None,
        )


def _end(run: RunFacts, finished: history_pb2.RunFinished, time: datetime, last: RoundFacts | None) -> RunFacts:
    run.run.outcome = _OUTCOMES.get(finished.outcome, "failed")
    run.run.reason, run.run.ended_time = finished.reason, time
    run.run.model_sha256 = finished.model_sha256.hex() or None
    run.final = FinalFacts(
        holdout=last.holdout if last else None,
        pooled=last.pooled if last else None,
        alone=_summary([bank.alone for bank in run.banks]),
        federated=_summary([bank.federated for bank in run.banks]),
        alone_holdout=_summary([bank.alone_holdout for bank in run.banks]),
        federated_holdout=_summary([bank.federated_holdout for bank in run.banks]),
    )
    return run


def _scores(committed: history_pb2.RoundCommitted, field: Literal["pooled", "holdout"]) -> ScoreFacts | None:
    if not committed.HasField(field):
        return None
    scores = wire.scores_from_proto(getattr(committed, field))
    return ScoreFacts(**asdict(scores), prevalence=scores.prevalence)


def _refuse(run: RunFacts, refused: history_pb2.ContributionRefused) -> None:
    refusal = Refusal(seat=refused.seat, status=refused.status, reason=refused.reason)
    run.refusals = Refusals(count=run.refusals.count + 1, last=[*run.refusals.last, refusal][-LAST_REFUSALS:])


def _difference(minuend: float | None, subtrahend: float | None) -> float | None:
    return None if minuend is None or subtrahend is None else minuend - subtrahend


def _summary(figures: list[float | None]) -> Summary | None:
    known = [figure for figure in figures if figure is not None]
    if not known:
        return None
    return Summary(best=max(known), mean=math.fsum(known) / len(known), worst=min(known), count=len(known))
