"""Answers are made durable side by side; the end of their round comes when none is under way, and keeps others out."""

import asyncio

from services.aggregator.shared_lock import SharedLock


async def storing(lock: SharedLock, name: str, on_disk: asyncio.Event, told: list[str]) -> None:
    async with lock.shared():
        told.append(f"{name} comes")
        await on_disk.wait()
        told.append(f"{name} is on disk")


async def ending(lock: SharedLock, told: list[str]) -> None:
    async with lock.exclusive():
        told.append("end")
        await asyncio.sleep(0)
        told.append("ended")


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_that_waits_for_the_disk_keeps_no_other_waiting() -> None:
    lock, told, never, now = SharedLock(), list[str](), asyncio.Event(), asyncio.Event()
    now.set()
    async with asyncio.TaskGroup() as group:
        group.create_task(storing(lock, "slow", never, told))
        group.create_task(storing(lock, "quick", now, told))
        await settled()
        assert told == ["slow comes", "quick comes", "quick is on disk"]
        assert lock.holders == 1
        never.set()
    assert lock.holders == 0


async def test_an_end_waits_for_all_that_came_and_lets_none_in_before_it_is_over() -> None:
    lock, told, disk = SharedLock(), list[str](), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(storing(lock, "first", disk, told))
        await settled()
        group.create_task(ending(lock, told))
        await settled()
        group.create_task(storing(lock, "late", disk, told))
        await settled()
        assert told == ["first comes"]
        disk.set()
    assert told == ["first comes", "first is on disk", "end", "ended", "late comes", "late is on disk"]


async def test_one_that_fails_is_under_way_no_longer_and_whoever_asked_is_told() -> None:
    ended: list[str] = []
    lock = SharedLock(lambda: ended.append("nobody is under way"))
    try:
        async with lock.shared():
            raise OSError("No space left on device")
    except OSError:
        pass
    assert (lock.holders, ended) == (0, ["nobody is under way"])
    async with asyncio.timeout(5), lock.exclusive():
        pass
