"""The aggregator's journal in a folder of a test, and a hand on its file and on the thread that writes it."""

import asyncio
import sqlite3
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.v1 import history_pb2
from services.aggregator.journal import Journal
from services.aggregator.writer import Writer

DEADLINE = 10.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
T = TypeVar("T")


@contextmanager
def opened(folder: Path) -> Iterator[Journal]:
    writer = Writer()
    journal = Journal(folder / "journal.sqlite3", writer, KEY)
    try:
        yield journal
    finally:
        writer.close()
        journal.close()


def event(number: int) -> history_pb2.SeatAbsent:
    return history_pb2.SeatAbsent(seat=f"bank-{number:02d}", fencing_number=number)


async def append(journal: Journal, *numbers: int) -> list[history_pb2.Entry]:
    """These events, one after another."""
    return [await journal.append(event(number)) for number in numbers]


async def begun(calls: Iterable[Coroutine[Any, Any, T]]) -> list[asyncio.Task[T]]:
    """The calls, each on its way: the loop has had one turn."""
    tasks = [asyncio.create_task(call) for call in calls]
    await asyncio.sleep(0)
    return tasks


@contextmanager
def held(journal: Journal) -> Iterator[None]:
    """The writer thread does nothing meanwhile: what is appended waits together."""
    busy, go = threading.Event(), threading.Event()

    def wait() -> None:
        busy.set()
        go.wait(DEADLINE)

    journal._writer._thread.submit(wait)
    busy.wait(DEADLINE)
    try:
        yield
    finally:
        go.set()


def rows(folder: Path) -> list[tuple[int, bytes, bytes]]:
    """What the file has: sequence, entry and head."""
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as database:
        return database.execute("SELECT sequence, entry, head FROM entries ORDER BY sequence").fetchall()


def change(folder: Path, statement: str, *values: object) -> None:
    """The file is changed behind the journal's back."""
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as database, database:
        database.execute(statement, values)
