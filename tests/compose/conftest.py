"""Starts the network in containers once a session, and takes all of it away again, whatever happened."""

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.compose.network import BANKS, HOST_GROUP, HOST_USER, Network, docker, until


@pytest.fixture(scope="session")
def network(lacking: Callable[[str], NoReturn]) -> Iterator[Network]:
    """Aggregator, ten banks and reporter, enrolled and on their first run."""
    for command, name in (("info", "a running Docker engine"), ("compose version", "Docker Compose v2")):
        if not shutil.which("docker") or subprocess.run(["docker", *command.split()], capture_output=True).returncode:
            lacking(name)
    folder = Path(tempfile.mkdtemp(prefix="fedfraud-"))
    network = Network(f"fedfraud-test-{secrets.token_hex(3)}", folder / "reports", folder / "key")
    try:
        folder.chmod(0o755)
        network.reports.mkdir(mode=0o755)
        network.key_file.write_text(f"sk-canary-{secrets.token_hex(16)}")
        network.key_file.chmod(0o644)
        if not os.geteuid():
            os.chown(network.reports, HOST_USER, HOST_GROUP)
        network.compose("build")
        network.compose("up", "--detach")
        until(lambda: len(network.events("aggregator", "joined")) >= BANKS, f"{BANKS} banks join")
        yield network
    except BaseException:
        print(_last_words(network))
        raise
    finally:
        _remove(network)
        shutil.rmtree(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows the end of every container's log; tests that lack the engine are one line together."""
    report = yield
    if report.when == "setup" and report.skipped and isinstance(report.longrepr, tuple):
        report.longrepr = (str(Path(__file__)), 0, report.longrepr[2])
    network = getattr(item, "funcargs", {}).get("network")
    if report.failed and isinstance(network, Network):
        report.sections.append(("containers", _last_words(network)))
    return report


def _last_words(network: Network) -> str:
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
