"""A bank's own work: one piece at a time, it gives way to a round, and what fails costs nothing else."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from services.bank_client import own_work
from services.bank_client.own_work import OwnWork
from tests.federation.waiting import until


class Piece:
    """Work that goes on until the test, or whoever cancels it, ends it."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.ended: list[str] = []

    def work(self, run_id: str, cancelled: Callable[[], bool]) -> None:
        self.begun.set()
        while not self.may_end.wait(0.01):
            if cancelled():
                raise RuntimeError("cancelled")
        self.ended.append(run_id)


async def test_work_gives_way_to_a_round(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    own, piece = OwnWork("bank-01", None), Piece()
    own.begin("run", piece.work)
    await until(piece.begun.is_set, "it begins")
    own.give_way()
    await until(lambda: caplog.messages, "it is given up")
    assert caplog.messages == ["own work given up: a round came, or the bank stops"]
    piece.may_end.set()
    own.begin("next", piece.work)
    await until(lambda: piece.ended == ["next"], "the next run's work")


async def test_while_some_goes_on_no_other_begins() -> None:
    own, piece, other = OwnWork("bank-01", None), Piece(), Piece()
    own.begin("run", piece.work)
    await until(piece.begun.is_set, "it begins")
    own.begin("run", other.work)
    piece.may_end.set()
    await own.finish()
    assert (piece.ended, other.begun.is_set()) == (["run"], False)


async def test_a_bank_that_stops_waits_for_it_so_long_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_work, "LAST_SECONDS", 0.05)
    own, piece = OwnWork("bank-01", None), Piece()
    await own.finish()  # nothing goes on
    own.begin("run", piece.work)
    await until(piece.begun.is_set, "it begins")
    async with asyncio.timeout(5):
        await own.finish()
    assert piece.ended == []


async def test_work_that_fails_says_so(caplog: pytest.LogCaptureFixture) -> None:
    own = OwnWork("bank-01", None)

    def failing(run_id: str, cancelled: Callable[[], bool]) -> None:
        raise ValueError("no rows")

    own.begin("run", failing)
    await own.finish()
    assert caplog.messages == ["own work failed"]
