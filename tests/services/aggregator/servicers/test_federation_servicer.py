"""How GetVector reads a file: at once what is in memory, by another thread what is not, and never less than all."""

import os
from pathlib import Path

import pytest

from services.aggregator.servicers import federation

DATA = bytes(range(256)) * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "vector").write_bytes(DATA)
    return tmp_path / "vector"


def test_what_is_in_memory_is_what_is_in_the_file(path: Path) -> None:
    file, size, first = federation._begun(path, 1000)
    with file:
        assert (size, first) == (len(DATA), DATA[:1000])
        assert federation._read(file, 1000, 5000) == DATA[5000:6000]
        for offset, end in ((1000, 2000), (len(DATA) - 10, len(DATA))):
            at_once = federation._in_memory(file, memoryview(bytearray(1000)), offset)
            assert at_once in (b"", DATA[offset:end])  # nothing: this system cannot tell


def test_another_thread_reads_where_the_system_cannot_tell(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _, _ = federation._begun(path, 1000)
    with file:
        monkeypatch.setattr(federation, "_AT_ONCE", 0)
        assert federation._in_memory(file, memoryview(bytearray(1000)), 1000) == b""
        monkeypatch.setattr(federation, "_AT_ONCE", 1 << 30)  # no flag of any system
        assert federation._in_memory(file, memoryview(bytearray(1000)), 1000) == b""


def test_a_file_that_got_shorter_ends_the_answer_with_an_error(path: Path) -> None:
    file, _, _ = federation._begun(path, 1000)
    with file:
        os.truncate(path, 2000)
        with pytest.raises(EOFError, match="must stay as long as it is"):
            federation._read(file, 1000, 2000)
