"""What a command took, with everything that it started: wall and CPU seconds, and its most memory. Linux.

A process of its own supervises the command: daemons that this detaches become the supervisor's children, so that their
CPU seconds count, and that they can be ended without touching anybody else's. It has a session of its own, so that a
terminal's Ctrl-C does not reach it: whatever ends the caller, the supervisor ends all that is below it.
"""

import ctypes
import json
import os
import resource
import shutil
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

from benchmarks.ending import INTERRUPTED, deaf
from benchmarks.measuring import cpu_seconds, processes, shared_out

_SUBREAPER = 36
"""PR_SET_CHILD_SUBREAPER of prctl(2)."""
_SAMPLE_SECONDS = 0.5
SELDOM, ALWAYS = 0.02, 1.0
"""What share of one core may go into looking at memory. At each sample it would be a fifth of one, with fifteen
processes of torch: what is timed is looked at seldom, and a short peak of its memory is missed."""
_GRACE_SECONDS, _HURRY_SECONDS = 10.0, 1.5
"""That what is told to end may take: by itself, and where somebody waits for it."""


@dataclass(frozen=True)
class Usage:
    """`status` is the exit status, None if the time was up; `peak` is the most MB that was seen, where what processes
    share counts once (PSS); `samples` are times (of time.time) and the CPU seconds spent until then."""

    status: int | None
    seconds: float
    cpu: float
    peak: float
    said: str
    samples: Sequence[tuple[float, float]] = ()
    looks: int = 0
    """How often memory was looked at."""


def used(
    command: Sequence[str],
    limit: float,
    log: Path,
    folder: Path | None = None,
    environment: Mapping[str, str] = {},
    *,
    looks: float = SELDOM,
) -> Usage:
    """Runs a command to its end, or to the limit in seconds. What it leaves running is ended too. The log's folder must
    be the run's own: if this process is killed meanwhile, it is removed. `looks` is SELDOM, or ALWAYS for memory."""
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, __file__, str(os.getpid()), str(limit), str(looks), str(log), *command]
    variables = {**os.environ, **environment}
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=folder, env=variables, start_new_session=True) as process:
        try:
            said, _ = process.communicate()
        except KeyboardInterrupt:
            deaf(signal.SIGINT)
            process.terminate()
            process.wait()  # until nothing is left
            raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return Usage(**json.loads(said), said=log.read_text(errors="replace"))


def _supervise(caller: int, limit: float, looks: float, log: Path, command: Sequence[str]) -> dict[str, Any]:
    told: list[int] = []
    for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(which, lambda number, _: told.append(number))
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    began, most, samples = time.monotonic(), 0.0, []
    next_look, looked = began, 0
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None and time.monotonic() - began < limit and not told and os.getppid() == caller:
            there = [pid for pid in processes(os.getpid()) if pid != os.getpid()]
            samples.append((time.time(), cpu_seconds(there)))
            if time.monotonic() >= next_look:
                began_looking = time.process_time()
                most = max(most, shared_out(there))
                looked += 1
                next_look = time.monotonic() + (time.process_time() - began_looking) * (1 / looks - 1)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SAMPLE_SECONDS)
        status, seconds = process.poll(), time.monotonic() - began
        grace = _HURRY_SECONDS if told or os.getppid() != caller else _GRACE_SECONDS
        if status is None:
            process.send_signal(signal.SIGINT)  # so that it ends its own
            with suppress(subprocess.TimeoutExpired):
                process.wait(grace)
        _end_rest(grace)
    if os.getppid() != caller:
        shutil.rmtree(log.parent, ignore_errors=True)
        told.append(signal.SIGHUP)
    if told:
        sys.exit(INTERRUPTED)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "status": status,
        "seconds": seconds,
        "cpu": spent.ru_utime + spent.ru_stime,
        "peak": most,
        "samples": samples,
        "looks": looked,
    }


def _end_rest(grace: float) -> None:
    """Ends and reaps whatever is left below this process."""
    for which, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _GRACE_SECONDS)):
        deadline = time.monotonic() + seconds
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
    caller, limit, looks, log, *command = sys.argv[1:]
    print(json.dumps(_supervise(int(caller), float(limit), float(looks), Path(log), command)))
