"""The sum is exact or there is none, whoever leaves and whenever; and masked words show nothing but it."""

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from fedfraud.errors import Invalid, Stale
from fedfraud.fixed_point import TrainCodec, Words
from fedfraud.masking import pair_mask, roll_sha256, seed_mask
from fedfraud.masking_keys import agree, derive, is_signed, private_key
from fedfraud.masking_parameters import TooFew
from fedfraud.masking_policy import Openings
from fedfraud.masking_sum import MaskedSum, Stage
from tests.fedfraud.masked_round import CLIP, Attempt, added, parameters_of, roster_of

P = parameters_of(10)
SEATS = P.cohort


def signatures_checked_once() -> AbstractContextManager[object]:
    """In one process every bank checks the same signatures: here the answer is remembered."""
    return patch("fedfraud.masking.is_signed", lru_cache(maxsize=1 << 16)(is_signed))


def test_four_banks_add_up() -> None:
    words = {seat: np.array([number, 2**64 - number], np.uint64) for number, seat in enumerate(SEATS[:4], start=1)}
    assert Attempt(parameters_of(4, word_count=2), words).run().tolist() == [10, 2**64 - 10]


def test_the_sum_wraps_as_integers_modulo_two_to_the_64() -> None:
    words = {seat: np.array([2**63], np.uint64) for seat in SEATS[:4]}
    words["bank-04"] = np.array([2**63 + 5], np.uint64)
    assert Attempt(parameters_of(4, word_count=1), words).run().tolist() == [5]


@pytest.fixture(scope="module")
def stages() -> dict[Stage, Attempt]:
    """Ten banks before each stage, nobody gone."""
    attempt, found = Attempt(P), {}
    for stage in Stage:
        found[stage] = attempt.until(stage).fork()
    return found


def left(stages: dict[Stage, Attempt], stage: Stage, seats: Collection[str]) -> Words:
    """The sum when these seats leave before this stage."""
    with signatures_checked_once():
        return stages[stage].fork().run({stage: seats})


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_any_three_of_ten_banks_may_leave_at_any_stage(stages: dict[Stage, Attempt], stage: Stage, count: int) -> None:
    """Those that sent their words are in the sum, those that left before are not."""
    for seats in combinations(SEATS, count):
        summed = SEATS if stage > Stage.MASK else [seat for seat in SEATS if seat not in seats]
        assert left(stages, stage, seats).tolist() == added(stages[stage].words, summed)


@pytest.mark.parametrize("stage", Stage)
def test_when_four_of_ten_banks_leave_nothing_is_opened(stages: dict[Stage, Attempt], stage: Stage) -> None:
    for seats in combinations(SEATS, 4):
        with pytest.raises(TooFew, match=r"got (6|fewer for bank-01)") as end:
            left(stages, stage, seats)
        assert end.value.missing == seats


def test_the_next_round_works_after_one_that_ended_early(stages: dict[Stage, Attempt]) -> None:
    with pytest.raises(TooFew):
        left(stages, Stage.SHARE, SEATS[:4])
    again = Attempt(replace(P, round=2))
    assert again.run().tolist() == added(again.words, SEATS)


def test_banks_may_leave_at_every_stage_of_one_attempt(stages: dict[Stage, Attempt]) -> None:
    attempt = stages[Stage.ADVERTISE].fork()
    total = attempt.run({Stage.SHARE: ["bank-02"], Stage.MASK: ["bank-05"], Stage.UNMASK: ["bank-09"]})
    assert total.tolist() == added(attempt.words, [seat for seat in SEATS if seat not in ("bank-02", "bank-05")])


@dataclass(frozen=True)
class Case:
    """Banks, words, and for some seats the stage before which they leave."""

    banks: int
    parameter_count: int
    leaving: dict[int, Stage]
    salt: int

    def expected(self) -> list[tuple[Stage, int]]:
        """How many are there at each stage."""
        gone = [sum(at <= stage for at in self.leaving.values()) for stage in Stage]
        return [(stage, self.banks - gone[stage]) for stage in Stage]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    banks = draw(st.sampled_from((4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 12, 13, 14, 17, 20, 32)))
    most = banks // 3 + 1  # one more than may leave
    seats = draw(st.lists(st.integers(0, banks - 1), max_size=most, unique=True))
    leaving = {seat: draw(st.sampled_from(Stage)) for seat in seats}
    return Case(banks, draw(st.integers(1, 50)), leaving, draw(st.integers(0, 2**32)))


