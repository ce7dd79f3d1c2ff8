"""strace on one thread: counts its system calls, kills at one of them, or lets one fail as a bad disk would."""

import contextlib
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.federation.waiting import wait_for

_ATTACH_SECONDS = 20.0
_QUIET_SECONDS = 3.0
_CALL = re.compile(r"^(\w+)\(", re.MULTILINE)


class CannotTrace(Exception):
    """The machine does not let us; the message says what it lacks."""


class Tracer:
    """A strace that is attached to a thread, until `detach` or the end of the process."""

    def __init__(self, process: "subprocess.Popen[bytes]", record: Path) -> None:
        self._process = process
        self._record = record

    def calls(self) -> list[str]:
        """The names of the calls up to now, in order."""
        return _CALL.findall(self._record.read_text())

    def injected(self) -> int:
        """How many calls were made to fail up to now."""
        return self._record.read_text().count("(INJECTED)")

    def detach(self) -> None:
        """Lets the thread go on as if nothing had watched it."""
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(_ATTACH_SECONDS)

    def end(self) -> None:
        """After the process was killed in a call that was slowed: strace 6.1 waits for that call, and not for us."""
        self._process.kill()
        self._process.wait(_ATTACH_SECONDS)


class Quiet:
    """Whether a thread has made no call for so long that it has nothing left to do."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._seen, self._since = len(tracer.calls()), time.monotonic()

    def __call__(self) -> bool:
        if (count := len(self._tracer.calls())) != self._seen:
            self._seen, self._since = count, time.monotonic()
        return time.monotonic() - self._since > _QUIET_SECONDS


def threads(pid: int) -> dict[str, int]:
    """The ids of a process's threads by their names."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            found[(task / "comm").read_text().strip()] = int(task.name)
    return found


def writer_thread(pid: int) -> int:
    """The thread of an aggregator that makes things durable."""
    return wait_for(lambda: threads(pid).get("writer", 0), f"process {pid} has a thread named writer")


@contextlib.contextmanager
def attached(
    thread: int, calls: tuple[str, ...], record: Path, inject: str = "", *, every_thread: bool = False
) -> Iterator[Tracer]:
    """Watches these calls of this thread alone, or of `every_thread` of the process whose first it is; `inject` is what
    strace is to do: `fsync:signal=KILL:when=3`.

    Every call that the thread begins from here on is seen. Raises CannotTrace.
    """
    if not shutil.which("strace"):
        raise CannotTrace("strace")
    command = ["strace", "-o", str(record), "-s", "0", "-e", f"trace={','.join(calls)}", "-p", str(thread)]
    command += ["-f"] if every_thread else []
    process = subprocess.Popen([*command, *(["-e", f"inject={inject}"] if inject else [])], stderr=subprocess.PIPE)
    tracer = Tracer(process, record)
    try:
        said = _first_line(process)
        if "attached" not in said:  # it says so once the thread is being stopped for it
            raise CannotTrace(f"the right to trace a process ({said.strip()})")
        yield tracer
    finally:
        tracer.detach()
        assert process.stderr is not None
        process.stderr.close()


def under_strace(calls: tuple[str, ...], record: Path, inject: str = "") -> list[str]:
    """What to put before a command so that it and its threads are watched from their first call. Raises CannotTrace.

    `inject` counts the calls of each thread by themselves. The exit status is the command's.
    """
    if not shutil.which("strace"):
        raise CannotTrace("strace")
    options = ["-f", "-qq", "-o", str(record), "-s", "0", "-e", f"trace={','.join(calls)}"]
    if ":signal=" not in inject:
        options.append("--seccomp-bpf")  # faster, but the kernel takes no signal at the stops that it makes
    return ["strace", *options, *(["-e", f"inject={inject}"] if inject else [])]


def _first_line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stderr, selectors.EVENT_READ)
        deadline = time.monotonic() + _ATTACH_SECONDS
        assert selector.select(deadline - time.monotonic()), f"strace attaches within {_ATTACH_SECONDS:g} seconds"
    return process.stderr.readline().decode()
