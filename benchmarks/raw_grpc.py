"""gRPC with nothing around it: the same bytes down and up as in a round, written and fsynced, and nothing looked at.

The server is a process of its own; messages are raw bytes of a MiB, without protobuf. With `tls` it has the project's
ports and channels, mutual TLS and their options; without it gRPC's own defaults on a plain port.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import uvloop

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.measuring import cpu_seconds, memory
from benchmarks.stand_in import running
from fedfraud.channel import KeyPair, bind_mutual, mutual_channel, mutual_server
from fedfraud.identity import Identity, Role, key_pem, new_key
from services.aggregator.authority import Authority

CHUNK_BYTES = 1 << 20
_OPTIONS = [("grpc.max_receive_message_length", 2 * CHUNK_BYTES), ("grpc.use_local_subchannel_pool", 1)]


class Raw:
    """Three rpcs over raw bytes."""

    def __init__(self, folder: Path, down_bytes: int) -> None:
        self._folder = folder
        self._model = folder / "model"
        folder.mkdir(parents=True, exist_ok=True)
        with self._model.open("wb") as file:
            for size in _sizes(down_bytes):
                file.write(bytes(size))
        self._count = 0

    async def down(self, _: bytes, __: object) -> AsyncIterator[bytes]:
        """The model's bytes, from its file."""
        with self._model.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk

    async def up(self, requests: AsyncIterator[bytes], _: object) -> bytes:
        """A contribution's bytes to a file, which is on disk when the answer leaves."""
        self._count += 1
        path = self._folder / f"contribution-{self._count}"
        with path.open("wb") as file:
            async for chunk in requests:
                file.write(chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        path.unlink()
        return b""

    async def hold(self, _: bytes, __: object) -> AsyncIterator[bytes]:
        """A stream that stays open, as a bank's does."""
        yield b"held"
        await asyncio.Event().wait()

    def handlers(self) -> grpc.GenericRpcHandler:
        """For a server."""
        return grpc.method_handlers_generic_handler(
            "Raw",
            {
                "down": grpc.unary_stream_rpc_method_handler(self.down),
                "up": grpc.stream_unary_rpc_method_handler(self.up),
                "hold": grpc.unary_stream_rpc_method_handler(self.hold),
            },
        )


@dataclass(frozen=True)
class Line:
    """How the server is reached; without a CA in the clear."""

    port: int
    ca_pem: bytes
    own: KeyPair | None

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own."""
        address = f"127.0.0.1:{self.port}"
        if self.own:
            return mutual_channel(address, self.ca_pem, self.own)
        return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def serve(folder: Path, down_bytes: int, *, tls: bool) -> None:
    """The server, until it is killed; says its port when it serves."""
    raw = Raw(folder, down_bytes)
    if tls:
        authority, key = Authority(folder / "authority"), new_key()
        pem = authority.issue(key.public_key(), Identity(Role.BANK, "bank-01"), timedelta(days=1))
        (folder / "caller.pem").write_bytes(pem)
        (folder / "caller.key").write_bytes(key_pem(key))
        own = authority.server_key_pair(["127.0.0.1"], timedelta(days=1))
        server = mutual_server([])
        port = bind_mutual(server, "127.0.0.1:0", authority.ca_pem, own)
    else:
        server = grpc.aio.server(options=_OPTIONS)
        port = server.add_insecure_port("127.0.0.1:0")
    server.add_generic_rpc_handlers((raw.handlers(),))
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


@asynccontextmanager
async def serving(folder: Path, down_bytes: int, *, tls: bool) -> AsyncIterator[tuple[int, Line]]:
    """The server's process, and how it is reached."""
    words = (str(folder), str(down_bytes), "tls" if tls else "clear")
    async with running("raw_grpc.py", *words, log=folder / "log") as (pid, said):
        if not tls:
            yield pid, Line(int(said), b"", None)
            return
        ca_pem = (folder / "authority" / "ca.pem").read_bytes()
        own = KeyPair((folder / "caller.key").read_bytes(), (folder / "caller.pem").read_bytes())
        yield pid, Line(int(said), ca_pem, own)


@dataclass(frozen=True)
class Cost:
    """Of one round: wall seconds, and CPU seconds of the server and of all callers."""

    seconds: float
    server: float
    callers: float


async def exchange(
    folder: Path, callers: int, down_bytes: int, up_bytes: int, rounds: int, *, tls: bool
) -> tuple[list[Cost], float]:
    """So many rounds in which each caller fetches the model and sends a contribution, and the server's peak in MB."""
    async with serving(folder, down_bytes, tls=tls) as (pid, line), AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(line.channel()) for _ in range(callers)]
        data, costs = bytes(up_bytes), []
        for _ in range(rounds + 1):
            began, server, own = time.perf_counter(), cpu_seconds([pid]), time.process_time()
            await asyncio.gather(*(call(channel, data) for channel in channels))
            seconds = time.perf_counter() - began
            costs.append(Cost(seconds, cpu_seconds([pid]) - server, time.process_time() - own))
        return costs[1:], memory(pid, "VmHWM")  # the first one opens the connections


async def call(channel: grpc.aio.Channel, data: bytes) -> None:
    """One caller's round."""
    down: Any = channel.unary_stream("/Raw/down")  # without serialisers the stub knows no types
    up: Any = channel.stream_unary("/Raw/up")
    async for _ in down(b""):
        pass
    await up(_chunks(data))


def _chunks(data: bytes) -> Iterator[bytes]:
    view = memoryview(data)
    for start in range(0, len(data), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


def _sizes(total: int) -> Iterator[int]:
    """Of the pieces of a file."""
    while total > 0:
        yield min(total, CHUNK_BYTES)
        total -= CHUNK_BYTES


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]), int(sys.argv[2]), tls=sys.argv[3] == "tls"))
