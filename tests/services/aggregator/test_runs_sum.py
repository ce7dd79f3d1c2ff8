"""The sum of small contributions, which grows as they come to count: after a restart, and when the disk fails."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import grpc
import pytest

from tests.federation.hands import HandBank, aggregator, pair
from tests.federation.waiting import until
from tests.full_disk import no_file_beyond


async def test_after_a_restart_a_contribution_that_the_disk_did_not_give_at_once_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "whole") as network:
        await network.answer()
        expected = network.models
    failures, real = [None, OSError(errno.EIO, "Input/output error")], os.pread

    def fails_once(descriptor: int, length: int, offset: int) -> bytes:
        if failures and (failure := failures.pop(0)):  # the first is the check of its hash, before anybody is served
            raise failure
        return real(descriptor, length, offset)

    async with pair(tmp_path / "failing") as network:
        one, two = network.banks
        await one.submit(network.good()[0].messages)
    monkeypatch.setattr(os, "pread", fails_once)
    async with aggregator(tmp_path / "failing") as again, again.channel(two.own) as channel:
        back = HandBank(two.seat, two.own, channel)
        await back.join()
        await back.submit(back.upload(await back.round(), 4.0, 3).messages)
        await until(lambda: again.events("round_committed"), "the round is committed")
        assert [event.model.model_sha256 for event in again.events("round_committed")] == expected
    assert not failures


async def test_after_a_restart_the_deadline_begins_when_what_was_stored_is_added(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path) as network:
        one, two = network.banks
        await one.submit(network.good()[0].messages)
    checked, given, real, deadline = [True], threading.Event(), os.pread, 3.0

    def not_given(descriptor: int, length: int, offset: int) -> bytes:
        if checked and checked.pop():  # its hash, before anybody is served
            return real(descriptor, length, offset)
        if not given.is_set():
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", not_given)
    async with aggregator(tmp_path, round_deadline=deadline) as again, again.channel(two.own) as channel:
        back = HandBank(two.seat, two.own, channel)
        await back.join()
        asyncio.get_running_loop().call_later(deadline, given.set)
        await back.submit(back.upload(await back.round(), 4.0, 3).messages)
        await until(lambda: again.events("round_committed"), "the round is committed")
        assert list(again.events("round_committed")[0].seats) == ["bank-01", "bank-02"]
        assert not again.events("round_void")


async def test_what_did_not_count_for_want_of_a_journal_is_not_in_the_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "whole") as network:
        await network.answer()
        expected = network.models
    async with pair(tmp_path / "failing") as network:
        journal = tmp_path / "failing" / "aggregator" / "journal.sqlite3-wal"
        one, two = network.good()
        with no_file_beyond(journal.stat().st_size), pytest.raises(grpc.aio.AioRpcError) as refusal:
            await network.banks[0].submit(one.messages)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        for bank, upload in zip(network.banks, (one, two), strict=True):
            await bank.submit(upload.messages)
        await until(lambda: network.models, "the round is committed")
        assert network.models == expected
