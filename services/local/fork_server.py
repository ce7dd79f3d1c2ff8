"""What the network's processes are forked from on Linux: a server that imports everything once.

This module imports nothing of ours, so that the server can be at its imports while the launcher is at its own.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from multiprocessing.context import BaseContext


def context() -> BaseContext:
    """Processes forked from a server that has imported everything on Linux; fresh ones elsewhere: slower, same bits."""
    if not sys.platform.startswith("linux"):
        return multiprocessing.get_context("spawn")
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["services.local.quiet", "services.local.preload"])
    return forking


def begin() -> None:
    """Starts the server, which imports while the caller goes on; nothing where there is none."""
    if context().get_start_method() == "forkserver":
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
