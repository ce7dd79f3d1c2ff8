"""Secrets in shares: enough of them give the secret, fewer give something else, and no place is taken twice."""

from collections.abc import Callable
from hashlib import sha256
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedfraud.errors import Invalid
from fedfraud.shamir import PRIME, combine, share

SECRET = bytes(range(32))


def numbers(*values: int) -> Callable[[int], bytes]:
    """Random bytes that are these numbers, one a call."""
    left = [value.to_bytes(32) for value in values]
    return lambda count: left.pop(0)[:count]


def drawn(salt: int) -> Callable[[int], bytes]:
    calls = iter(range(10**6))
    return lambda count: sha256(f"{salt}/{next(calls)}".encode()).digest()[:count]


def test_a_threshold_of_two_is_a_straight_line() -> None:
    assert [int.from_bytes(s) for s in share((5).to_bytes(32), 2, [1, 2, 10], numbers(3))] == [8, 11, 35]


def test_two_points_of_a_line_give_its_height_at_zero() -> None:
    assert int.from_bytes(combine({2: (11).to_bytes(32), 10: (35).to_bytes(32)})) == 5


def test_every_seven_of_ten_shares_give_the_secret() -> None:
    shares = dict(enumerate(share(SECRET, 7, range(1, 11), drawn(1)), start=1))
    assert {combine({place: shares[place] for place in chosen}) for chosen in combinations(shares, 7)} == {SECRET}


def test_more_than_enough_shares_give_the_secret_too() -> None:
    assert combine(dict(enumerate(share(SECRET, 3, range(1, 6), drawn(1)), start=1))) == SECRET


def test_six_of_ten_shares_give_another_value() -> None:
    shares = dict(enumerate(share(SECRET, 7, range(1, 11), drawn(1)), start=1))
    assert SECRET not in {combine({place: shares[place] for place in chosen}) for chosen in combinations(shares, 6)}


def test_shares_below_the_threshold_fit_every_secret() -> None:
    """Two shares of three: for any other secret there is a polynomial through both."""
    first, second, third = share(SECRET, 3, [1, 2, 3], drawn(1))
    other = (int.from_bytes(SECRET) + 12345) % PRIME
    fitting = (int.from_bytes(third) + 12345) % PRIME  # the polynomial 12345 * (x - 1) * (x - 2) / 2 is 0 at 1 and 2
    assert combine({1: first, 2: second, 3: fitting.to_bytes(32)}) == other.to_bytes(32)


def test_one_changed_bit_of_a_share_changes_the_secret() -> None:
    shares = dict(enumerate(share(SECRET, 3, [1, 2, 3], drawn(1)), start=1))
    shares[2] = bytes([*shares[2][:31], shares[2][31] ^ 1])
    assert combine(shares) != SECRET


@settings(deadline=None, max_examples=50)
@given(st.integers(0, PRIME - 1), st.integers(1, 20), st.integers(0, 12), st.integers())
def test_any_secret_comes_back(secret: int, threshold: int, spare: int, salt: int) -> None:
    places = range(1, threshold + spare + 1)
    shares = share(secret.to_bytes(32), threshold, places, drawn(salt))
    assert combine(dict(list(zip(places, shares, strict=True))[spare:])) == secret.to_bytes(32)


def test_a_draw_beyond_the_prime_is_drawn_again() -> None:
    assert int.from_bytes(share((5).to_bytes(32), 2, [1, 2], numbers(PRIME, 2**256 - 1, 3))[1]) == 11


def test_the_prime_is_one() -> None:
    """Miller and Rabin's test."""
    odd, twos = PRIME - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        powers = [pow(base, odd << power, PRIME) for power in range(twos)]
        assert powers[0] == 1 or PRIME - 1 in powers


@pytest.mark.parametrize(
    ("secret", "threshold", "places", "message"),
    [
        (SECRET, 2, [1, 1, 2], r"places must be distinct and above 0, got \[1, 1, 2\]"),
        (SECRET, 2, [0, 1], r"places must be distinct and above 0, got \[0, 1\]"),
        (SECRET, 3, [1, 2], "a threshold must be 1 to the number of shares, 2, got 3"),
        (SECRET, 0, [1, 2], "a threshold must be 1 to the number of shares, 2, got 0"),
        (bytes(31), 2, [1, 2], "a secret or share must be 32 bytes below .*, got 31 bytes"),
        (b"\xff" * 32, 2, [1, 2], "a secret or share must be 32 bytes below .*, got 32 bytes"),
    ],
)
def test_what_cannot_be_shared_is_refused(secret: bytes, threshold: int, places: list[int], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        share(secret, threshold, places, drawn(1))


def test_what_cannot_be_combined_is_refused() -> None:
    with pytest.raises(Invalid, match="shares must be one or more"):
        combine({})
    with pytest.raises(Invalid, match="at places above 0, got"):
        combine({0: SECRET})
    with pytest.raises(Invalid, match="got 33 bytes"):
        combine({1: bytes(33)})
