"""What the local processes are forked from, and how they log."""

import os
import sys
from multiprocessing import forkserver

import pytest

from services.local.processes import context, end_fork_server


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked from a server on Linux alone")
def test_the_fork_server_ends_when_it_is_told_to_and_comes_back_with_the_next_process() -> None:
    servers = []
    for _ in range(2):
        process = context().Process(target=os.getpid)  # type: ignore[attr-defined]  # every context has it
        process.start()
        process.join(60)
        assert process.exitcode == 0
        servers.append(getattr(forkserver, "_forkserver")._forkserver_pid)  # noqa: B009  # unknown to the type stubs
        end_fork_server()
        with pytest.raises(ProcessLookupError):
            os.kill(servers[-1], 0)
    assert servers[0] != servers[1]
    end_fork_server()  # none is there: nothing happens
