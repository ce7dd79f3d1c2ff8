"""A run's values as what is journalled and what banks are told. Pure: nothing here decides anything."""

from collections.abc import Mapping

from fedfraud.channel import CHUNK_BYTES
from fedfraud.manifest import Manifest
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_wire import parameters_to_proto, roster_to_proto
from fedfraud.model import RunState, as_bytes
from fedfraud.recipe import Recipe
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_wire import terms_to_proto, trade_to_proto
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2
from fedfraud.wire import (
    curve_to_proto,
    manifest_to_proto,
    recalibration_to_proto,
    recipe_to_proto,
    round_key_from_proto,
    round_key_to_proto,
    run_state_to_proto,
    scores_to_proto,
    segments_from_proto,
    segments_to_proto,
)
from services.aggregator.averaging import Model
from services.aggregator.progress import Accepted, Progress
from services.aggregator.round_scores import RoundScores
from services.aggregator.rounds import Plan, Round

_SHORT_VECTOR_BYTES = 1 << 15
"""A model's vector of so many bytes at most goes with the instruction: to ask for it costs more than to send it."""
_PIECES_BYTES, _LEAST_PIECE_BYTES = 12 << 20, 1 << 16
"""Of a round's contributions, what all banks may have on its way in one message each; and the least of one bank's."""


def run_started(
    run_id: str,
    seed: int,
    recipe: Recipe,
    manifest: Manifest,
    *,
    rounds: int,
    quorum: int,
    expected_banks: int,
    round_deadline: float,
    secure: bool = False,
    initial: Model | None = None,
    counters_sha256: bytes = b"",
    terms: TradeTerms = USUAL_TERMS,
) -> history_pb2.RunStarted:
    """What the run is to be; with an initial model it begins under a former run's state; counters too are a former
    run's where they were summed before."""
    return history_pb2.RunStarted(
        run_id=run_id,
        seed=seed,
        recipe=recipe_to_proto(recipe),
        manifest=manifest_to_proto(manifest),
        aggregation=model_pb2.AGGREGATION_SECURE if secure else model_pb2.AGGREGATION_PLAIN,
        round_count=rounds,
        quorum=quorum,
        expected_bank_count=expected_banks,
        run_state=run_state_to_proto(initial.run_state) if initial else None,
        model=initial.reference if initial else None,
        round_deadline_seconds=round_deadline,
        counters_sha256=counters_sha256,
        trade_terms=terms_to_proto(terms),
    )


def instruction(
    run: Progress, plan: Plan, present: Model | None, masking: tuple[Parameters, Roster] | None
) -> federation_pb2.RoundInstruction:
    """What a bank of the cohort is asked; there is no model in a preparing round, nothing of masking in plain mode."""
    vector = as_bytes(present.vector) if present else b""
    return federation_pb2.RoundInstruction(
        key=round_key_to_proto(plan.key),
        step=plan.step,
        segments=segments_to_proto(plan.segments),
        model=present.reference if present else None,
        run_state=run_state_to_proto(present.run_state) if present else None,
        recipe=recipe_to_proto(run.recipe),
        seed=run.seed,
        round_count=run.round_count,
        final=plan.final,
        retry=run.retry,
        masking=parameters_to_proto(masking[0]) if masking else None,
        roster=roster_to_proto(masking[1]) if masking else None,
        counters_sha256=run.counters_sha256,
        trade_terms=terms_to_proto(run.terms),
        vector=bytes(vector) if len(vector) <= _SHORT_VECTOR_BYTES else b"",
        piece_bytes=_piece_bytes(len(plan.cohort)),
    )


def _piece_bytes(banks: int) -> int:
    """A message costs both ends a third of a millisecond, and is in the aggregator's memory until it is whole."""
    return min(max(_PIECES_BYTES // max(banks, 1), _LEAST_PIECE_BYTES), CHUNK_BYTES)


def plan_of(opened: history_pb2.RoundOpened, word_count: int) -> Plan:
    """What an opened round asks for, as `round_opened` said it."""
    return Plan(
        round_key_from_proto(opened.key),
        opened.step,
        segments_from_proto(list(opened.segments)),
        frozenset(opened.cohort),
        opened.quorum,
        opened.model_sha256,
        word_count,
        opened.final,
        opened.roster_size,
        opened.task_sha256,
    )


def round_of(plan: Plan, accepted: Mapping[str, Accepted]) -> Round:
    """The round that its run's progress tells of: just opened, or with all whom a former process acknowledged."""
    return Round(plan, answered={seat: one.vector_sha256 for seat, one in accepted.items()})


def round_opened(plan: Plan) -> history_pb2.RoundOpened:
    """A try of a round begins."""
    return history_pb2.RoundOpened(
        key=round_key_to_proto(plan.key),
        step=plan.step,
        segments=segments_to_proto(plan.segments),
        cohort=sorted(plan.cohort),
        quorum=plan.quorum,
        model_sha256=plan.model_sha256,
        final=plan.final,
        roster_size=plan.roster_size,
        task_sha256=plan.task_sha256,
    )


def round_committed(
    plan: Plan,
    seats: list[str],
    sum_sha256: bytes,
    produced: Model | None,
    scores: RoundScores,
    *,
    new_state: RunState | None,
    clipped_share: float,
    seconds: float,
    velocity_sha256: bytes,
) -> history_pb2.RoundCommitted:
    """A round's sum is applied, which made a model unless it counted."""
    trade, fit = scores.trade, scores.recalibration
    return history_pb2.RoundCommitted(
        key=round_key_to_proto(plan.key),
        step=plan.step,
        seats=seats,
        sum_sha256=sum_sha256,
        model=produced.reference if produced else None,
        run_state=run_state_to_proto(new_state) if new_state else None,
        pooled=scores_to_proto(scores.pooled) if scores.pooled else None,
        holdout=scores_to_proto(scores.holdout) if scores.holdout else None,
        seconds=seconds,
        clipped_share=clipped_share,
        segments=segments_to_proto(plan.segments),
        velocity_sha256=velocity_sha256,
        pooled_curve=curve_to_proto(scores.pooled_curve),
        holdout_curve=curve_to_proto(scores.holdout_curve),
        trade=trade_to_proto(trade) if trade else None,
        recalibration=recalibration_to_proto(fit, scores.holdout_log_loss) if fit else None,
    )


def round_abandoned(plan: Plan, seats: list[str], reason: str, seconds: float) -> history_pb2.RoundAbandoned:
    """A masked round was opened, or may have been, without a result."""
    return history_pb2.RoundAbandoned(
        key=round_key_to_proto(plan.key),
        step=plan.step,
        seats=seats,
        reason=reason,
        seconds=seconds,
        segments=segments_to_proto(plan.segments),
    )


def round_void(plan: Plan, seats: list[str], reason: str, seconds: float) -> history_pb2.RoundVoid:
    """A round ends without a result."""
    return history_pb2.RoundVoid(
        key=round_key_to_proto(plan.key),
        step=plan.step,
        seats=seats,
        reason=reason,
        seconds=seconds,
        segments=segments_to_proto(plan.segments),
    )
