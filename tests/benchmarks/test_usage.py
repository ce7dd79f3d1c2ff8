"""What a command took is measured with all that it started, and nothing of it is left."""

import sys
from pathlib import Path

import pytest

from benchmarks import tutorial
from benchmarks.usage import ALWAYS, used


def test_a_command_is_measured_with_what_it_starts(tmp_path: Path) -> None:
    child = "import time\nwhile time.process_time() < 0.5: pass"
    work = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}]); print('done')"
    found = used([sys.executable, "-c", work], 60.0, tmp_path / "log")
    assert (found.status, found.said) == (0, "done\n")
    assert found.cpu > 0.4  # the child works for 0.5, however long that takes


@pytest.mark.parametrize("looks", [ALWAYS, 1e-9])
def test_memory_is_looked_at_always_or_seldom(tmp_path: Path, looks: float) -> None:
    found = used([sys.executable, "-c", "import time; time.sleep(1.2)"], 60.0, tmp_path / "log", looks=looks)
    assert found.looks == (len(found.samples) if looks == ALWAYS else 1)
    assert found.peak > 0


def test_what_a_command_leaves_running_is_ended(tmp_path: Path) -> None:
    daemon = "subprocess.Popen(['sleep', '600'], start_new_session=True)"
    found = used([sys.executable, "-c", f"import subprocess; print({daemon}.pid)"], 60.0, tmp_path / "log")
    assert found.status == 0
    assert not Path(f"/proc/{int(found.said)}").exists()


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    found = used(["sleep", "600"], 0.1, tmp_path / "log")
    assert found.status is None
    assert tutorial.failed("it", found)["note"] == f"was not done in {found.seconds:.0f} s"
