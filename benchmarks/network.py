"""Times the whole network as a user runs it: `python -m services`, from the first process to the report.

    .venv/bin/python benchmarks/network.py --runs 3

Prints the machine, then the wall-clock seconds and the parts of each run. Installation is not in it.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime


def run(arguments: list[str]) -> tuple[float, str]:
    """Wall-clock seconds of one network, and the line in which it says how long each part took."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        command = [sys.executable, "-m", "services", "--run-dir", f"{folder}/run", "--reports-dir", f"{folder}/reports"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=600)
        seconds = time.monotonic() - began
    if done.returncode != 0:
        raise SystemExit(f"the network must finish, it exited {done.returncode}:\n{done.stdout}{done.stderr}")
    return seconds, next(line for line in done.stdout.splitlines() if line.startswith("time"))


def main() -> None:
    """Parses the command line and prints one line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="how often")
    parser.add_argument("rest", nargs="*", help="arguments for python -m services, after --")
    arguments = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{datetime.now(UTC):%Y-%m-%d}, {machine}")
    for _ in range(arguments.runs):
        seconds, parts = run(arguments.rest)
        print(f"{seconds:6.1f} s   {parts.removeprefix('time').strip()}")


if __name__ == "__main__":
    main()
