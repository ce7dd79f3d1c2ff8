"""Contributions one behind the other in a file: whole after every fault, and what is durable stays."""

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest

from services.aggregator.gathered import Gathered, read
from tests.full_disk import no_file_beyond
from tests.open_files import held, linux

WORDS = {f"bank-{number:02d}": bytes([number]) * (1000 * number) for number in (1, 2, 3)}


def written(path: Path, *seats: str) -> Gathered:
    gathered = Gathered(path)
    for seat in seats:
        gathered.append(seat, WORDS[seat])
    gathered.sync()
    return gathered


def found(path: Path) -> dict[str, bytes]:
    there = read(path)
    return {seat: there.read(seat) for seat in there.places}


def test_contributions_are_found_by_their_seat(tmp_path: Path) -> None:
    path = tmp_path / "gathered"
    assert found(path) == {}
    gathered = written(path, "bank-02", "bank-01")
    gathered.append("bank-03", bytearray(WORDS["bank-03"]))
    assert found(path) == WORDS


def test_one_that_is_not_there_is_missed_as_a_file_is(tmp_path: Path) -> None:
    written(tmp_path / "gathered", "bank-01")
    with pytest.raises(FileNotFoundError, match=r"No contribution of bank-02: '.*gathered'"):
        read(tmp_path / "gathered").read("bank-02")


def test_of_one_seat_the_last_counts(tmp_path: Path) -> None:
    gathered = written(tmp_path / "gathered", "bank-01", "bank-02")
    gathered.append("bank-01", b"again")
    assert found(tmp_path / "gathered") == {"bank-01": b"again", "bank-02": WORDS["bank-02"]}


def test_what_a_killed_process_wrote_in_part_is_no_contribution_and_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "gathered"
    written(path, "bank-01", "bank-02")
    whole, keeps = path.read_bytes(), len(WORDS["bank-01"]) + len("bank-01") + 6
    for length in (*range(keeps, len(whole), 97), len(whole) - 1):
        path.write_bytes(whole[:length])
        assert found(path) == {"bank-01": WORDS["bank-01"]}
        written(path, "bank-03")
        assert found(path) == {seat: WORDS[seat] for seat in ("bank-01", "bank-03")}