def contributions(case: Case, codec: TrainCodec, seats: Collection[str]) -> dict[str, Words]:
    """Updates up to and beyond the clip, weights from 1 to the cap."""
    drawn = np.random.Generator(np.random.PCG64(case.salt))
    return {
        seat: codec.encode(
            drawn.normal(0, CLIP, codec.parameter_count).astype(np.float32), int(2 ** drawn.uniform(0, 20))
        )
        for seat in seats
    }


def holds(case: Case) -> None:
    """The exact sum of the survivors, or no sum where too few are left: and which of the two is known beforehand."""
    codec = TrainCodec(case.parameter_count, CLIP)
    parameters = parameters_of(case.banks, word_count=codec.length)
    words = contributions(case, codec, parameters.cohort)
    leaving: dict[Stage, list[str]] = {stage: [] for stage in Stage}
    for place, stage in case.leaving.items():
        leaving[stage].append(parameters.cohort[place])
    attempt = Attempt(parameters, words, case.salt)
    if any(count < parameters.quorum for _, count in case.expected()):
        with pytest.raises(TooFew):
            attempt.run(leaving)
        return
    total = attempt.run(leaving)
    gone = {parameters.cohort[place] for place, stage in case.leaving.items() if stage <= Stage.MASK}
    survivors = [seat for seat in parameters.cohort if seat not in gone]
    assert total.tolist() == added(words, survivors)
    codec.check_sum(total, len(survivors))
    assert codec.decode(total).weight == sum(int(words[seat][-2]) for seat in survivors)


def check(count: int, number: int | None = None) -> None:
    """So many cases of the property, drawn anew or from a seed; `make test` asks for 300, `make faults` for 5,000."""
    drawn = given(cases())(holds)
    with signatures_checked_once():
        settings(max_examples=count, deadline=None, database=None)(drawn if number is None else seed(number)(drawn))()


def test_the_sum_is_exact_or_there_is_none() -> None:
    check(300)


def test_a_hundred_banks_with_holders_of_their_own_choice_add_up_and_may_leave() -> None:
    """Each has 54 holders besides itself, any 28 of which give its secrets back."""
    attempt = Attempt(parameters_of(100))
    seats = attempt.parameters.cohort
    with signatures_checked_once():
        total = attempt.run(
            {Stage.SHARE: seats[:2], Stage.MASK: seats[10:13], Stage.CONSENT: seats[20:23], Stage.UNMASK: seats[50:52]}
        )
    assert total.tolist() == added(attempt.words, seats[2:10] + seats[13:])
    chosen = [shares.holders for shares in attempt.sum.transcript().shares]
    assert {len(holders) for holders in chosen} == {55}
    assert len(set(chosen)) == len(chosen)


def bins(words: Words) -> list[int]:
    """How often each value of each byte comes."""
    counts: list[int] = np.bincount(words.view(np.uint8), minlength=256).tolist()
    return counts


def chi_square(counts: list[int]) -> float:
    mean = sum(counts) / len(counts)
    return sum((count - mean) ** 2 for count in counts) / mean


def test_masked_words_are_spread_evenly_whatever_the_words() -> None:
    """All words 0: the bytes' chi-square has 255 degrees of freedom, so mean 255 and deviation 22.6."""
    parameters = parameters_of(4, word_count=4096)
    attempt = Attempt(parameters, {seat: np.zeros(4096, np.uint64) for seat in parameters.cohort})
    attempt.until(Stage.CONSENT)
    values = [chi_square(bins(words)) for words in attempt.masked.values()]
    assert all(255 - 5 * 22.6 < value < 255 + 5 * 22.6 for value in values)
    assert chi_square(bins(np.zeros(4096, np.uint64))) > 10**6


