"""Starts a network in containers, and takes all of it away again, whatever happened."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.compose.network import BANKS, HOST_GROUP, HOST_USER, ROUNDS, SEED, Network, docker, execute, until
from tests.conftest import say_lacking
from tests.federation.oracle import model_sha256


@contextmanager
def running(banks: int, **settings: str) -> Iterator[Network]:
    """Aggregator, banks and reporter, enrolled and on their first run; `settings` go before every command."""
    for command, name in (("info", "a running Docker engine"), ("compose version", "Docker Compose v2")):
        if not shutil.which("docker") or subprocess.run(["docker", *command.split()], capture_output=True).returncode:
            say_lacking(name)
    folder = Path(tempfile.mkdtemp(prefix="fedfraud-"))
    network = Network(f"fedfraud-test-{secrets.token_hex(3)}", folder / "reports", folder / "key", settings)
    try:
        folder.chmod(0o755)
        network.reports.mkdir(mode=0o755)
        network.key_file.write_text(f"sk-canary-{secrets.token_hex(16)}")
        network.key_file.chmod(0o644)
        if not os.geteuid():
            os.chown(network.reports, HOST_USER, HOST_GROUP)
        network.compose("build")
        network.compose("up", "--detach")
        until(lambda: len(network.events("aggregator", "joined")) >= banks, f"{banks} banks join")
        yield network
    except BaseException:
        print(last_words(network))
        raise
    finally:
        _remove(network)
        shutil.rmtree(folder)


def plain_computation(network: Network) -> str:
    """The hash of the first run's model, computed in this process; a skip where equal bits are not promised."""
    versions = "import sys, torch; print(*sys.version_info[:2], torch.__version__)"
    theirs = execute(network.containers("bank_client")[0]["Id"], "python", "-c", versions).split()
    ours = [str(sys.version_info.major), str(sys.version_info.minor), torch.__version__]
    if theirs != ours:
        pytest.skip(f"equal bits are promised for equal versions; containers have {theirs}, this process {ours}")
    torch.set_num_threads(1)
    return model_sha256("default", ROUNDS, BANKS, SEED)


def last_words(network: Network) -> str:
    """The end of every container's log."""
    parts = []
    for one in network.containers():
        state = f"{one['Name']} is {one['State']['Status']}, exit code {one['State']['ExitCode']}"
        parts.append(f"{state}\n{docker('logs', '--tail', '15', one['Id'])}")
    return "\n".join(parts)


def _remove(network: Network) -> None:
    # A container that Compose made anew keeps its anonymous volumes by name, and `down --volumes` leaves those.
    volumes = network.volumes()
    network.down("--volumes", "--remove-orphans", "--rmi", "all", "--timeout", "5")
    if left := volumes & set(docker("volume", "ls", "--quiet").split()):
        docker("volume", "rm", *left)
