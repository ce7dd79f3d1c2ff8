"""What a command took, with everything that it started: wall and CPU seconds, and its most memory. Linux.

A process of its own supervises the command: daemons that this detaches become the supervisor's children, so that their
CPU seconds count, and that they can be ended without touching anybody else's.
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.measuring import cpu_seconds, processes, shared_out

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_SAMPLE_SECONDS = 0.5
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Usage:
    """`status` is the exit status, None if the time was up; memory counts once what processes share (PSS); `samples`
    are times (of time.time) and the CPU seconds spent until then."""

    status: int | None
    seconds: float
    cpu: float
    peak: float
    said: str
    samples: Sequence[tuple[float, float]] = ()


def used(
    command: Sequence[str], limit: float, log: Path, folder: Path | None = None, environment: Mapping[str, str] = {}
) -> Usage:
    """Runs a command to its end, or to the limit in seconds. What it leaves running is ended too."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, __file__, str(limit), str(log), *command]
    done = subprocess.run(words, stdout=subprocess.PIPE, cwd=folder, env={**os.environ, **environment}, check=True)
    return Usage(**json.loads(done.stdout), said=log.read_text(errors="replace"))


def _supervise(limit: float, log: Path, command: Sequence[str]) -> dict[str, Any]:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    began, most, samples = time.monotonic(), 0.0, []
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None and time.monotonic() - began < limit:
            there = [pid for pid in processes(os.getpid()) if pid != os.getpid()]
            samples.append((time.time(), cpu_seconds(there)))
            most = max(most, shared_out(there))
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_SECONDS)
        status, seconds = process.poll(), time.monotonic() - began
        if status is None:
            process.send_signal(signal.SIGINT)  # so that it ends its own
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
        _end_rest()
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": status,
        "seconds": seconds,
        "cpu": spent.ru_utime + spent.ru_stime,
        "peak": most,
        "samples": samples,
    }


def _end_rest() -> None:
    """Ends and reaps whatever is left below this process."""
    for which in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + _GRACE_SECONDS
        while left := [pid for pid in processes(os.getpid()) if pid != os.getpid()]:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, which)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)


if __name__ == "__main__":
    print(json.dumps(_supervise(float(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])))
