"""Vectors on disk: under their hash or their round, whole, and gone when they are to be."""

import errno
import hashlib
import os
import shutil
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fedfraud.errors import NotFound
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout, train_codec
from fedfraud.manifest import Manifest
from fedfraud.packing import Packing
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from fedfraud.wire import RoundKey
from services.aggregator import gathered
from services.aggregator import vectors as vectors_module
from services.aggregator.memory import MEMORY_BYTES
from services.aggregator.vectors import Vectors
from tests.full_disk import no_file_beyond
from tests.open_files import held, linux

KEY = RoundKey("run", 2, 1)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_model_is_found_by_its_hash_and_stored_once(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    sha256 = vectors.write_model(b"four")
    assert sha256 == vectors.write_model(b"four") == hashlib.sha256(b"four").digest()
    assert vectors.read_model(sha256) == b"four"
    assert files(tmp_path) == [f"models/{sha256.hex()}.f32"]


@pytest.mark.parametrize("sha256", [b"", bytes(31), bytes(32), bytes(33), bytes(4000), b"../../../../etc/passwd"])
def test_a_hash_that_no_model_has_is_not_found(tmp_path: Path, sha256: bytes) -> None:
    with pytest.raises(NotFound, match=r"^a vector must "):
        Vectors(tmp_path).read_model(sha256)


def test_counters_are_found_by_their_hash_beside_the_models(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    model, counters = vectors.write_model(b"four"), vectors.write_counters(b"eight by")
    assert counters == vectors.write_counters(b"eight by") == hashlib.sha256(b"eight by").digest()
    assert (vectors.find(model).read_bytes(), vectors.find(counters).read_bytes()) == (b"four", b"eight by")
    vectors.remove_but({counters})
    assert files(tmp_path) == [f"counters/{counters.hex()}.u64"]
    vectors.remove_but(set())
    assert files(tmp_path) == []


def test_contributions_go_and_the_sum_stays(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    for seat in ("bank-01", "bank-02"):
        vectors.write_contribution(KEY, seat, seat.encode())
    assert vectors.contributions(KEY)("bank-02") == b"bank-02"
    assert vectors.write_sum(KEY, b"sum") == hashlib.sha256(b"sum").digest()
    assert files(tmp_path) == ["run/00002-1.sum.u64", "run/00002-1/bank-01.u64", "run/00002-1/bank-02.u64"]
    vectors.remove_contributions(KEY)
    vectors.remove_contributions(KEY)
    assert files(tmp_path) == ["run/00002-1.sum.u64"]


def test_attempts_and_rounds_are_kept_apart(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    for key in (KEY, RoundKey("run", 2, 2), RoundKey("run", 3, 1), RoundKey("other", 2, 1)):
        vectors.write_contribution(key, "bank-01", str(key).encode())
    vectors.remove_contributions(KEY)
    assert len(files(tmp_path)) == 3
    assert vectors.contributions(RoundKey("run", 2, 2))("bank-01") == b"run/2/2"


@pytest.mark.parametrize("long", [False, True], ids=["small", "one that is large"])
def test_contributions_that_are_not_kept_are_in_one_file_unless_they_are_large(tmp_path: Path, long: bool) -> None:
    vectors, words = Vectors(tmp_path, gather=True), {seat: seat.encode() * 3 for seat in ("bank-01", "bank-02")}
    if long:
        words = {seat: bytes(MEMORY_BYTES + 8) for seat in words}
    for seat, data in words.items():
        vectors.write_contribution(KEY, seat, data).sync()
    assert files(tmp_path) == ([f"run/00002-1/{seat}.u64" for seat in words] if long else ["run/00002-1/gathered"])
    assert {seat: vectors.contributions(KEY)(seat) for seat in words} == words
    with pytest.raises(FileNotFoundError, match=r"bank-03\.u64"):
        vectors.contributions(KEY)("bank-03")
    vectors.recycle_contributions(KEY)
    assert not vectors.contribution(KEY, "bank-01").parent.exists()


@pytest.mark.parametrize("gather", [False, True])
def test_small_contributions_are_added_wherever_they_are_and_nothing_is_written(tmp_path: Path, gather: bool) -> None:
    manifest = Manifest("tutorial", TUTORIAL, (1,))
    layout = Layout((Segment.EVALUATE, Segment.TRAIN), manifest, recipe_named("default"))
    packing, codec, expected = Packing(layout), train_codec(manifest, recipe_named("default")), []
    vectors, draws = Vectors(tmp_path, gather=gather), np.random.default_rng(7)
    for seat, weight in (("bank-01", 3), ("bank-02", 2**20), ("bank-03", 5)):
        update = codec.encode(draws.normal(0, 3, manifest.parameter_count).astype(np.float32), weight)
        expected.append(np.concatenate([draws.integers(0, 9, 2 * 8192).astype(np.uint64), update]))
        vectors.write_contribution(KEY, seat, packing.pack(expected[-1])).sync()
    there = files(tmp_path)
    assert (vectors.added(KEY, ["bank-01", "bank-02"], packing) == expected[0] + expected[1]).all()
    assert files(tmp_path) == there


def test_contributions_in_one_file_are_looked_for_once_and_not_once_a_bank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, looked, real = Vectors(tmp_path, gather=True), list[Path](), gathered.read
    for seat in ("bank-01", "bank-02"):
        vectors.write_contribution(KEY, seat, seat.encode())

    def noted(path: Path) -> gathered.Reader:
        looked.append(path)
        return real(path)

    monkeypatch.setattr(gathered, "read", noted)
    stored = vectors.contributions(KEY)
    assert [stored(seat) for seat in ("bank-01", "bank-02")] == [b"bank-01", b"bank-02"]
    assert looked == [vectors.gathered(KEY)]


@linux
@pytest.mark.parametrize("how", ["removed", "recycled", "swept"])
def test_the_disk_gets_back_what_is_forgotten_at_once(tmp_path: Path, how: str) -> None:
    vectors = Vectors(tmp_path, gather=True)
    vectors.write_contribution(KEY, "bank-01", b"counts").sync()
    assert held(tmp_path) == [str(vectors.gathered(KEY))]
    match how:
        case "removed":
            vectors.remove_contributions(KEY)
        case "recycled":
            vectors.recycle_contributions(KEY)
        case _:
            vectors.sweep(0.0, None)
    assert not vectors.gathered(KEY).exists()
    assert held(tmp_path) == []


@linux
def test_a_file_of_one_round_is_closed_when_the_next_has_its_own(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path, gather=True)
    for key in (KEY, replace(KEY, round=KEY.round + 1)):
        vectors.write_contribution(key, "bank-01", b"counts").sync()
        assert held(tmp_path) == [str(vectors.gathered(key))]


@pytest.mark.parametrize("gather", [False, True])
def test_a_round_is_stored_on_as_it_began_whatever_a_restart_says(tmp_path: Path, gather: bool) -> None:
    Vectors(tmp_path, gather=gather).write_contribution(KEY, "bank-01", b"before").sync()
    vectors, there = Vectors(tmp_path, gather=not gather), len(files(tmp_path))
    vectors.write_contribution(KEY, "bank-02", b"after").sync()
    assert len(files(tmp_path)) == there + (not gather)
    assert [vectors.contributions(KEY)(seat) for seat in ("bank-01", "bank-02")] == [b"before", b"after"]
    vectors.write_contribution(RoundKey("run", 3, 1), "bank-01", b"next").sync()
    assert vectors.gathered(RoundKey("run", 3, 1)).exists() != gather


def test_a_sweep_forgets_contributions_whose_time_is_over_but_not_the_open_rounds(tmp_path: Path) -> None:
    vectors, open_key = Vectors(tmp_path), RoundKey("run", 3, 1)
    for key in (KEY, open_key):
        vectors.write_contribution(key, "bank-01", b"given")
        vectors.write_sum(key, b"sum")
    vectors.sweep(3600.0, open_key)
    assert len(files(tmp_path)) == 4
    vectors.sweep(0.0, open_key)
    assert files(tmp_path) == ["run/00002-1.sum.u64", "run/00003-1.sum.u64", "run/00003-1/bank-01.u64"]


def test_a_sweep_that_meets_a_round_which_is_just_being_taken_away_fails_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    vectors.write_contribution(KEY, "bank-01", b"given")

    def taken_away_meanwhile() -> float:
        vectors.remove_contributions(KEY)
        return time.time()

    monkeypatch.setattr(vectors_module, "time", SimpleNamespace(time=taken_away_meanwhile))
    vectors.sweep(0.0, None)
    assert not vectors.contribution(KEY, "bank-01").parent.exists()


def test_a_round_that_a_sweep_takes_away_first_leaves_no_spare_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    vectors.write_contribution(KEY, "bank-01", bytes(2 << 20))

    def swept_meanwhile(_: Path) -> SimpleNamespace:
        vectors.sweep(0.0, None)
        return SimpleNamespace(free=1 << 40)

    monkeypatch.setattr(shutil, "disk_usage", swept_meanwhile)
    vectors.recycle_contributions(KEY)
    assert files(tmp_path) == []


def test_what_was_half_written_when_a_process_was_killed_is_gone_at_the_next_start(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.write_contribution(KEY, "bank-01", b"whole")
    (tmp_path / "run" / "00002-1" / ".bank-02.u64.4711").write_bytes(b"ha")
    vectors.prepare()
    assert files(tmp_path) == ["run/00002-1/bank-01.u64"]


def test_a_file_that_is_let_go_stays_as_it_is_and_one_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    there, gone = tmp_path / "there", tmp_path / "gone"
    there.write_bytes(b"four")
    Vectors(tmp_path).let_go([gone, there])
    assert there.read_bytes() == b"four"
    assert not gone.exists()


def test_a_full_disk_is_told_once_no_other_thread_makes_pieces_for_it_any_more(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()

    def pieces() -> Iterator[memoryview]:
        yield memoryview(bytes(1 << 20))
        time.sleep(0.2)
        yield memoryview(bytes(1 << 20))

    with no_file_beyond(1000), pytest.raises(OSError, match="File too large"):
        vectors.write_velocity(KEY, pieces())
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("pieces")] == []
    assert files(tmp_path) == []


def test_a_model_whose_name_the_disk_did_not_take_is_named_durably_by_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, synced, real = Vectors(tmp_path), set[int](), os.fsync
    vectors.prepare()

    def fails(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="Input/output error"):
        vectors.write_model(b"model")
    monkeypatch.setattr(os, "fsync", noted)
    sha256 = vectors.write_model(b"model")
    assert (tmp_path / "models").stat().st_ino in synced
    assert vectors.read_model(sha256) == b"model"


def test_a_start_makes_the_names_of_folders_durable_that_a_killed_process_may_just_have_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors, synced, real = Vectors(tmp_path), set[int](), os.fsync
    vectors.prepare()
    vectors.write_contribution(KEY, "bank-01", b"given")

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    vectors.prepare()
    assert synced >= {folder.stat().st_ino for folder in (tmp_path, tmp_path / "run")}
