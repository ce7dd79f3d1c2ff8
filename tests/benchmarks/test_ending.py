"""A benchmark that is told to end: nothing that it started goes on, no folder of it stays, and it says so in a line."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.measuring import processes

ROOT = Path(__file__).parents[2]
DAEMON = "subprocess.Popen(['sleep', '600'], start_new_session=True).pid"
MEASURED = f"""
import os, signal, subprocess, time
signal.signal(signal.SIGINT, lambda *_: print("told", flush=True))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(os.getpid(), {DAEMON}, flush=True)
time.sleep(600)
"""
BENCHMARK = f"""
import sys, tempfile
from pathlib import Path
from benchmarks import ending
from benchmarks.usage import used

def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
        used([sys.executable, "-c", {MEASURED!r}], 600.0, Path(folder) / "log")

ending.run(main)
"""


def until(what: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """A process that ended and that nobody has waited for does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.fixture
def started() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts a command in a group of its own, as a terminal's shell does; ends what a failed test leaves below."""
    there: list[subprocess.Popen[str]] = []

    def start(*command: str) -> "subprocess.Popen[str]":
        there.append(
            subprocess.Popen(
                [sys.executable, *command],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return there[-1]

    yield start
    for process in there:
        for pid in list(processes(process.pid)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


Start = Callable[..., "subprocess.Popen[str]"]


def measuring(started: Start, folder: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    """A benchmark, and the processes that are below it while it measures a command with a daemon."""
    benchmark = started("-c", BENCHMARK, str(folder))
    until(lambda: any(len(log.read_text().split()) == 2 for log in folder.glob("*/log")))
    (log,) = folder.glob("*/log")
    below = [pid for pid in processes(benchmark.pid) if pid != benchmark.pid]
    assert set(map(int, log.read_text().split())) < set(below)  # and the supervisor
    return benchmark, below


@pytest.mark.parametrize(
    ("which", "everybody"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGHUP, True)]
)
def test_what_is_measured_ends_with_a_benchmark_that_is_told_to_end(
    which: signal.Signals, everybody: bool, tmp_path: Path, started: Start
) -> None:
    benchmark, below = measuring(started, tmp_path)
    (os.killpg if everybody else os.kill)(benchmark.pid, which)
    until(lambda: any("told" in log.read_text() for log in tmp_path.glob("*/log")))
    benchmark.send_signal(which)  # as impatient hands do, and `timeout`
    assert benchmark.communicate(timeout=60)[1] == "interrupted\n"
    assert benchmark.returncode == 130
    assert not any(map(runs, below))
    assert list(tmp_path.iterdir()) == []


def test_what_is_measured_ends_when_the_benchmark_is_killed(tmp_path: Path, started: Start) -> None:
    benchmark, below = measuring(started, tmp_path)
    benchmark.kill()
    benchmark.wait()
    until(lambda: not any(map(runs, below)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_a_round_that_is_measured_ends_with_its_benchmark(
    which: signal.Signals, tmp_path: Path, started: Start
) -> None:
    words = ("--banks=2", "--rounds=10000", f"--folder={tmp_path}")
    benchmark = started("benchmarks/many_banks.py", *words)
    until(lambda: any(tmp_path.glob("*/ours/aggregator/vectors/*/00003-*.sum.u64")))
    below = list(processes(benchmark.pid))
    assert len(below) > 1
    os.killpg(benchmark.pid, which)
    assert benchmark.communicate(timeout=60)[1] == "interrupted\n"
    assert benchmark.returncode == 130
    assert not any(map(runs, below))
    assert list(tmp_path.iterdir()) == []


def test_every_benchmark_is_run_so_that_it_ends_cleanly() -> None:
    own = [path for path in (ROOT / "benchmarks").glob("*.py") if "ArgumentParser(description" in path.read_text()]
    assert len(own) > 10
    for path in own:
        assert path.read_text().endswith('\n\nif __name__ == "__main__":\n    ending.run(main)\n'), path.name
