"""The health service over a real Unix socket, and the probe that a container runs."""

import asyncio
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fedfraud.health import HealthServer, probe


@pytest.fixture
def address() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are too long for a socket's name
        yield Path(folder) / "health.sock"


@pytest.fixture
async def server(address: Path) -> AsyncIterator[HealthServer]:
    server = HealthServer(address)
    await server.start()
    yield server
    await server.stop()


def run_probe(address: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "fedfraud.health", str(address), *options]
    return subprocess.run(command, timeout=30, capture_output=True)


async def test_a_service_is_not_serving_until_it_says_so(server: HealthServer, address: Path) -> None:
    assert not await asyncio.to_thread(probe, address)
    await server.set_serving(True)
    assert await asyncio.to_thread(probe, address)
    await server.set_serving(False)
    assert not await asyncio.to_thread(probe, address)


async def test_the_probes_exit_code_is_what_a_container_sees(server: HealthServer, address: Path) -> None:
    assert (await asyncio.to_thread(run_probe, address)).returncode == 1
    await server.set_serving(True)
    assert (await asyncio.to_thread(run_probe, address)).returncode == 0


async def test_a_service_that_does_not_serve_is_alive_until_it_answers_no_more(
    server: HealthServer, address: Path
) -> None:
    assert (await asyncio.to_thread(run_probe, address, "--alive")).returncode == 0
    await server.stop()
    assert (await asyncio.to_thread(run_probe, address, "--alive")).returncode == 1


async def test_a_stopped_service_is_not_serving(server: HealthServer, address: Path) -> None:
    await server.set_serving(True)
    await server.stop()
    assert not await asyncio.to_thread(probe, address)


def test_no_socket_is_not_serving(address: Path) -> None:
    assert not probe(address)


async def test_a_socket_left_by_a_crash_is_no_obstacle(address: Path) -> None:
    with socket.socket(socket.AF_UNIX) as crashed:
        crashed.bind(str(address))
    server = HealthServer(address)
    await server.start()
    await server.set_serving(True)
    assert await asyncio.to_thread(probe, address)
    await server.stop()


def test_the_probe_starts_without_torch() -> None:
    code = "import sys, fedfraud.health; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
