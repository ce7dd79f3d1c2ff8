"""Runs and their rounds without gRPC, clock and disk: the product's state machine, folds and entries, driven by a test.

`disk` and `files` survive a crash, everything else is the process and is built again from them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from google.protobuf.message import Message

from fedfraud import fixed_point
from fedfraud.errors import Stale
from fedfraud.fixed_point import Segment, Words
from fedfraud.manifest import Manifest
from fedfraud.model import RunState
from fedfraud.recipe import recipe_named
from fedfraud.transactions import Feature
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import RoundKey, round_key_to_proto
from services.aggregator import averaging, messages
from services.aggregator.averaging import Model
from services.aggregator.progress import Accepted, Progress
from services.aggregator.round_scores import RoundScores
from services.aggregator.rounds import Outcome, Plan, Round
from services.aggregator.seats import Seats

WORD_COUNT, VOIDS_IN_A_ROW = 3, 3
MANIFEST = Manifest("few", (Feature("amount", "euro", 0.01),), (1,))
STATE = RunState((0.0,), (1.0,), 10, 1, 1.0)
_KINDS = {
    kind.message_type.name: kind.name
    for kind in history_pb2.Entry.DESCRIPTOR.oneofs_by_name["event"].fields
    if kind.message_type
}
_NEVER = datetime(9999, 1, 1, tzinfo=UTC)


class Killed(Exception):
    """The process died here."""


@dataclass(frozen=True)
class Offer:
    """A contribution as its bank announces it."""

    seat: str
    lease: int
    key: RoundKey
    model_sha256: bytes
    words: Words
    word_count: int = WORD_COUNT

    @property
    def vector_sha256(self) -> bytes:
        """Of its bytes."""
        return hashlib.sha256(fixed_point.to_bytes(self.words)).digest()


@dataclass
class Open:
    """A round and the entries that accepted its contributions, as the intake holds it."""

    state: Round
    sequences: dict[str, int] = field(default_factory=dict)


class World:
    """One aggregator with its banks; a method is one thing that happens to the aggregator."""

    def __init__(self, banks: int, quorum: int, round_count: int) -> None:
        self.disk: list[bytes] = []
        self.files: dict[tuple[RoundKey, str], Words] = {}
        self.sums: dict[RoundKey, Words] = {}
        self.progress: Progress
        self._begin()
        self.begin_run(quorum, round_count)
        for number in range(1, banks + 1):
            issued = history_pb2.CertificateIssued(
                role=model_pb2.ROLE_BANK, seat=f"bank-{number:02d}", fingerprint=bytes([number]), slot=number
            )
            issued.expiry_time.FromDatetime(_NEVER)
            self.journal(issued)

    def journal(self, event: Message) -> history_pb2.Entry:
        """Puts one event on the disk and tells the folds, as the journal tells its listeners."""
        entry = history_pb2.Entry(sequence=len(self.disk) + 1)
        getattr(entry, _KINDS[event.DESCRIPTOR.name]).CopyFrom(event)
        self.disk.append(entry.SerializeToString(deterministic=True))
        self._tell(entry)
        return entry

    def join(self, seat: str) -> None:
        """A bank takes its seat's next lease."""
        number = self.seats.record(seat).fencing_number + 1
        self.journal(history_pb2.LeaseGranted(seat=seat, fencing_number=number, fingerprint=bytes([int(seat[-2:])])))
        self.live.add(seat)
        self._silent.discard(seat)

    def leave(self, seat: str) -> None:
        """A bank's stream ends."""
        self.journal(history_pb2.SeatAbsent(seat=seat, fencing_number=self.seats.record(seat).fencing_number))
        self.live.discard(seat)

    def begin_run(self, quorum: int, round_count: int) -> None:
        """An operator starts a run, the first or another."""
        run_id, recipe = f"run-{len(self.disk)}", recipe_named("tutorial")
        self.journal(
            messages.run_started(
                run_id,
                7,
                recipe,
                MANIFEST,
                rounds=round_count,
                quorum=quorum,
                expected_banks=quorum,
                round_deadline=60.0,
            )
        )

    @property
    def has_quorum(self) -> bool:
        """Whether enough banks are ready for a round."""
        return len(self.live - self._silent) >= self.progress.quorum

    def open_next(self) -> None:
        """What the run does when no round is open: the next one, or its end."""
        progress = self.progress
        if progress.voids >= VOIDS_IN_A_ROW or progress.scored:
            self.journal(history_pb2.RunFinished(run_id=progress.run_id))
            return
        step = progress.committed_count + 1 if progress.model else 0
        final = step > progress.round_count
        kinds = (Segment.EVALUATE,) if final else (Segment.EVALUATE, Segment.TRAIN) if step else (Segment.STANDARDISE,)
        sha256 = progress.model.model_sha256 if progress.model else b""
        cohort = frozenset(self.live - self._silent)
        plan = Plan(progress.next_key, step, kinds, cohort, progress.quorum, sha256, WORD_COUNT, final)
        if len(cohort) < plan.quorum:
            self._void(plan, [])
            return
        self.journal(messages.round_opened(plan))
        self._hold(plan, self.progress.accepted)

    def announce(self, offer: Offer) -> tuple[Open, bool]:
        """The header arrives: the round that it belongs to, and whether the words are to follow."""
        self._silent.discard(offer.seat)
        former = self.former
        same = former and former.state.answered.get(offer.seat) == offer.vector_sha256
        if former and same and former.state.plan.key == offer.key:  # the bank may not have heard that it counts
            self.seats.check_lease(offer.seat, offer.lease)
            return former, False
        if self.round is None:
            raise Stale("no round is open")
        return self.round, self._admit(self.round, offer)

    def settle(self, target: Open, offer: Offer, *, dies: str = "") -> int:
        """All words are there: what the intake does under the round's lock; the sequence of the receipt."""
        if self._admit(target, offer):
            self.files[target.state.plan.key, offer.seat] = offer.words
            if dies == "after the file":
                raise Killed
            accepted = history_pb2.ContributionAccepted(
                key=round_key_to_proto(offer.key), seat=offer.seat, vector_sha256=offer.vector_sha256
            )
            entry = self.journal(accepted)
            if dies == "after the entry":
                raise Killed
            target.sequences[offer.seat] = entry.sequence
            target.state.accept(offer.seat, offer.vector_sha256)
        return target.sequences[offer.seat]

    def close(self, *, dies: str = "") -> None:
        """All have answered or the deadline has passed: the round is committed or void."""
        assert self.round is not None
        state = self.round.state
        outcome, plan, seats = state.close(), state.plan, sorted(state.answered)
        self._silent |= set(state.awaited)
        if dies == "after closing":
            raise Killed
        if outcome is Outcome.VOID:
            self._void(plan, seats)
            return
        words = averaging.exact_sum((self.files[plan.key, seat] for seat in seats), WORD_COUNT)
        self.sums[plan.key] = words
        if dies == "after the sum":
            raise Killed
        self._commit(plan, seats, words)
        if dies == "after the commit":
            raise Killed
        for seat in seats:
            del self.files[plan.key, seat]

    def restart(self) -> None:
        """The process is gone; another one begins with what is on the disk."""
        self._begin()
        for data in self.disk:
            self._tell(history_pb2.Entry.FromString(data))
        for record in list(self.seats.records.values()):
            if record.present:
                self.journal(history_pb2.SeatAbsent(seat=record.name, fencing_number=record.fencing_number))
        if self.progress.former is not None:
            opened, accepted = self.progress.former
            self._hold(messages.plan_of(opened, WORD_COUNT), accepted).state.close()
        if self.progress.open is not None:
            self._hold(messages.plan_of(self.progress.open, WORD_COUNT), self.progress.accepted)

    def _begin(self) -> None:
        self.entries: list[history_pb2.Entry] = []
        self.seats = Seats(lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.live: set[str] = set()
        self._silent: set[str] = set()
        self.round: Open | None = None
        self.former: Open | None = None

    def _tell(self, entry: history_pb2.Entry) -> None:
        self.entries.append(entry)
        self.seats.apply(entry)
        if entry.WhichOneof("event") == "run_started":
            self.progress = Progress.begun(entry.run_started)
        else:
            self.progress.apply(entry)

    def _hold(self, plan: Plan, accepted: Mapping[str, Accepted]) -> Open:
        sequences = {seat: one.sequence for seat, one in accepted.items()}
        self.former, self.round = self.round, Open(messages.round_of(plan, accepted), sequences)
        return self.round

    def _admit(self, target: Open, offer: Offer) -> bool:
        self.seats.check_lease(offer.seat, offer.lease)
        return target.state.admit(offer.seat, offer.key, offer.model_sha256, offer.word_count, offer.vector_sha256)

    def _void(self, plan: Plan, seats: list[str]) -> None:
        self.journal(messages.round_void(plan, seats, "too few", 0.0))

    def _commit(self, plan: Plan, seats: list[str], words: Words) -> None:
        sha256 = hashlib.sha256(fixed_point.to_bytes(words)).digest()
        unchanged = Segment.EVALUATE in plan.segments and Segment.TRAIN not in plan.segments
        model = plan.model_sha256 if unchanged else hashlib.sha256(plan.model_sha256 + sha256).digest()
        reference = model_pb2.ModelReference(model_sha256=model, vector_sha256=model, parameter_count=1)
        produced = Model(np.zeros(1, np.float32), STATE, reference)
        committed = messages.round_committed(
            plan,
            seats,
            sha256,
            produced,
            RoundScores(),
            new_state=None if plan.step else STATE,
            clipped_share=0.0,
            seconds=0.0,
            velocity_sha256=b"",
        )
        self.journal(committed)
