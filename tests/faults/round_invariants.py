"""What must hold of rounds after each step, named in words, and what the journal says of them."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, invariant

from fedfraud.errors import Stale
from fedfraud.fixed_point import Words
from fedfraud.v1 import history_pb2
from fedfraud.wire import RoundKey, round_key_from_proto
from services.aggregator.rounds import Outcome
from tests.faults.round_world import WORD_COUNT, Offer, World


@dataclass
class Told:
    """What the journal says of one round."""

    opened: history_pb2.RoundOpened | None = None
    accepted: dict[str, bytes] = field(default_factory=dict)
    committed: history_pb2.RoundCommitted | None = None
    void: history_pb2.RoundVoid | None = None

    @property
    def over(self) -> bool:
        return self.committed is not None or self.void is not None


def told(entries: Sequence[history_pb2.Entry]) -> dict[RoundKey, Told]:
    """By key, in the order of the journal; asserts that no round hears of anything twice or after its end."""
    rounds: dict[RoundKey, Told] = {}
    for entry in entries:
        kind = entry.WhichOneof("event")
        if kind not in ("round_opened", "contribution_accepted", "round_committed", "round_void"):
            continue
        event = getattr(entry, kind)
        one = rounds.setdefault(round_key_from_proto(event.key), Told())
        assert not one.over, f"a round that is over never changes, {event}"
        if kind == "contribution_accepted":
            assert event.seat not in one.accepted, f"a seat counts once a round, {event}"
            one.accepted[event.seat] = event.vector_sha256
        else:
            attribute = kind.removeprefix("round_")
            assert getattr(one, attribute) is None
            setattr(one, attribute, event)
    return rounds


class RoundInvariants(RuleBasedStateMachine):
    """Looked at after every step of whatever machine moves the world."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World
        self.acknowledged: dict[tuple[RoundKey, str], tuple[Offer, int]] = {}
        """What a bank has a receipt for, and the receipt's journal entry."""
        self.vectors: dict[bytes, Words] = {}
        """Every vector that a bank ever sent, by its hash."""
        self._read: tuple[list[history_pb2.Entry], int] = [], 0
        self._rounds: dict[RoundKey, Told] = {}

    @property
    def rounds(self) -> dict[RoundKey, Told]:
        """What the journal says of each round; read again when it has grown."""
        read = self.world.entries, len(self.world.entries)
        if self._read[0] is not read[0] or self._read[1] != read[1]:
            self._read, self._rounds = read, told(self.world.entries)
        return self._rounds

    def answered(self) -> dict[str, bytes]:
        """Whose contributions count in the process's present round."""
        return dict(self.world.round.state.answered) if self.world.round else {}

    @invariant()
    def an_acknowledged_contribution_is_in_its_rounds_sum_or_the_round_is_void(self) -> None:
        rounds = self.rounds
        for (key, seat), (offer, _) in self.acknowledged.items():
            one = rounds[key]
            assert one.accepted[seat] == offer.vector_sha256
            assert one.void or one.committed is None or seat in one.committed.seats
            if not one.over:
                assert self.answered()[seat] == offer.vector_sha256
                assert np.array_equal(self.world.files[key, seat], offer.words)

    @invariant()
    def a_committed_sum_is_that_of_the_vectors_whose_hashes_were_accepted(self) -> None:
        for key, one in self.rounds.items():
            if one.committed is None:
                continue
            vectors = [self.vectors[one.accepted[seat]] for seat in one.committed.seats]
            total = [sum(int(vector[place]) for vector in vectors) % 2**64 for place in range(WORD_COUNT)]
            assert self.world.sums[key].tolist() == total

    @invariant()
    def a_seat_counts_once_a_round_and_a_round_that_is_over_never_changes(self) -> None:
        for one in self.rounds.values():
            if one.committed is not None:
                assert len(set(one.committed.seats)) == len(one.committed.seats)
                assert set(one.committed.seats) == one.accepted.keys()

    @invariant()
    def what_is_on_disk_stays(self) -> None:
        assert self.world.disk == [e.SerializeToString(deterministic=True) for e in self.world.entries]

    @invariant()
    def only_the_cohort_counts_and_at_least_the_quorum(self) -> None:
        for one in self.rounds.values():
            cohort = set(one.opened.cohort) if one.opened else set()
            assert one.accepted.keys() <= cohort
            if one.committed is not None:
                assert one.opened is not None
                assert len(one.committed.seats) >= one.opened.quorum

    @invariant()
    def a_closed_round_admits_nothing_new(self) -> None:
        for held in (self.world.round, self.world.former):
            if held is None or held.state.outcome is Outcome.OPEN:
                continue
            for seat in held.state.awaited:
                with suppress(Stale):
                    plan = held.state.plan
                    held.state.admit(seat, plan.key, plan.model_sha256, plan.word_count, bytes(32))
                    raise AssertionError(f"{seat} was let into a closed round")

    @invariant()
    def round_numbers_have_no_gap_and_steps_follow_each_other(self) -> None:
        rounds = self.rounds
        assert sum(not one.over for one in rounds.values()) <= 1, "one round is open at a time"
        for run_id in {key.run_id for key in rounds}:
            keys = [key for key in rounds if key.run_id == run_id]
            assert keys == [RoundKey(run_id, number, 1) for number in range(1, len(keys) + 1)]
            steps = [one.committed.step for key in keys if (one := rounds[key]).committed]
            assert steps == list(range(len(steps)))

    @invariant()
    def a_round_asks_for_the_model_that_the_last_committed_one_made(self) -> None:
        models: dict[str, bytes] = {}
        for key, one in self.rounds.items():
            assert one.opened is None or one.opened.model_sha256 == models.get(key.run_id, b"")
            if one.committed is not None:
                models[key.run_id] = one.committed.model.model_sha256
        present = self.world.progress.model
        assert (present.model_sha256 if present else b"") == models.get(self.world.progress.run_id, b"")
