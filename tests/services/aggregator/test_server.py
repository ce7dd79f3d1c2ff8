"""An aggregator's start: alone on its folder, on addresses that are free, or not at all."""

import asyncio
import errno
import os
import time
from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from services.aggregator import server
from services.aggregator.journal import Journal, Stored, _Queued
from services.aggregator.server import serve
from services.aggregator.settings import Settings
from tests.federation.hands import DEADLINE, aggregator, pair
from tests.federation.waiting import until


async def test_a_second_aggregator_on_the_folder_refuses_to_start_and_the_first_goes_on(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        with pytest.raises(
            Misconfigured, match=r"^DATA_DIR must be a folder of this aggregator alone, another runs on "
        ):
            await serve(running.settings, asyncio.Event())
        assert (await running.enrol())[0].seat == "bank-01"
    async with aggregator(tmp_path) as again:  # when the first is gone its folder is free
        assert (await again.enrol())[0].seat == "bank-02"


@pytest.mark.parametrize("lost", ["the journal", "all that was not yet moved into it"])
async def test_a_folder_that_lost_its_journal_is_not_taken_for_a_new_one(tmp_path: Path, lost: str) -> None:
    async with aggregator(tmp_path) as running:
        await running.enrol()
        settings = running.settings
    journal = settings.data_dir / "journal.sqlite3"
    kept = journal.read_bytes()
    if lost == "the journal":
        journal.unlink()
    else:  # what an aggregator that was killed at once leaves without its -wal file
        journal.write_bytes(b"")
        journal.with_name("journal.sqlite3-wal").write_bytes(b"what may still be of use")
    for _ in range(2):
        with pytest.raises(
            Misconfigured, match=r"^a network that has begun must have its journal, .* is gone or empty"
        ):
            await serve(settings, asyncio.Event())
    wal = journal.with_name("journal.sqlite3-wal")
    assert lost == "the journal" or wal.read_bytes() == b"what may still be of use"
    wal.unlink(missing_ok=True)
    journal.write_bytes(kept)
    async with aggregator(tmp_path) as again:
        assert (await again.enrol())[0].seat == "bank-02"


async def test_a_model_that_no_entry_names_is_gone_after_a_start_and_the_named_ones_stay(tmp_path: Path) -> None:
    async with pair(tmp_path, rounds=1) as network:
        await network.answer()
        models = tmp_path / "aggregator" / "vectors" / "models"
        named = {path.name for path in models.iterdir()}
    (models / f"{'ab' * 32}.f32").write_bytes(b"of a round that was committed otherwise")
    async with aggregator(tmp_path, expected_banks=2, quorum=2):
        assert {path.name for path in models.iterdir()} == named


async def test_a_start_makes_durable_the_names_that_a_former_one_may_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with aggregator(tmp_path) as running:
        data = running.settings.data_dir
    synced, real = set[int](), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    async with aggregator(tmp_path):
        assert synced >= {folder.stat().st_ino for folder in (data, data / "authority", data / "vectors")}


async def test_it_ends_after_the_calls_whose_callers_went_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Journal._store

    def slow(journal: Journal, batch: list[_Queued]) -> list[Stored]:
        time.sleep(0.3)  # a disk that needs longer than the server to stop
        return real(journal, batch)

    async with aggregator(tmp_path) as running, running.bank() as bank:
        await bank.join()
        monkeypatch.setattr(Journal, "_store", slow)
        bank.call.cancel()
    handled = [task.get_coro() for task in asyncio.all_tasks() if "HandleExceptions" in task.get_name()]
    assert not handled, "gRPC logs an error for each that the end of the event loop cancels"
    assert [event.seat for event in running.events("seat_absent")] == ["bank-01"]


async def test_a_first_start_makes_the_name_of_its_folder_durable_and_those_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = set[int](), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    data = tmp_path / "networks" / "first"
    async with aggregator(tmp_path, data_dir=data):
        assert synced >= {folder.stat().st_ino for folder in (tmp_path, data.parent)}
        assert data.stat().st_mode & 0o777 == 0o700


async def test_it_ends_after_the_calls_that_insist_on_a_disk_which_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def fails(journal: Journal, _: list[_Queued]) -> list[Stored]:
        tried.append(journal)
        raise OSError(errno.EIO, "Input/output error")

    async with aggregator(tmp_path) as running, running.bank() as bank:
        await bank.join()
        await bank.renew()  # a call that is over before the other one
        monkeypatch.setattr(Journal, "_store", fails)
        monkeypatch.setattr(server, "_LAST_CALLS_SECONDS", 3 * DEADLINE)  # nobody waits for so long
        bank.call.cancel()
        await until(lambda: tried, "the absence of the seat is to be journalled")
    handled = [task.get_coro() for task in asyncio.all_tasks() if "HandleExceptions" in task.get_name()]
    assert not handled, "they see that the writer is closed"
    assert not running.events("seat_absent")


async def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    async with aggregator(tmp_path / "one") as running:
        home = tmp_path / "two"
        settings = Settings(
            data_dir=home, join_dir=home / "join", listen=running.address, enrolment_listen="127.0.0.1:0"
        )
        sentence = f"^LISTEN and ENROLMENT_LISTEN must be free addresses, got {running.address}, 127.0.0.1:0$"
        with pytest.raises(Misconfigured, match=sentence):
            await serve(settings, asyncio.Event())


async def test_a_hold_out_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holdout.npz").write_bytes(b"no arrays")
    settings = Settings(data_dir=tmp_path / "data", join_dir=tmp_path, holdout_file=tmp_path / "holdout.npz")
    with pytest.raises(Misconfigured, match=r"^HOLDOUT_FILE must be an \.npz of features and labels: "):
        await serve(settings, asyncio.Event())
