"""A run that is left as it stands, on a real journal and a real disk."""

import asyncio
import errno
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
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.participants import Participants
from services.aggregator.progress import Progress
from services.aggregator.round_drive import Surroundings, forget
from services.aggregator.runs import Run
from services.aggregator.seats import Seats
from services.aggregator.vectors import Vectors
from tests.federation.hands import pair
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
