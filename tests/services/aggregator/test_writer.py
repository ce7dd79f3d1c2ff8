"""The writer on a disk that fails and comes back: nothing is acknowledged meanwhile, and what must be done is done."""

import asyncio
import errno
import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from fedfraud.errors import Invalid, NotStored
from services.aggregator.writer import Closed, Writer


class Disk:
    """Takes what it is given, or does not."""

    def __init__(self) -> None:
        self.full = True
        self.taken: list[int] = []

    def take(self, number: int) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.taken.append(number)
        return number


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), sqlite3.OperationalError("disk is full")])
async def test_what_the_disk_does_not_take_is_refused_with_its_words_and_noted(error: Exception) -> None:
    def fail() -> None:
        raise error

    writer = Writer()
    with pytest.raises(NotStored, match=f"the disk said: .*{error.args[-1]}; try again"):
        await writer.run(fail)
    assert str(error.args[-1]) in writer.failure
    assert await writer.run(lambda: 3) == 3
    assert writer.failure == ""
    writer.close()


async def test_a_disk_that_is_read_is_not_taken_for_one_that_takes_data() -> None:
    writer, disk = Writer(), Disk()
    with pytest.raises(NotStored):
        await writer.run(disk.take, 1)
    assert await writer.aside(lambda: 3) == 3
    assert writer.failure == "[Errno 28] No space left on device"
    writer.close()


async def test_what_is_wrong_for_another_reason_is_not_the_disks_fault() -> None:
    def refuse() -> None:
        raise Invalid("a rule, a value")

    writer = Writer()
    with pytest.raises(Invalid):
        await writer.run(refuse)
    assert writer.failure == ""
    writer.close()


async def test_what_must_be_done_is_done_once_the_disk_takes_it(tmp_path: Path) -> None:
    writer, disk = Writer(), Disk()
    insisting = asyncio.create_task(writer.insist(disk.take, 1))
    async with asyncio.timeout(10):
        await writer.changed.wait()
        assert writer.failure == "[Errno 28] No space left on device"
        disk.full = False
        assert await insisting == 1
    assert (disk.taken, writer.failure) == ([1], "")
    writer.close()


async def test_a_disk_that_comes_back_is_noticed_though_nobody_writes(tmp_path: Path) -> None:
    writer = Writer()
    probing = asyncio.create_task(writer.probe(tmp_path, lambda: None, lambda: None))
    with pytest.raises(NotStored):
        await writer.run(Disk().take, 1)
    async with asyncio.timeout(10):
        while writer.failure:
            await writer.changed.wait()
    assert await writer.run(lambda: list(tmp_path.iterdir())) == []
    probing.cancel()
    writer.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have names for tools on Linux")
async def test_tools_that_list_threads_see_which_one_writes() -> None:
    writer = Writer()
    name = await writer.run(lambda: Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text())
    assert name == "writer\n"
    writer.close()


async def test_a_writer_that_is_closed_says_so_at_once_and_nobody_insists_for_ever() -> None:
    writer = Writer()
    writer.close()
    for way in (writer.run, writer.aside, writer.insist):
        with pytest.raises(Closed, match=r"^nothing is written any more, the process ends$"):
            await way(lambda: None)
