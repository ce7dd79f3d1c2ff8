"""Serves the page on one address until it is stopped."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from fedfraud.errors import Misconfigured

_MOST_CONNECTIONS = 128


class PageServer:
    """uvicorn in the reporter's own event loop; the port is open once `start` returns."""

    def __init__(self, app: Starlette, listen: str) -> None:
        """`listen` is host:port, port 0 for any free one."""
        self._listen = listen
        self._server = _Server(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )
        self._serving: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Listens; Misconfigured if the address cannot be had."""
        listener = _bind(self._listen)
        self.port = listener.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        """Ends it; open streams get a second."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait({self._serving}, timeout=5)


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the reporter's own business."""
        yield


def _bind(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Misconfigured(f"PAGE_LISTEN must be host:port, got {listen!r}")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), int(port)))
        listener.listen()
    except OSError as error:
        listener.close()
        raise Misconfigured(f"PAGE_LISTEN must be an address that is free: {error.strerror}, {listen}") from error
    listener.setblocking(False)
    return listener
