"""The metrics server: reads only, no caller holds it up, an address that is taken is named."""

import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from fedfraud.errors import Misconfigured
from services.aggregator import metrics_server
from services.aggregator.metrics_server import MetricsServer


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    """One counter, at one."""
    registry = CollectorRegistry()
    Counter("turns", "How often it turned.", registry=registry).inc()
    serving = MetricsServer(registry, "127.0.0.1:0")
    yield serving
    serving.close()


def get(server: MetricsServer, path: str = "/metrics") -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10) as response:  # ours
        return bytes(response.read())


def test_a_scrape_gives_the_exposition(server: MetricsServer) -> None:
    assert b"turns_total 1.0" in get(server)


def test_nothing_can_be_changed(server: MetricsServer) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", data=b"x", method="POST")  # ours
    with pytest.raises(urllib.error.HTTPError, match="405"):
        urllib.request.urlopen(request, timeout=10)  # noqa: S310  # ours


def test_callers_that_send_nothing_keep_nobody_else_waiting_and_are_hung_up_on(
    server: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_server._Handler, "timeout", 0.2)
    idle = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(20)]
    assert b"turns_total 1.0" in get(server)
    for each in idle:
        assert each.recv(1) == b""  # it was closed
        each.close()


def test_an_address_that_is_taken_is_named(server: MetricsServer) -> None:
    address = f"127.0.0.1:{server.port}"
    with pytest.raises(Misconfigured, match=rf"^METRICS_LISTEN must be a free address: .*, {address}$"):
        MetricsServer(CollectorRegistry(), address)


def test_a_server_that_is_closed_listens_no_longer() -> None:
    closed = MetricsServer(CollectorRegistry(), "127.0.0.1:0")
    closed.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", closed.port), timeout=10)