@pytest.mark.parametrize("tail", [bytes(4096), bytes([255]) * 4096, b"\x02\x00\x01\x00\x00\x00\xff\xfe1"])
def test_bytes_at_the_end_that_say_nothing_are_written_over(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "gathered"
    written(path, "bank-01")
    with path.open("ab") as file:
        file.write(tail)
    assert found(path) == {"bank-01": WORDS["bank-01"]}
    written(path, "bank-02")
    assert found(path) == {seat: WORDS[seat] for seat in ("bank-01", "bank-02")}


def test_what_a_full_disk_took_in_part_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "gathered"
    gathered = written(path, "bank-01")
    whole = path.read_bytes()
    with pytest.raises(OSError, match="File too large"), no_file_beyond(path.stat().st_size + 500):
        gathered.append("bank-02", WORDS["bank-02"])
    assert path.read_bytes() == whole, "a journal on the same disk needs the room"
    assert found(path) == {"bank-01": WORDS["bank-01"]}
    gathered.append("bank-03", WORDS["bank-03"])
    assert found(path) == {seat: WORDS[seat] for seat in ("bank-01", "bank-03")}


@linux
def test_of_what_a_full_disk_did_not_take_whole_nothing_is_held(tmp_path: Path) -> None:
    gathered = Gathered(tmp_path / "gathered")
    with pytest.raises(OSError, match="File too large"), no_file_beyond(500):
        gathered.append("bank-01", WORDS["bank-01"])
    assert not (tmp_path / "gathered").exists()
    assert held(tmp_path) == [], "a round's end on the same disk needs the room"
    gathered.append("bank-02", WORDS["bank-02"])
    gathered.sync()
    assert found(tmp_path / "gathered") == {"bank-02": WORDS["bank-02"]}


def test_what_a_failed_sync_left_open_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gathered"
    gathered = written(path, "bank-01")
    durable = path.stat().st_size
    gathered.append("bank-02", WORDS["bank-02"])

    def fails(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output error"):
            gathered.sync()
    assert path.stat().st_size == durable, "a next process would take it for written"
    gathered.append("bank-03", WORDS["bank-03"])
    gathered.sync()
    assert read(path).places["bank-03"].start < durable + 20, "over the pages that the disk may not have"
    assert found(path) == {seat: WORDS[seat] for seat in ("bank-01", "bank-03")}


def test_the_first_sync_makes_its_name_durable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = list[int](), os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    path = tmp_path / "gathered"
    gathered = written(path, "bank-01", "bank-02")
    file, folder = path.stat().st_ino, tmp_path.stat().st_ino
    assert synced == [file, folder]
    gathered.append("bank-03", WORDS["bank-03"])
    gathered.sync()
    assert synced == [file, folder, file]
    written(path, "bank-01")
    assert synced == [file, folder, file, file, folder], "a former process may have been killed before that"


@pytest.mark.parametrize("fails_at", [stat.S_IFREG, stat.S_IFDIR], ids=["bytes", "name"])
def test_a_file_of_which_nothing_is_durable_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    path, real = tmp_path / "gathered", os.fsync

    def fails(descriptor: int) -> None:
        if stat.S_IFMT(os.fstat(descriptor).st_mode) == fails_at:
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="Input/output error"):
            gathered = written(path, "bank-01", "bank-02")
        assert not path.exists(), "the next sync of the folder would say that its name is durable"
    gathered = written(path, "bank-03")
    gathered.append("bank-01", WORDS["bank-01"])
    assert found(path) == {seat: WORDS[seat] for seat in ("bank-01", "bank-03")}


@pytest.mark.parametrize("restarted", [False, True])
def test_what_comes_again_is_written_over_what_did_not_count(tmp_path: Path, restarted: bool) -> None:
    path = tmp_path / "gathered"
    gathered = written(path, "bank-01", "bank-02", "bank-03")
    size = path.stat().st_size
    if restarted:
        gathered = Gathered(path)
    again = bytes([9]) * len(WORDS["bank-02"])
    for words in (WORDS["bank-02"], again):
        gathered.append("bank-02", words)
        gathered.sync()
    assert path.stat().st_size == size
    assert found(path) == WORDS | {"bank-02": again}
    gathered.append("bank-04", b"next")
    assert found(path) == WORDS | {"bank-02": again, "bank-04": b"next"}


def test_nothing_comes_behind_what_a_former_process_did_not_get_onto_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "gathered"
    written(path, "bank-01")
    durable = path.stat().st_size
    Gathered(path).append("bank-02", WORDS["bank-02"])  # and is killed while the disk refuses it
    read(path).cut_behind(["bank-01"])
    written(path, "bank-03")
    assert read(path).places["bank-03"].start < durable + 20
    read(path).cut_behind([])
    assert not path.exists()
    read(path).cut_behind([])


def test_a_file_that_was_taken_away_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "gathered"
    gathered = written(path, "bank-01", "bank-02")
    path.unlink()
    gathered.append("bank-03", WORDS["bank-03"])
    gathered.sync()
    assert found(path) == {"bank-03": WORDS["bank-03"]}


def test_one_that_went_before_it_was_on_disk_is_missed_and_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "round" / "gathered"
    gathered = written(path, "bank-01")
    gathered.append("bank-02", WORDS["bank-02"])
    shutil.rmtree(path.parent)
    with pytest.raises(FileNotFoundError, match=r"It went before it was on disk: '.*gathered'"):
        gathered.sync()
    gathered.append("bank-02", WORDS["bank-02"])
    gathered.sync()
    assert found(path) == {"bank-02": WORDS["bank-02"]}


def test_closed_twice_it_is_opened_again_and_what_it_has_stays(tmp_path: Path) -> None:
    gathered = written(tmp_path / "gathered", "bank-01")
    gathered.close()
    gathered.close()
    gathered.append("bank-02", WORDS["bank-02"])
    gathered.sync()
    assert found(tmp_path / "gathered") == {seat: WORDS[seat] for seat in ("bank-01", "bank-02")}