def test_other_words_with_the_same_sum_show_as_nothing_but_another_mask() -> None:
    """Two banks' words change by +d and -d, and of all randomness one pair's key: by that key's mask the aggregator
    would see the very same. So it cannot tell the two worlds apart without that key."""
    attempt, other = Attempt(P), Attempt(P)
    moved = np.arange(1, 9, dtype=np.uint64)
    other.words["bank-01"] = attempt.words["bank-01"] + moved
    other.words["bank-02"] = attempt.words["bank-02"] - moved
    assert attempt.run().tolist() == other.run().tolist()
    differences = {seat: (other.masked[seat] - attempt.masked[seat]).tolist() for seat in SEATS}
    assert differences["bank-01"] == moved.tolist()
    assert differences["bank-02"] == (np.uint64(0) - moved).tolist()
    assert all(differences[seat] == [0] * 8 for seat in SEATS[2:])


def test_words_that_came_too_late_stay_masked() -> None:
    """Bank 10 was declared gone, its mask secret rebuilt; its own mask is still on what it sends then."""
    attempt = Attempt(P).until(Stage.MASK)
    late = attempt.banks["bank-10"]
    delivery = attempt.sum.delivery("bank-10")
    attempt.run({Stage.MASK: ["bank-10"]})
    masked, words, _ = late.mask(delivery, attempt.words["bank-10"], Openings())
    with pytest.raises(Stale, match="an answer must be to stage unmask, got Masked from bank-10"):
        attempt.sum.mask(masked, words)
    roll = roll_sha256(P.transcript_sha256, attempt.sum.advertisements)
    key = private_key(derive(late.state.seed, "mask key", P.transcript_sha256))
    for advertisement in attempt.sum.advertisements[:9]:  # what the aggregator can take off by now
        words = words - pair_mask("bank-10", advertisement.seat, agree(key, advertisement.mask_key), roll, 8)
    own = seed_mask("bank-10", derive(late.state.seed, "own seed", P.transcript_sha256), roll, 8)
    assert (words - attempt.words["bank-10"]).tolist() == own.tolist()
    released = attempt.sum.transcript().unmaskings
    assert {share.seat for unmasking in released for share in unmasking.seed_shares} == set(SEATS[:9])


def test_the_aggregator_knows_whom_it_waits_for() -> None:
    attempt = Attempt(P)
    assert attempt.sum.missing() == SEATS
    attempt.answer("bank-01", attempt.banks["bank-01"])
    assert attempt.sum.missing() == SEATS[1:]
    attempt.leave(["bank-10"])
    attempt.until(Stage.SHARE)
    assert attempt.sum.missing() == SEATS[:9]


def test_seven_of_ten_answers_open_a_sum_and_the_others_are_not_waited_for() -> None:
    attempt = Attempt(P).until(Stage.UNMASK)
    for number, seat in enumerate(SEATS[:7]):
        assert attempt.sum.missing() == SEATS[number:]
        attempt.answer(seat, attempt.banks[seat])
    assert attempt.sum.missing() == ()
    assert attempt.sum.open().tolist() == attempt.sum.open().tolist() == added(attempt.words, SEATS)


def test_a_sum_is_not_opened_before_its_stage_and_the_last_stage_is_not_closed() -> None:
    attempt = Attempt(P)
    with pytest.raises(Stale, match="a sum must be opened at stage unmask, got advertise"):
        attempt.sum.open()
    with pytest.raises(Stale, match="a stage that is closed must not be the last"):
        attempt.until(Stage.UNMASK).sum.close()


def test_more_survivors_than_the_thresholds_can_be_asked_for() -> None:
    attempt = Attempt(replace(P, minimum=10))
    with pytest.raises(TooFew, match="stage mask must have answers of 10 banks, got 9") as end:
        attempt.run({Stage.MASK: ["bank-04"]})
    assert end.value.missing == ("bank-04",)


def test_a_roster_that_is_not_the_parameters_is_refused() -> None:
    with pytest.raises(Invalid, match="a roster must be the parameters'"):
        MaskedSum(P, roster_of(11))
