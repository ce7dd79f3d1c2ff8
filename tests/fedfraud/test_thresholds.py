"""How many must hold, give back and agree: the numbers that the design names, and why they are enough."""

from fractions import Fraction
from math import comb

import pytest

from fedfraud.errors import Invalid
from fedfraud.thresholds import COMPLETE_UP_TO, LEAST_BANKS, Sizes, sizes


@pytest.mark.parametrize(("banks", "threshold"), [(4, 3), (10, 7), (12, 9), (20, 14), (32, 22), (64, 43)])
def test_up_to_64_banks_everybody_holds_and_two_thirds_and_one_open(banks: int, threshold: int) -> None:
    assert sizes(banks) == Sizes(banks - 1, threshold, threshold)


@pytest.mark.parametrize(("banks", "holders", "threshold", "quorum"), [(100, 54, 28, 67), (1000, 74, 45, 667)])
def test_above_64_banks_the_numbers_are_the_tables(banks: int, holders: int, threshold: int, quorum: int) -> None:
    """Section 3.5 of the findings: 20 % corrupt, 10 % dropped."""
    assert sizes(banks) == Sizes(holders, threshold, quorum)


def test_under_four_banks_no_sum_is_masked() -> None:
    with pytest.raises(Invalid, match="a masked sum must have a cohort of at least 4 banks, got 3"):
        sizes(3)


@pytest.mark.parametrize("banks", range(LEAST_BANKS, COMPLETE_UP_TO + 1))
def test_two_openings_of_one_round_would_need_a_common_honest_bank(banks: int) -> None:
    """With n_c corrupt banks, n_c at most (n - 1) // 3: 2 * quorum > n + n_c."""
    assert 2 * sizes(banks).quorum > banks + (banks - 1) // 3


def at_least(banks: int, marked: int, drawn: int, least: int) -> Fraction:
    """The chance that a draw has so many marked ones, term by term."""
    terms = [Fraction(comb(marked, k) * comb(banks - marked, drawn - k), comb(banks, drawn)) for k in range(drawn + 1)]
    return sum(terms[least:], Fraction(0))


@pytest.mark.parametrize("banks", [65, 100, 300, 1000])
def test_the_holders_of_a_large_cohort_keep_the_promised_chances(banks: int) -> None:
    size = sizes(banks)
    corrupt, dropped = banks // 5, banks // 10
    assert banks * at_least(banks - 1, corrupt, size.holders, size.threshold) <= Fraction(1, 2**40)
    assert banks * at_least(banks - 1, dropped, size.holders, size.holders - size.threshold + 1) <= Fraction(1, 2**30)
    assert size.threshold > size.holders / 2
