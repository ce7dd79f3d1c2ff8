"""Numbers that benchmarks are given, refused by name where nothing can be measured with them."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from fedfraud.fixed_point import MAX_SEATS
from fedfraud.thresholds import LEAST_BANKS
from services.aggregator.operate import whole_number

banks = whole_number(1, MAX_SEATS)
rounds = whole_number(1, 10_000)
times = whole_number(1, 10_000)
"""How often something is done again to be measured."""
rows = whole_number(1, 10**9)
seed = whole_number(0, 2**32 - 1)
"""Of a population."""


def several(number: Callable[[str], int]) -> Callable[[str], list[int]]:
    """A type for argparse: such numbers with commas between them."""
    return lambda text: [number(word.strip()) for word in text.split(",")]


def enough_to_mask(parser: ArgumentParser, asked: Namespace) -> None:
    """Ends the program where `aggregation` is secure and `banks` are fewer than may be masked."""
    if asked.aggregation == "secure" and asked.banks < LEAST_BANKS:
        parser.error(f"--banks must be at least {LEAST_BANKS} with secure aggregation, got {asked.banks}")
