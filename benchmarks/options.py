"""Numbers and names that benchmarks are given, refused by name where nothing can be measured with them."""

import math
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from fedfraud.fixed_point import MAX_SEATS
from fedfraud.thresholds import LEAST_BANKS
from services.aggregator.operate import whole_number

T = TypeVar("T")

banks = whole_number(1, MAX_SEATS)
rounds = whole_number(1, 10_000)
times = whole_number(1, 10_000)
"""How often something is done again to be measured."""
rows = whole_number(1, 10**9)
seed = whole_number(0, 2**32 - 1)
"""Of a population."""


def several(one: Callable[[str], T]) -> Callable[[str], list[T]]:
    """A type for argparse: such numbers or names with commas between them, each once."""

    def parse(text: str) -> list[T]:
        found = [one(word.strip()) for word in text.split(",")]
        if twice := [each for place, each in enumerate(found) if each in found[:place]]:
            raise ArgumentTypeError(f"must have each once, got {twice[0]} twice")
        return found

    return parse


def one_of(known: Collection[str]) -> Callable[[str], str]:
    """A type for argparse: refuses what is none of these names."""

    def parse(text: str) -> str:
        if text not in known:
            raise ArgumentTypeError(f"must be of {', '.join(known)}, got {text[:40]!r}")
        return text

    return parse


def scale(text: str) -> float:
    """A type for argparse: a positive number."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise ArgumentTypeError(f"must be a positive number, got {text[:40]!r}")
    return found


def folder(text: str) -> Path:
    """A type for argparse: a folder that can be written to, which is made where there is none."""
    found = Path(text)
    try:
        found.mkdir(parents=True, exist_ok=True)
        TemporaryDirectory(dir=found).cleanup()
    except OSError as error:
        raise ArgumentTypeError(f"must be a folder to write to, got {text[:80]!r}: {error.strerror}") from error
    return found


def new_file(text: str) -> Path:
    """A type for argparse: a file that can be written, in a folder that is made where there is none: before anything is
    measured that would be lost."""
    found = Path(text)
    try:
        found.parent.mkdir(parents=True, exist_ok=True)
        there = found.exists()
        found.open("a").close()
        if not there:
            found.unlink()
    except OSError as error:
        raise ArgumentTypeError(f"must be a file that can be written, got {text[:80]!r}: {error.strerror}") from error
    return found


def enough_to_mask(parser: ArgumentParser, asked: Namespace) -> None:
    """Ends the program where `aggregation` is secure and `banks` are fewer than may be masked."""
    if asked.aggregation == "secure" and asked.banks < LEAST_BANKS:
        parser.error(f"--banks must be at least {LEAST_BANKS} with secure aggregation, got {asked.banks}")
