"""Files that are written over: nothing of the former round is in them or left beside them."""

import asyncio
import hashlib
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from fedfraud.wire import RoundKey
from services.aggregator.arriving import InFile, room
from services.aggregator.spares import Spares
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer
from tests.faults.small_disk import fill, small_disk

KEY, NEXT = RoundKey("run", 1, 1), RoundKey("run", 2, 1)
LONG, NEW = b"old!" * (1 << 19), bytes(range(256)) * 4096  # twice what comes after it


def left(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "arriving").iterdir())


async def given_in_a_file(vectors: Vectors, writer: Writer, seat: str) -> None:
    arriving = InFile(len(NEW), vectors, writer, room(), len(NEW))
    await arriving.take(NEW)
    assert await arriving.end() == hashlib.sha256(NEW).digest()
    arriving.keep(vectors, NEXT, seat)
    arriving.drop()


def given(vectors: Vectors, *seats: str) -> None:
    for seat in seats:
        vectors.write_contribution(KEY, seat, LONG)
    vectors.recycle_contributions(KEY)


async def test_a_contribution_is_written_over_a_former_one_and_nothing_of_that_is_left(
    vectors: Vectors, writer: Writer, tmp_path: Path
) -> None:
    given(vectors, "bank-01")
    (number,) = (spare.stat().st_ino for spare in left(tmp_path))
    await given_in_a_file(vectors, writer, "bank-02")
    path = vectors.contribution(NEXT, "bank-02")
    assert (path.stat().st_ino, path.stat().st_size) == (number, len(NEW))
    assert path.read_bytes() == NEW
    assert not vectors.contribution(KEY, "bank-01").parent.exists()
    assert not left(tmp_path)


async def test_one_more_than_there_are_spares_gets_a_new_file(vectors: Vectors, writer: Writer) -> None:
    given(vectors, "bank-01")
    for seat in ("bank-01", "bank-02"):
        await given_in_a_file(vectors, writer, seat)
    assert vectors.contributions(NEXT)("bank-01") == vectors.contributions(NEXT)("bank-02") == NEW


@pytest.mark.parametrize(
    "end",
    [
        lambda vectors: vectors.forget_spares(),
        lambda vectors: vectors.prepare(),
        lambda vectors: vectors.remove_contributions(NEXT),
        lambda vectors: vectors.recycle_contributions(NEXT),
    ],
    ids=["run over", "start", "next round void", "next round committed"],
)
def test_a_spare_file_goes_with_the_run_and_outlives_no_more_than_one_round(
    vectors: Vectors, tmp_path: Path, end: Callable[[Vectors], None]
) -> None:
    given(vectors, "bank-01", "bank-02")
    assert len(left(tmp_path)) == 2
    end(vectors)
    assert not left(tmp_path)


def test_small_contributions_are_not_kept(vectors: Vectors, tmp_path: Path) -> None:
    vectors.write_contribution(KEY, "bank-01", b"small")
    vectors.recycle_contributions(KEY)
    assert not left(tmp_path)


def test_nothing_is_spare_on_a_disk_that_runs_full(
    vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=len(LONG) - 1))
    given(vectors, "bank-01")
    assert not left(tmp_path)
    assert not vectors.contribution(KEY, "bank-01").exists()


async def test_a_disk_that_is_full_gets_the_space_of_spare_files_back(tmp_path: Path, writer: Writer) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 8):
        vectors = Vectors(disk)
        vectors.prepare()
        given(vectors, "bank-01")
        fill(disk)
        probing = asyncio.create_task(writer.probe(disk, vectors.forget_spares, lambda: None))
        async with asyncio.timeout(10):  # what nobody can send again, as a round's sum
            await writer.insist((disk / "sum").write_bytes, LONG[: 1 << 20])
        probing.cancel()
        assert not list((disk / "arriving").iterdir())


def test_no_file_that_is_there_already_is_opened_as_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"whole")
    with pytest.raises(FileExistsError):
        Spares(tmp_path).open(tmp_path / "there")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """As with more banks than the process may have files open: names can be given, and nothing can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_spare_file_that_cannot_be_opened_is_not_left_behind(vectors: Vectors, tmp_path: Path) -> None:
    given(vectors, "bank-01")
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
        vectors.open_arriving(vectors.arriving())
    assert not left(tmp_path)


def test_files_whose_names_cannot_be_made_durable_are_not_left_behind(tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.mkdir()
    (former / "bank-01.u64").write_bytes(LONG)
    folder = tmp_path / "arriving"
    folder.mkdir()
    with no_descriptor_left(), pytest.raises(OSError, match="Too many open files"):
        Spares(folder).fill([former / "bank-01.u64"])
    assert not left(tmp_path)


class Taken(list[Path]):
    """The last file is seen, and another thread has it by the time that it is asked for."""

    def __len__(self) -> int:
        return 1


def test_a_file_that_another_thread_takes_while_they_are_cleared_fails_nobody(tmp_path: Path) -> None:
    spares = Spares(tmp_path)
    spares._files = Taken()
    spares.clear()
    with spares.open(tmp_path / "fresh") as file:
        assert file.write(b"new") == 3
