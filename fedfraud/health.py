"""The health service of every container, on a Unix socket, and the probe that asks it.

`python -m fedfraud.health /tmp/health.sock` exits 0 when the service answers SERVING; with `--alive` when it answers at
all, for whoever would restart one that does not.
"""

import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio

from fedfraud.channel import bind_health, health_channel


class HealthServer:
    """`grpc.health.v1` for one service: NOT_SERVING until `set_serving(True)`."""

    def __init__(self, socket: Path) -> None:
        self._servicer = health_aio.HealthServicer()
        self._server = grpc.aio.server()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        bind_health(self._server, socket)

    async def start(self) -> None:
        """Begins to answer."""
        await self.set_serving(False)
        await self._server.start()

    async def set_serving(self, serving: bool) -> None:
        """Says whether the service does its work."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._servicer.set("", status)

    async def stop(self) -> None:
        """Stops answering."""
        await self._server.stop(grace=0)


def probe(socket: Path, *, alive: bool = False) -> bool:
    """True if the service behind the socket answers SERVING within two seconds; `alive`: whatever it answers."""
    with health_channel(socket) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=2)
        except grpc.RpcError:
            return False
    return alive or bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if probe(Path(sys.argv[1]), alive="--alive" in sys.argv[2:]) else 1)
