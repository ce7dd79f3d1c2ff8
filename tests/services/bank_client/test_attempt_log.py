"""A bank's attempt on its disk: one line more a stage, and what a kill or a full disk leaves of it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fedfraud import stored
from fedfraud.errors import Invalid
from fedfraud.masking import Advertisement
from fedfraud.masking_bank import BankState
from services.bank_client.attempt_log import FILE, AttemptLog
from tests.fedfraud.masked_round import parameters_of, roster_of

BEGUN = BankState("bank-01", bytes(32), (bytes(32),), bytes(32), parameters_of(4), roster_of(4))
ADVERTISED = replace(BEGUN, advertisements=(Advertisement("bank-01", bytes(32), bytes(32), bytes(32)),))
MASKED = replace(ADVERTISED, shared=("bank-01", "bank-02"), words_sha256=b"\1" * 32)
CONSENTED = replace(MASKED, survivors=("bank-01", "bank-02"))
STAGES = (BEGUN, ADVERTISED, MASKED, CONSENTED)


def test_each_stage_adds_a_line_with_what_is_new_and_every_start_reads_the_whole(tmp_path: Path) -> None:
    log, path, size = AttemptLog(tmp_path), tmp_path / FILE, 0
    for lines, state in enumerate(STAGES, 1):
        log.keep(state)
        log.keep(state)  # asked the same again
        data = path.read_bytes()
        assert data.count(b"\n") == lines
        assert AttemptLog(tmp_path).read() == state
        if lines > 1:
            assert len(data) - size < len(data) / 2, "the parameters and the roster are written once"
        size = len(data)
    assert path.stat().st_mode & 0o777 == 0o600


def test_who_wrote_an_attempt_knows_it_without_the_file_until_that_is_another(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path)
    for state in STAGES:
        log.keep(state)
        assert log.read() is state
    AttemptLog(tmp_path).keep(BEGUN)  # as a whole, in place of four lines
    assert log.read() == BEGUN
    log.keep(ADVERTISED)
    assert AttemptLog(tmp_path).read() == ADVERTISED
    log.erase()
    assert log.read() is None


def test_a_process_that_comes_back_writes_anew_what_it_found_and_goes_on(tmp_path: Path) -> None:
    for state in STAGES:
        log = AttemptLog(tmp_path)
        log.read()
        log.keep(state)
        assert (tmp_path / FILE).read_bytes().count(b"\n") == 1
    assert AttemptLog(tmp_path).read() == CONSENTED


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_what_was_found_is_synced_before_it_is_answered_whoever_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: int
) -> None:
    log = AttemptLog(tmp_path)
    for state in STAGES[:stages]:
        log.keep(state)
    again = AttemptLog(tmp_path)
    assert again.read() == STAGES[stages - 1]

    def fails(_: int) -> None:
        raise OSError("never on disk")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        for _ in range(2):  # and again, when nothing has changed since
            with pytest.raises(OSError, match="never on disk"):
                again.keep(STAGES[stages - 1])
    again.keep(STAGES[stages - 1])
    assert AttemptLog(tmp_path).read() == STAGES[stages - 1]


def test_an_attempt_of_a_version_that_wrote_no_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(stored.to_bytes(MASKED))
    assert AttemptLog(tmp_path).read() == MASKED


def test_the_former_attempt_stays_until_the_disk_has_the_next_and_what_was_half_written_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AttemptLog(tmp_path)
    log.keep(MASKED)

    def fails(_: int) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match="no space"):
            log.keep(replace(BEGUN, seed=b"\2" * 32))
    assert AttemptLog(tmp_path).read() == MASKED
    torn = tmp_path / f".{FILE}.4711"
    torn.write_bytes(b"a secret")
    AttemptLog(tmp_path)
    assert not torn.exists()


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_whatever_is_cut_off_of_the_last_line_leaves_what_was_before(tmp_path: Path, stages: int) -> None:
    log, sizes = AttemptLog(tmp_path), [0]
    for state in STAGES[:stages]:
        log.keep(state)
        sizes.append((tmp_path / FILE).stat().st_size)
    data = (tmp_path / FILE).read_bytes()
    for size in range(sizes[-2], sizes[-1]):  # the first line is there as a whole or not at all
        (tmp_path / FILE).write_bytes(data[:size])
        again = AttemptLog(tmp_path)
        assert again.read() == STAGES[stages - 2]
    again.keep(STAGES[stages - 1])
    assert AttemptLog(tmp_path).read() == STAGES[stages - 1]


def test_another_attempt_takes_the_place_of_the_former(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path)
    for state in STAGES:
        log.keep(state)
    other = replace(BEGUN, seed=b"\2" * 32)
    log.keep(other)
    assert AttemptLog(tmp_path).read() == other
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 1


def test_an_attempt_that_went_back_a_stage_is_written_as_it_is(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path)
    for state in STAGES:
        log.keep(state)
    log.keep(ADVERTISED)
    assert AttemptLog(tmp_path).read() == ADVERTISED
    log.erase()
    assert AttemptLog(tmp_path).read() is None
    log.erase()


def test_a_line_that_the_disk_did_not_take_is_written_when_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AttemptLog(tmp_path)
    log.keep(BEGUN)

    def fails(_: int) -> None:
        raise OSError("no space")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)  # the line is in the file, perhaps, and nobody may count on it
        with pytest.raises(OSError, match="no space"):
            log.keep(ADVERTISED)
    log.keep(ADVERTISED)  # as a whole
    log.keep(MASKED)
    assert AttemptLog(tmp_path).read() == MASKED
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("line", [b"{}", b"", b"no JSON", b"[]"])
def test_a_damaged_line_is_refused(tmp_path: Path, line: bytes) -> None:
    log = AttemptLog(tmp_path)
    log.keep(BEGUN)
    with (tmp_path / FILE).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(Invalid, match=r"^stored bytes must be version 1 of a Step"):
        AttemptLog(tmp_path).read()
