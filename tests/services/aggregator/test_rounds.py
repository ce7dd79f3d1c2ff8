"""A round by itself: three banks, a quorum of two, told what happens."""

import itertools

import pytest

from fedfraud.errors import Conflict, FedfraudError, Invalid, Stale
from fedfraud.fixed_point import Segment
from fedfraud.wire import RoundKey
from services.aggregator.rounds import Outcome, Plan, Round

KEY = RoundKey("run", 2, 1)
MODEL, GIVEN, OTHER = b"m" * 32, b"\x11" * 32, b"\x22" * 32
COHORT = ("bank-01", "bank-02", "bank-03")


def fresh(quorum: int = 2) -> Round:
    return Round(Plan(KEY, 1, (Segment.TRAIN,), frozenset(COHORT), quorum, MODEL, 5))


def give(state: Round, seat: str, vector_sha256: bytes = GIVEN) -> bool:
    """Admits and accepts, as the intake does; whether it was new."""
    new = state.admit(seat, KEY, MODEL, 5, vector_sha256)
    if new:
        state.accept(seat, vector_sha256)
    return new


def test_a_round_is_complete_when_its_cohort_has_answered_in_any_order() -> None:
    for order in itertools.permutations(COHORT):
        state = fresh()
        for left, seat in zip((3, 2, 1), order, strict=True):
            assert not state.complete
            assert len(state.awaited) == left
            assert give(state, seat)
        assert state.complete
        assert state.close() is Outcome.COMMITTED


@pytest.mark.parametrize(
    ("answered", "outcome"),
    [(0, Outcome.VOID), (1, Outcome.VOID), (2, Outcome.COMMITTED), (3, Outcome.COMMITTED)],
)
def test_at_the_deadline_a_quorum_of_two_decides(answered: int, outcome: Outcome) -> None:
    state = fresh(quorum=2)
    for seat in COHORT[:answered]:
        give(state, seat)
    assert state.awaited == list(COHORT[answered:])
    assert state.close() is state.outcome is outcome
    assert state.close() is outcome


def test_the_same_contribution_counts_once() -> None:
    state = fresh()
    assert give(state, "bank-01")
    assert not give(state, "bank-01")
    assert state.answered == {"bank-01": GIVEN}


def test_a_second_different_contribution_is_a_conflict_and_the_first_stays() -> None:
    state = fresh()
    give(state, "bank-01")
    sentence = "^a seat contributes once a round: bank-01 gave 111111111111, got 222222222222$"
    with pytest.raises(Conflict, match=sentence):
        give(state, "bank-01", OTHER)
    assert state.answered == {"bank-01": GIVEN}


def test_a_closed_round_admits_nothing_new_and_knows_what_it_has() -> None:
    state = fresh()
    give(state, "bank-01")
    give(state, "bank-02")
    state.close()
    assert not give(state, "bank-01")
    with pytest.raises(Stale, match=r"^a contribution must come before the deadline: round run/2/1 is committed$"):
        give(state, "bank-03")
    assert state.answered.keys() == {"bank-01", "bank-02"}


@pytest.mark.parametrize(
    ("seat", "key", "model", "words", "sha256", "error", "sentence"),
    [
        ("bank-01", RoundKey("other", 2, 1), MODEL, 5, GIVEN, Stale, "the open round, run/2/1, got other/2/1"),
        ("bank-01", RoundKey("run", 1, 1), MODEL, 5, GIVEN, Stale, "the open round, run/2/1, got run/1/1"),
        ("bank-01", RoundKey("run", 2, 2), MODEL, 5, GIVEN, Stale, "the open round, run/2/1, got run/2/2"),
        ("bank-04", KEY, MODEL, 5, GIVEN, Stale, "the cohort of round run/2/1, got one from bank-04"),
        ("bank-01", KEY, OTHER, 5, GIVEN, Stale, "be made on model 6d6d6d6d6d6d, got 222222222222"),
        ("bank-01", KEY, b"", 5, GIVEN, Stale, "be made on model 6d6d6d6d6d6d, got none"),
        ("bank-01", KEY, MODEL, 4, GIVEN, Invalid, "a contribution must have 5 words, got 4"),
        ("bank-01", KEY, MODEL, 5, b"", Invalid, "a vector's SHA-256 must have 32 bytes, got 0"),
    ],
)
def test_a_contribution_that_does_not_fit_the_round_is_refused(
    seat: str, key: RoundKey, model: bytes, words: int, sha256: bytes, error: type[FedfraudError], sentence: str
) -> None:
    state = fresh()
    with pytest.raises(error) as refusal:
        state.admit(seat, key, model, words, sha256)
    assert sentence in str(refusal.value)
    assert state.answered == {}
