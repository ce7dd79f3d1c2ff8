"""Waits for conditions with a deadline: tests never sleep for a time and hope."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_STEP = 0.01


def wait_for(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """What the condition gives, as soon as that is true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"within {seconds:g} seconds: {what}"
        time.sleep(_STEP)
    return value


async def until(condition: Callable[[], T], what: str, seconds: float = 30.0) -> T:
    """The same where an event loop runs."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"within {seconds:g} seconds: {what}"
        await asyncio.sleep(_STEP)
    return value
