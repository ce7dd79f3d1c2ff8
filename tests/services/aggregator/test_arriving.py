"""A contribution on its way in, in memory and in a file: the same hash, the same file, and nothing left behind."""

import asyncio
import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from fedfraud.chunks import read_upload, write_upload
from fedfraud.errors import NotStored
from fedfraud.wire import RoundKey
from services.aggregator.arriving import Arriving, InFile, InMemory, room
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer
from tests.federation.waiting import until

KEY = RoundKey("run", 1, 1)
DATA = bytes(range(256)) * 4096  # a MiB


@pytest.fixture(params=["in memory", "in a file"])
def make(request: pytest.FixtureRequest, vectors: Vectors, writer: Writer) -> Callable[[], Arriving]:
    if request.param == "in memory":
        return lambda: InMemory(len(DATA))
    shared = room()
    return lambda: InFile(len(DATA), vectors, writer, shared, len(DATA))


def left(vectors: Vectors, tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "arriving").iterdir()]


async def filled(arriving: Arriving) -> bytes:
    for start in range(0, len(DATA), 100_000):
        await arriving.take(DATA[start : start + 100_000])
    return await arriving.end()


async def test_what_came_is_hashed_and_kept_as_it_came(
    make: Callable[[], Arriving], vectors: Vectors, tmp_path: Path
) -> None:
    arriving = make()
    assert await filled(arriving) == hashlib.sha256(DATA).digest()
    assert arriving.received == arriving.size == len(DATA)
    assert not isinstance(arriving, InMemory) or arriving.words.tobytes() == DATA
    arriving.keep(vectors, KEY, "bank-01")
    arriving.drop()
    assert vectors.contributions(KEY)("bank-01") == DATA
    await until(lambda: not left(vectors, tmp_path), "nothing is arriving")


async def test_what_is_dropped_half_way_leaves_nothing(
    make: Callable[[], Arriving], vectors: Vectors, tmp_path: Path
) -> None:
    arriving = make()
    await arriving.take(DATA[:-1])
    arriving.drop()
    await until(lambda: not left(vectors, tmp_path), "nothing is arriving")
    assert not vectors.contribution(KEY, "bank-01").exists()


async def test_a_write_that_comes_after_the_drop_makes_no_file(
    vectors: Vectors, writer: Writer, tmp_path: Path
) -> None:
    arriving = InFile(len(DATA), vectors, writer, room(), len(DATA))
    arriving._drop()
    arriving._write([DATA])
    assert left(vectors, tmp_path) == []


async def test_chunks_of_one_byte_take_no_more_memory_than_large_ones(vectors: Vectors, writer: Writer) -> None:
    arriving, message = InFile(len(DATA), vectors, writer, room(), len(DATA)), bytearray(write_upload(b"x"))
    tracemalloc.start()
    for _ in range(20_000):
        chunk = read_upload(bytes(message))
        assert isinstance(chunk, memoryview)
        await arriving.take(chunk)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    arriving.drop()
    assert held < 1 << 20


async def test_a_disk_that_fails_is_said_so_and_noted(vectors: Vectors, writer: Writer, tmp_path: Path) -> None:
    arriving = InFile(len(DATA), Vectors(tmp_path / "gone"), writer, room(), len(DATA))
    with pytest.raises(NotStored, match=r"^what arrives must be made durable, the disk said: .*No such file"):
        await filled(arriving)
    assert "No such file" in writer.failure


async def test_a_start_takes_away_what_a_killed_process_left(vectors: Vectors, tmp_path: Path) -> None:
    await asyncio.to_thread(vectors.arriving().write_bytes, DATA)
    vectors.prepare()
    assert left(vectors, tmp_path) == []
