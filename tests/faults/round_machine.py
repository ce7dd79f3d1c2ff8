"""Random sequences of everything that can happen to a round: joins, contributions, deadlines, crashes, resumes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import hypothesis
import numpy as np
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from fedfraud.errors import Conflict, FedfraudError, Fenced, Invalid, Stale
from fedfraud.fixed_point import Words
from fedfraud.wire import RoundKey
from services.aggregator.progress import Progress
from services.aggregator.rounds import Outcome, Plan
from tests.faults.campaign import Campaign
from tests.faults.round_invariants import RoundInvariants
from tests.faults.round_world import WORD_COUNT, Killed, Offer, Open, World

STEPS, SEQUENCES_A_TRIAL, TRIALS = 50, 100, 50
T = TypeVar("T")
_PICK = st.integers(0, 11)
WRONG: dict[str, tuple[type[FedfraudError], Callable[[Offer], Offer]]] = {
    "another run": (Stale, lambda offer: replace(offer, key=replace(offer.key, run_id="other"))),
    "a later round": (Stale, lambda offer: replace(offer, key=replace(offer.key, round=offer.key.round + 1))),
    "a round of long ago": (Stale, lambda offer: replace(offer, key=replace(offer.key, round=-1))),
    "another attempt": (Stale, lambda offer: replace(offer, key=replace(offer.key, attempt=2))),
    "another model": (Stale, lambda offer: replace(offer, model_sha256=b"?" * 32)),
    "a word too few": (Invalid, lambda offer: replace(offer, word_count=WORD_COUNT - 1)),
    "an older lease": (Fenced, lambda offer: replace(offer, lease=offer.lease - 1)),
    "a lease of the future": (Fenced, lambda offer: replace(offer, lease=offer.lease + 1)),
}


def among(those: Sequence[T], pick: int) -> T:
    return those[pick % len(those)]


def words(value: int) -> Words:
    """Three words; the upper half of the values wraps when it is added."""
    return np.array([value, 2**64 - 1 - value, value << 60 & 2**64 - 1], np.uint64)


class RoundMachine(RoundInvariants):
    """Runs of one to four training rounds under everything that may come."""

    def __init__(self) -> None:
        super().__init__()
        self.on_their_way: list[tuple[Open, Offer]] = []

    @initialize(banks=st.integers(2, 5), quorum=_PICK, rounds=st.integers(1, 4), away=st.integers(0, 1))
    def a_run_begins(self, banks: int, quorum: int, rounds: int, away: int) -> None:
        self.world = World(banks, 1 + quorum % banks, rounds)
        self.seats = [f"bank-{number:02d}" for number in range(1, banks + 1)]
        self.join(*self.seats[away:])

    # What happens.

    @rule(pick=_PICK)
    def a_bank_joins(self, pick: int) -> None:
        self.join(among(self.seats, pick))

    @precondition(lambda self: self.world.live)
    @rule(pick=_PICK)
    def a_bank_leaves(self, pick: int) -> None:
        self.world.leave(among(sorted(self.world.live), pick))

    @precondition(lambda self: self.between_rounds)
    @rule()
    def a_round_finds_too_few_banks_and_is_void(self) -> None:
        self.world.open_next()

    @precondition(lambda self: self.world.progress.finished is not None)
    @rule(quorum=_PICK, rounds=st.integers(1, 4))
    def another_run_begins(self, quorum: int, rounds: int) -> None:
        self.world.begin_run(1 + quorum % len(self.seats), rounds)
        self.go_on()

    @precondition(lambda self: self.open)
    @rule(value=st.integers(0, 2**64 - 1))
    def all_who_are_awaited_contribute(self, value: int) -> None:
        for place, seat in enumerate(self.awaited):
            offer = self.offer(seat, value >> place)
            target, _ = self.world.announce(offer)
            self.settle(target, offer)
        self.close()

    @precondition(lambda self: self.awaited)
    @rule(
        pick=_PICK,
        value=st.integers(0, 2**64 - 1),
        dies=st.sampled_from(["", "", "", "after the file", "after the entry"]),
    )
    def a_bank_contributes(self, pick: int, value: int, dies: str) -> None:
        offer = self.offer(among(self.awaited, pick), value)
        target, wanted = self.world.announce(offer)
        assert wanted
        self.settle(target, offer, dies)

    @precondition(lambda self: self.awaited)
    @rule(pick=_PICK, value=st.integers(0, 2**64 - 1))
    def a_bank_begins_to_send(self, pick: int, value: int) -> None:
        offer = self.offer(among(self.awaited, pick), value)
        target, wanted = self.world.announce(offer)
        assert wanted
        self.on_their_way.append((target, offer))

    @precondition(lambda self: self.on_their_way)
    @rule(pick=_PICK)
    def what_was_on_its_way_arrives(self, pick: int) -> None:
        """The round may be over meanwhile, the lease fenced, or another contribution of the seat quicker."""
        target, offer = self.on_their_way.pop(pick % len(self.on_their_way))
        before = self.acknowledged.get((offer.key, offer.seat))
        fenced = offer.lease != self.world.seats.record(offer.seat).fencing_number
        over = target.state.outcome is not Outcome.OPEN
        try:
            self.settle(target, offer)
        except FedfraudError:
            assert fenced or over or (before and before[0].vector_sha256 != offer.vector_sha256)

    @precondition(lambda self: self.acknowledged)
    @rule(pick=_PICK)
    def a_bank_sends_again_what_was_acknowledged(self, pick: int) -> None:
        """Also after a crash and under a newer lease: the same receipt, until the round after its own has closed."""
        offer, sequence = among(list(self.acknowledged.values()), pick)
        again = replace(offer, lease=self.world.seats.record(offer.seat).fencing_number)
        known = [held.state.plan.key for held in (self.world.round, self.world.former) if held]
        count = len(self.world.disk)
        assert set(self.to_be_known()) <= set(known)
        if offer.key in known:
            target, wanted = self.world.announce(again)
            assert not wanted, "the same contribution counts once"
            assert self.world.settle(target, again) == sequence, "the same receipt"
        else:
            self.refused(Stale, again)
        assert len(self.world.disk) == count

    @precondition(lambda self: self.acknowledged)
    @rule(pick=_PICK)
    def a_bank_that_was_acknowledged_sends_something_else(self, pick: int) -> None:
        offer, _ = among(list(self.acknowledged.values()), pick)
        lease = self.world.seats.record(offer.seat).fencing_number
        other = replace(offer, lease=lease, words=offer.words + np.uint64(1))
        present = self.world.round.state.plan.key if self.world.round else None
        self.refused(Conflict if offer.key == present else Stale, other)

    @precondition(lambda self: self.awaited)
    @rule(pick=_PICK, wrong=st.sampled_from(sorted(WRONG)))
    def a_bank_contributes_what_does_not_fit(self, pick: int, wrong: str) -> None:
        status, made_wrong = WRONG[wrong]
        self.refused(status, made_wrong(self.offer(among(self.awaited, pick), 1)))

    @precondition(lambda self: self.world.round is not None)
    @rule(pick=_PICK)
    def a_bank_outside_the_cohort_contributes(self, pick: int) -> None:
        assert self.world.round is not None
        outside = sorted(set(self.seats) - self.world.round.state.plan.cohort)
        if outside:
            self.refused(Stale, self.offer(among(outside, pick), 1))

    @precondition(lambda self: self.open)
    @rule(dies=st.sampled_from(["", "", "", "after closing", "after the sum", "after the commit"]))
    def the_deadline_passes(self, dies: str) -> None:
        """Or the cohort is complete: the round is committed or void."""
        self.close(dies)

    @precondition(lambda self: self.open or self.world.former)
    @rule(away=_PICK)
    def the_aggregator_crashes_and_goes_on(self, away: int) -> None:
        """Its banks come back, often all of them."""
        self.crash(among(self.seats, away) if away < len(self.seats) else "")

    # How it is done.

    @property
    def between_rounds(self) -> bool:
        return self.world.progress.open is None and self.world.progress.finished is None

    @property
    def open(self) -> bool:
        return self.world.round is not None and self.world.round.state.outcome is Outcome.OPEN

    @property
    def awaited(self) -> list[str]:
        return self.world.round.state.awaited if self.open and self.world.round else []

    def offer(self, seat: str, value: int) -> Offer:
        assert self.world.round is not None
        plan = self.world.round.state.plan
        offer = Offer(seat, self.world.seats.record(seat).fencing_number, plan.key, plan.model_sha256, words(value))
        self.vectors[offer.vector_sha256] = offer.words
        return offer

    def join(self, *seats: str) -> None:
        """The run goes on by itself as soon as enough banks are there."""
        for seat in seats:
            self.world.join(seat)
        self.go_on()

    def go_on(self) -> None:
        if self.between_rounds and self.world.has_quorum:
            self.world.open_next()

    def close(self, dies: str = "") -> None:
        try:
            self.world.close(dies=dies)
        except Killed:
            self.crash()
        self.go_on()

    def settle(self, target: Open, offer: Offer, dies: str = "") -> None:
        try:
            sequence = self.world.settle(target, offer, dies=dies)
        except Killed:
            self.crash()
        else:
            self.acknowledged[offer.key, offer.seat] = offer, sequence

    def refused(self, status: type[FedfraudError], offer: Offer) -> None:
        before = len(self.world.disk), self.answered()
        try:
            self.world.announce(offer)
        except status:
            assert (len(self.world.disk), self.answered()) == before, "a refusal changes nothing"
        else:
            raise AssertionError(f"must be refused with {status.__name__}: {offer}")

    def to_be_known(self) -> list[RoundKey]:
        """Of the present run, the round that is open and the one that closed last."""
        run_id = self.world.progress.run_id
        held = [key for key, one in self.rounds.items() if one.opened and key.run_id == run_id]
        return held[-2:] if self.open else held[-1:]

    def crash(self, stays_away: str = "") -> None:
        """Ends the process in the middle of whatever it did; the next one must stand where the disk says."""
        progress, leases = self.world.progress, self.leases()
        plan = self.world.round.state.plan if self.world.round and progress.open else None
        there = sorted(self.world.live - {stays_away})
        self.on_their_way.clear()
        self.world.restart()
        self.stands(progress, leases, plan)
        self.join(*there)

    def stands(self, progress: Progress, leases: dict[str, int], plan: Plan | None) -> None:
        """The new process is where the former one was on disk."""
        assert self.world.progress == progress, "a resumed run stands where it stood"
        assert self.leases() == leases, "leases are not forgotten"
        if plan is None:
            assert not self.open
            return
        assert self.world.round is not None
        state = self.world.round.state
        assert state.plan == plan, "a resumed round asks what it asked"
        assert state.outcome is Outcome.OPEN
        journalled = self.rounds[state.plan.key].accepted
        assert state.answered == journalled, "a resumed round has what was made durable"

    def leases(self) -> dict[str, int]:
        return {name: record.fencing_number for name, record in self.world.seats.records.items()}


def trial(number: int, folder: Path) -> None:
    """A hundred sequences of at most fifty steps, the same for the same number."""

    class Sequences(RoundMachine):
        pass

    settings = hypothesis.settings(
        max_examples=SEQUENCES_A_TRIAL,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(hypothesis.seed(number)(Sequences), settings=settings)


ROUND_MACHINE = Campaign(
    "round-machine",
    f"{TRIALS * SEQUENCES_A_TRIAL} random sequences of up to {STEPS} joins, contributions, deadlines, crashes and "
    "resumes keep every invariant of a round",
    lambda: TRIALS,
    3,
    trial,
)
