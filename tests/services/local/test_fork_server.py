"""What the local processes are forked from: it begins, it ends, and it imports alone."""

import os
import subprocess
import sys
from multiprocessing import forkserver

import pytest

from services.local import fork_server


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked from a server on Linux alone")
def test_the_fork_server_ends_when_it_is_told_to_and_comes_back_with_the_next_process() -> None:
    servers = []
    for _ in range(2):
        fork_server.begin()
        process = fork_server.context().Process(target=os.getpid)  # type: ignore[attr-defined]  # every context has it
        process.start()
        process.join(60)
        assert process.exitcode == 0
        servers.append(getattr(forkserver, "_forkserver")._forkserver_pid)  # noqa: B009  # unknown to the type stubs
        fork_server.end()
        with pytest.raises(ProcessLookupError):
            os.kill(servers[-1], 0)
    assert servers[0] != servers[1]
    fork_server.end()  # none is there: nothing happens


def test_the_launcher_can_begin_it_before_any_import_of_ours() -> None:
    code = "import sys, services.local.fork_server; print(*sorted(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"grpc", "numpy", "pydantic", "torch"} & set(modules)
    ours = {name for name in modules if name.split(".")[0] in ("fedfraud", "services", "simulation")}
    assert ours == {"services", "services.local", "services.local.fork_server"}
