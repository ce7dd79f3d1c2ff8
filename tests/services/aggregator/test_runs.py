"""A run that is left as it stands, on a real journal and a real disk."""

import asyncio
import errno
import hashlib
import os
import shutil
import threading
from pathlib import Path

import pytest

from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from fedfraud.wire import RoundKey
from services.aggregator import round_drive, runs
from services.aggregator import vectors as vectors_module
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.participants import Participants
from services.aggregator.progress import Progress
from services.aggregator.round_drive import Surroundings, forget
from services.aggregator.runs import Run
from services.aggregator.seats import Seats
from services.aggregator.vectors import Vectors
from services.aggregator.verify import verify
from tests.federation.hands import Pair, aggregator, pair
from tests.federation.waiting import until
from tests.services.aggregator.journals import opened

DEADLINE = 20.0
CLOSED, LARGE = RoundKey("run", 1, 1), bytes(2 << 20)
MANIFEST = Manifest("tutorial", TUTORIAL)


def surroundings(journal: Journal, vectors: Vectors) -> Surroundings:
    seats, log = Seats(), Log("aggregator")
    participants, writer = Participants(seats, journal, log), journal._writer
    return Surroundings(
        MANIFEST,
        None,
        Intake(seats, participants, journal, writer, vectors, DEADLINE, log),
        participants,
        journal,
        writer,
        vectors,
        log,
        DEADLINE,
        keep_contributions=False,
        stage_deadline=DEADLINE,
        federation_id=bytes(32),
        seats=seats,
        preset="",
        central_file=None,
        central_wait=0.0,
    )


async def test_a_process_that_ends_leaves_nothing_of_a_round_whose_files_are_being_taken_away(
    tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, go, usage = threading.Event(), threading.Event(), shutil.disk_usage(tmp_path)

    def slow(_: Path) -> object:
        going.set()
        go.wait(DEADLINE)
        return usage

    monkeypatch.setattr(shutil, "disk_usage", slow)
    with opened(tmp_path) as journal:
        around = surroundings(journal, vectors)
        run = Run(Progress("run", 7, recipe_named("default"), MANIFEST, 10, 3, 5), around)
        driving = asyncio.create_task(run.drive())  # which waits for banks
        vectors.write_contribution(CLOSED, "bank-01", LARGE)
        run._forgetting = asyncio.create_task(forget(around, CLOSED, recycle=True))
        assert await asyncio.to_thread(going.wait, DEADLINE)
        driving.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not driving.done()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await driving
        vectors.forget_spares()  # as the server does once the run is left
    assert not list((tmp_path / "arriving").iterdir())
    assert not vectors.contribution(CLOSED, "bank-01").exists()


async def test_a_file_that_no_bank_fetches_and_that_was_damaged_has_no_part_in_the_next_model(tmp_path: Path) -> None:
    async with pair(tmp_path / "whole", rounds=2) as network:
        for _ in range(3):
            await network.answer()
        expected = network.models
    async with pair(tmp_path / "damaged", rounds=2) as network:
        for _ in range(2):
            await network.answer()
        assert network.instruction.vector
        data_dir, sha256 = network.aggregator.settings.data_dir, network.instruction.model.vector_sha256
        (data_dir / "vectors" / "models" / f"{sha256.hex()}.f32").write_bytes(bytes(len(network.instruction.vector)))
        await network.answer()
        assert network.models == expected


async def test_a_step_whose_momentum_the_disk_did_not_take_at_once_makes_the_same_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "whole", rounds=2, recipe="default") as network:
        for _ in range(3):
            await network.answer()
        expected = network.models
    failures, real = [OSError(errno.EIO, "Input/output error")], os.fsync

    def fails_once(descriptor: int) -> None:
        synced = os.fstat(descriptor)
        if failures and any(os.path.samestat(synced, path.stat()) for path in tmp_path.rglob(".*.velocity.f64.*")):
            raise failures.pop()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails_once)
    async with pair(tmp_path / "failing", rounds=2, recipe="default") as network:
        for _ in range(3):
            await network.answer()
        assert network.models == expected
    assert not failures


