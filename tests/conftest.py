"""What all tests share."""

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from typing import NoReturn

import numpy as np
import pytest
import uvloop
from hypothesis import settings

from simulation.cards import Payments, World, payments

settings.register_profile("fedfraud", deadline=None)  # no test depends on how busy the machine is
settings.load_profile("fedfraud")


def say_lacking(what: str) -> NoReturn:
    """Says what this machine lacks for a test: it is skipped by name, or fails when REQUIRE=all (as CI sets)."""
    if os.environ.get("REQUIRE") == "all":
        pytest.fail(f"REQUIRE=all, and this machine lacks {what}", pytrace=False)
    pytest.skip(f"this machine lacks {what}")


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], AbstractEventLoop]]:
    """What a test runs in its own process has the event loop that the processes have."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def lacking() -> Callable[[str], NoReturn]:
    """`say_lacking`, for a test."""
    return say_lacking


@pytest.fixture(scope="session")
def full_payments() -> Payments:
    """The whole public set of card payments; its columns are for reading."""
    return payments(World(), np.arange(5_000))
