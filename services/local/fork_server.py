"""What the network's processes are forked from on Linux: a server that imports everything once, or torch's part of it
while the launcher forks the others from itself.

This module imports nothing of ours, so that the server can be at its imports while the launcher is at its own.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(32 << 20),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
"""A dozen processes share the cores: numpy's multiplications on a thread for each core wait for one another by
spinning, a third of a run's CPU. Their tables are small: Arrow's own allocator has 2 MB cleared for each. What a round
frees the next one takes again: to have the system clear it anew is a fiftieth of a round (glibc's names). Pages of 2 MB
where the system has them take a hundredth off it (in place of what a shell has in GLIBC_TUNABLES)."""
_FIRST, _LAST = "services.local.quiet", "services.local.preload"
_LIGHT = ("services.aggregator.server", "services.reporter.__main__")
"""What processes without torch import."""


def context() -> BaseContext:
    """Processes forked from a server that has imported everything on Linux; fresh ones elsewhere: slower, same bits."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([_FIRST, *_LIGHT, _LAST])
    return forking


def light_context() -> BaseContext:
    """Processes forked from the caller on Linux, which has one thread and has begun nothing of gRPC's."""
    return multiprocessing.get_context("fork") if sys.platform.startswith("linux") else context()


def begin() -> None:
    """Starts a server of what needs torch, which imports while the caller goes on and forks the others; nothing where
    there is none."""
    forking = context()
    if forking.get_start_method() == "forkserver":
        forking.set_forkserver_preload([_FIRST, _LAST])
        for name, value in ENVIRONMENT.items():
            os.putenv(name, value)
        forkserver.ensure_running()


def end() -> None:
    """Ends the server, once the processes have ended; the next network starts another.

    It is killed: nothing is in it that the interpreter's own end would save, and that end takes seconds.
    """
    server = getattr(forkserver, "_forkserver", None)  # CPython's own, and not promised
    pid = getattr(server, "_forkserver_pid", None)
    if server is None or pid is None or not hasattr(server, "_stop"):
        return
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        server._stop()  # waits for it, and takes its socket off the disk
