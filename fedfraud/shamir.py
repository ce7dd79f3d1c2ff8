"""Shamir's secret sharing over the integers modulo 2**256 - 189: 32-byte secrets, any `threshold` of the shares give
the secret back and fewer say nothing about it (Shamir 1979, doi:10.1145/359168.359176)."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from fedfraud.errors import Invalid

PRIME = 2**256 - 189
BYTES = 32


def share(secret: bytes, threshold: int, places: Sequence[int], draw: Callable[[int], bytes]) -> list[bytes]:
    """One 32-byte share a place, in their order; `draw(n)` gives n random bytes, 32 * (threshold - 1) in all."""
    if len(set(places)) != len(places) or not all(0 < place < PRIME for place in places):
        raise Invalid(f"places must be distinct and above 0, got {list(places)}")
    if not 1 <= threshold <= len(places):
        raise Invalid(f"a threshold must be 1 to the number of shares, {len(places)}, got {threshold}")
    coefficients = [_number(secret), *(_random(draw) for _ in range(threshold - 1))]
    return [_value(coefficients, place).to_bytes(BYTES) for place in places]


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret, from exactly as many shares as the threshold or more, by place. Fewer, or a wrong one, give another
    value: whoever combines must know the secret's hash or public key."""
    if not shares or not all(0 < place < PRIME for place in shares):
        raise Invalid(f"shares must be one or more, at places above 0, got {sorted(shares)}")
    factors = _factors(tuple(shares))
    return (sum(f * _number(s) for f, s in zip(factors, shares.values(), strict=True)) % PRIME).to_bytes(BYTES)


def _number(data: bytes) -> int:
    value = int.from_bytes(data)
    if len(data) != BYTES or value >= PRIME:
        raise Invalid(f"a secret or share must be 32 bytes below 2**256 - 189, got {len(data)} bytes")
    return value


def _random(draw: Callable[[int], bytes]) -> int:
    """Uniform below the prime: one draw, but for one time in 2**248."""
    while (value := int.from_bytes(draw(BYTES))) >= PRIME:
        pass
    return value


def _value(coefficients: Sequence[int], place: int) -> int:
    """Of the polynomial, lowest coefficient first, by Horner's rule."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * place + coefficient) % PRIME
    return value


@lru_cache(maxsize=256)
def _factors(places: tuple[int, ...]) -> list[int]:
    """Lagrange's, at 0: public numbers, the same for every secret that the same places hold."""
    factors = []
    for place in places:
        above = below = 1
        for other in places:
            if other != place:
                above, below = above * other % PRIME, below * (other - place) % PRIME
        factors.append(above * pow(below, -1, PRIME) % PRIME)
    return factors
