"""The network at this moment, for the operator's screen and the metrics. Reads what others hold and decides nothing."""

from collections import Counter
from dataclasses import dataclass

from fedfraud.masking_journal import STAGES
from fedfraud.v1 import history_pb2, operation_pb2
from fedfraud.wire import round_key_to_proto, segments_to_proto
from services.aggregator.conductor import Conductor
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.open_round import OpenRound
from services.aggregator.participants import Participants
from services.aggregator.rounds import Outcome
from services.aggregator.seats import SeatRecord, Seats
from services.aggregator.writer import Writer

_OUTCOMES = {
    history_pb2.RoundCommitted: operation_pb2.ROUND_OUTCOME_COMMITTED,
    history_pb2.RoundVoid: operation_pb2.ROUND_OUTCOME_VOID,
    history_pb2.RoundAbandoned: operation_pb2.ROUND_OUTCOME_ABANDONED,
}


@dataclass(frozen=True)
class Network:
    """All that can be asked how the network stands."""

    conductor: Conductor
    intake: Intake
    participants: Participants
    seats: Seats
    journal: Journal
    writer: Writer

    def status(self) -> operation_pb2.GetStatusResponse:
        """See operation.proto."""
        sequence, head = self.journal.tail
        states, progress = self.banks(), self.conductor.progress
        response = operation_pb2.GetStatusResponse(
            present_count=len(self.participants.present),
            absent_count=states[operation_pb2.SEAT_STATE_ABSENT],
            lapsed_count=states[operation_pb2.SEAT_STATE_LAPSED],
            revoked_count=states[operation_pb2.SEAT_STATE_REVOKED],
            silent=sorted(self.participants.silent),
            last_round=_ended(progress.ended) if progress and progress.ended else None,
            last_run=progress.finished if progress else None,
            journal_sequence=sequence,
            journal_head=head,
            epoch=self.conductor.epoch,
            disk_failure=self.writer.failure,
        )
        run = self.conductor.run
        if run is None:
            response.waiting_for = self.conductor.waiting_for or "an operator to start a run"
            return response
        response.run_id, response.waiting_for = run.progress.run_id, run.waiting_for
        response.committed_count, response.round_count = run.progress.committed_count, run.progress.round_count
        if open_round := self.open_round:
            _tell(response, open_round)
        return response

    @property
    def open_round(self) -> OpenRound | None:
        """The round that waits for banks now."""
        newest = self.intake.round
        return newest if newest is not None and newest.state.outcome is Outcome.OPEN else None

    def banks(self) -> Counter[operation_pb2.SeatState.ValueType]:
        """How many seats are in each state."""
        return Counter(seat_state(record) for record in list(self.seats.records.values()))


def seat_state(record: SeatRecord) -> operation_pb2.SeatState.ValueType:
    """What can be said of a seat now."""
    if record.revoked:
        return operation_pb2.SEAT_STATE_REVOKED
    if record.present:
        return operation_pb2.SEAT_STATE_PRESENT
    return operation_pb2.SEAT_STATE_LAPSED if record.lapsed else operation_pb2.SEAT_STATE_ABSENT


def _tell(response: operation_pb2.GetStatusResponse, open_round: OpenRound) -> None:
    plan, asked = open_round.state.plan, open_round.asked
    response.key.CopyFrom(round_key_to_proto(plan.key))
    response.segments.extend(segments_to_proto(plan.segments))
    response.awaited.extend(open_round.awaited)
    response.answered.extend(sorted(asked - set(open_round.awaited)))
    response.dropped.extend(sorted(plan.cohort - asked))
    response.waited_seconds, response.left_seconds = open_round.waited, open_round.time_left
    if open_round.masked:
        response.stage = STAGES[open_round.masked.stage]


def _ended(
    ended: history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned,
) -> operation_pb2.EndedRound:
    return operation_pb2.EndedRound(
        key=ended.key,
        step=ended.step,
        outcome=_OUTCOMES[type(ended)],
        bank_count=len(ended.seats),
        seconds=ended.seconds,
        reason="" if isinstance(ended, history_pb2.RoundCommitted) else ended.reason,
    )
