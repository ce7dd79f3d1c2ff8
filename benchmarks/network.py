"""Times the whole network as a user runs it: `python -m services`, from the first process to the report.

    .venv/bin/python benchmarks/network.py --runs 3
    .venv/bin/python benchmarks/network.py --runs 1 -- --banks 100

Prints the machine, then of each run the wall-clock seconds, the CPU seconds and the most memory of all its processes
together (Linux), and the parts. Installation is not in it.
"""

import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

_SAMPLE_SECONDS = 0.5


def processes(pid: int) -> Iterator[int]:
    """The process and all that it started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from processes(int(child))


def memory(pid: int) -> int:
    """Bytes of the process and all that it started; what they share counts once. 0 where the system does not say."""
    total = 0
    for one in processes(pid):
        with suppress(OSError, TypeError):
            total += 1024 * int(re.search(r"^Pss: +(\d+)", Path(f"/proc/{one}/smaps_rollup").read_text(), re.M)[1])  # type: ignore[index]  # of a process that just ended
    return total


def run(arguments: list[str]) -> tuple[float, float, int, str]:
    """Wall-clock and CPU seconds of one network, its most memory in bytes, and how long each part took in its words."""
    began, most, cpu = time.monotonic(), 0, _cpu_seconds()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "services", "--run-dir", f"{folder}/run", "--reports-dir", f"{folder}/reports"]
        with subprocess.Popen([*command, *arguments], stdout=said, stderr=subprocess.STDOUT) as network:
            while network.poll() is None:
                most = max(most, memory(network.pid))
                with suppress(subprocess.TimeoutExpired):
                    network.wait(_SAMPLE_SECONDS)
        seconds = time.monotonic() - began
        said.seek(0)
        text = said.read()
    if network.returncode != 0:
        raise SystemExit(f"the network must finish, it exited {network.returncode}:\n{text}")
    return seconds, _cpu_seconds() - cpu, most, next(line for line in text.splitlines() if line.startswith("time"))


def _cpu_seconds() -> float:
    """Of all that this process started and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parses the command line and prints one line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often")
    parser.add_argument("rest", nargs="*", help="arguments for python -m services, after --")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}")
    for _ in range(arguments.runs):
        seconds, cpu, most, parts = run(arguments.rest)
        print(f"{seconds:6.1f} s   CPU {cpu:.1f} s   {most / 1e9:.2f} GB   {parts.removeprefix('time').strip()}")


if __name__ == "__main__":
    main()