class Refusing:
    """A disk that refuses every file whose name ends so, until it `takes` them."""

    def __init__(self, folder: Path, ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.refused, self.takes, self._real = 0, False, os.fsync
        self._folder, self._pattern = folder, f".*{ending}.*"
        monkeypatch.setattr(os, "fsync", self._fsync)

    def _fsync(self, descriptor: int) -> None:
        synced, meant = os.fstat(descriptor), self._folder.rglob(self._pattern)
        if not self.takes and any(os.path.samestat(synced, path.stat()) for path in meant):
            self.refused += 1
            raise OSError(errno.EIO, "Input/output error")
        self._real(descriptor)

    async def has_refused(self) -> None:
        """Twice from now on: whoever writes insists."""
        refused = self.refused
        await until(lambda: self.refused >= refused + 2, "the disk refuses it twice")


def take_all_for_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contributions, sums and models."""
    for module in (round_drive, runs, vectors_module):
        monkeypatch.setattr(module, "MEMORY_BYTES", 0)


async def give(network: Pair) -> None:
    """What the two banks give to the open round."""
    for bank, upload in zip(network.banks, network.good(), strict=True):
        await bank.submit(upload.messages)


async def committed(network: Pair, number: int) -> None:
    """Until the journal has so many rounds."""
    await until(lambda: len(network.models) == number, f"{number} rounds are committed")


@pytest.mark.parametrize(("ending", "rounds"), [(".sum.u64", 3), (".f32", 2)])
async def test_no_round_is_committed_before_its_sum_and_its_model_are_on_disk(
    tmp_path: Path, ending: str, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "whole", rounds=1) as network:
        for _ in range(2):
            await network.answer()
        expected = network.models
    disk = Refusing(tmp_path / "failing", ending, monkeypatch)
    async with pair(tmp_path / "failing", rounds=1) as network:
        data_dir = network.aggregator.settings.data_dir
        for number in range(1, rounds + 1):  # the third is the final one, which makes no model
            disk.takes = False
            await give(network)
            await disk.has_refused()
            assert len(network.models) == number - 1
            disk.takes = True
            await committed(network, number)
            event = network.aggregator.events("round_committed")[-1]
            assert event.sum_sha256 == hashlib.sha256(network.sum_bytes(number)).digest()
            if number < 3:
                network.instruction, _ = [await bank.round() for bank in network.banks]
        assert network.models[:2] == expected
    assert verify(data_dir, None).faults == []


async def test_a_sum_that_the_disk_refused_until_the_stop_is_stored_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "whole") as network:
        await network.answer()
        expected = network.models
    disk = Refusing(tmp_path / "failing", ".sum.u64", monkeypatch)
    async with pair(tmp_path / "failing") as network:
        await give(network)
        await disk.has_refused()
    data_dir = network.aggregator.settings.data_dir
    disk.takes = True
    assert (network.models, list(data_dir.rglob("*.sum.u64*"))) == ([], [])
    assert verify(data_dir, None).faults == []
    async with aggregator(tmp_path / "failing"):  # all had answered: it waits for no bank
        await committed(network, 1)
    assert network.models == expected
    assert verify(data_dir, None).faults == []


@pytest.mark.parametrize("large", [False, True])
async def test_only_a_large_sum_goes_to_disk_before_what_follows_from_it(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if large:
        take_all_for_large(monkeypatch)
    disk = Refusing(tmp_path, ".velocity.f64", monkeypatch)
    async with pair(tmp_path, recipe="default") as network:
        await network.answer()
        await give(network)
        await disk.has_refused()
        sums = [path.name for path in network.aggregator.settings.data_dir.rglob("*.sum.u64")]
        assert sorted(sums) == ["00001-1.sum.u64", *(["00002-1.sum.u64"] if large else [])]
        disk.takes = True
        await committed(network, 2)


@pytest.mark.parametrize("retention_hours", [0.0, 1.0])
@pytest.mark.parametrize("large", [False, True])
async def test_a_sum_in_memory_and_one_in_a_file_make_the_same_model(
    tmp_path: Path, retention_hours: float, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(tmp_path / "usual", rounds=2, recipe="default") as network:
        for _ in range(3):
            await network.answer()
        expected, sums = network.models, [network.sum_bytes(number) for number in (1, 2, 3)]
    if large:
        take_all_for_large(monkeypatch)
    async with pair(tmp_path / "other", rounds=2, recipe="default", retention_hours=retention_hours) as network:
        for _ in range(3):
            await network.answer()
        assert network.models == expected
        assert [network.sum_bytes(number) for number in (1, 2, 3)] == sums
    verified = verify(network.aggregator.settings.data_dir, None)
    assert verified.faults == []
    assert [depth.sum for depth in verified.rounds] == ["recomputed" if retention_hours else "whole"] * 3
