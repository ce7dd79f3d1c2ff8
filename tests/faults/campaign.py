"""A campaign: numbered trials of one kind of fault. `make faults` runs them all, `make test` a few of each."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Campaign:
    """One kind of fault and what must hold under it.

    `trials` says how many there are in the long form; `trial(number, folder)`, number from 0, works in an empty folder
    and raises AssertionError when the promise is broken. It says what the machine lacks by `pytest.skip` or `fail`, as
    the fixture `lacking` does.
    """

    name: str
    promise: str
    trials: Callable[[], int]
    short: int
    trial: Callable[[int, Path], None]


def chosen(trials: int, short: int) -> list[int]:
    """`short` of the numbers below `trials`, evenly spread; another set each minute, or that of FAULTS_OFFSET."""
    offset = int(os.environ.get("FAULTS_OFFSET") or time.time() // 60)
    count = min(short, trials)
    numbers = sorted((offset + trials * place // count) % trials for place in range(count))
    print(f"trials {', '.join(map(str, numbers))} of {trials}; again with FAULTS_OFFSET={offset}")
    return numbers
