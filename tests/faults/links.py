"""A TCP proxy of the tests' own on loopback: a bank dials it, it dials the aggregator, and the test says what the line
does between them. It works in a thread of its own and is switched while it carries.
"""

import asyncio
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self, TypeVar

LOOPBACK = "127.0.0.1"
_AT_ONCE = 1 << 16
_PATIENCE = 10.0
T = TypeVar("T")


class Way(Enum):
    """Which way bytes go."""

    UP = "from the bank"
    DOWN = "to the bank"


@dataclass(frozen=True)
class Cut:
    """A connection ends when exactly this many bytes have gone this way."""

    way: Way
    after: int


@dataclass
class Connection:
    """One that was accepted: when, how many bytes went each way, and both ends' sockets."""

    began: float
    cut: Cut | None
    carried: dict[Way, int] = field(default_factory=lambda: dict.fromkeys(Way, 0))
    ends: list[asyncio.StreamWriter] = field(default_factory=list)
    lost: bool = False
    """Whether it is half-open: both ends believe in it, nothing goes through, and neither hears of the other's end."""

    def reset(self) -> None:
        """Ends it as a firewall does, with RST both ways."""
        for end in self.ends:
            _reset(end)


class Link:
    """One bank's line, or several banks': a port that leads to the target. What is set counts at once."""

    def __init__(self, target: str, run: "Links") -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._run = run
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.address = ""
        self.connections: list[Connection] = []
        """All up to now, in order."""
        self.cuts: deque[Cut] = deque()
        """What happens to the next connections, one each; those after them are whole."""
        self.latency = 0.0
        """Seconds that each byte takes each way."""
        self.rate = float("inf")
        """Bytes a second each way."""
        self.refusing = False
        """Whether new connections are reset at once."""

    def hold(self) -> None:
        """A partition: nothing goes through and nobody is told; `heal` lets go on what was on its way."""
        self._run.call(self._set(flowing=False))

    def lose(self) -> None:
        """The open connections are half-open from now, for ever; new ones are whole."""
        for connection in self.connections:
            connection.lost = True

    def reset(self) -> None:
        """Resets the open connections."""
        self._run.call(self._reset())

    def heal(self) -> None:
        """A good line again; what was lost stays lost."""
        self.latency, self.rate, self.refusing = 0.0, float("inf"), False
        self.cuts.clear()
        self._run.call(self._set(flowing=True))

    async def listen(self) -> None:
        """Opens the port."""
        self._server = await asyncio.start_server(self._accept, LOOPBACK, 0)
        self.address = f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        """Ends everything at once."""
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reset()

    async def _set(self, *, flowing: bool) -> None:
        if flowing:
            self._flowing.set()
        else:
            self._flowing.clear()

    async def _reset(self) -> None:
        for connection in self.connections:
            connection.reset()

    def _accept(self, bank_in: asyncio.StreamReader, bank_out: asyncio.StreamWriter) -> None:
        connection = Connection(time.monotonic(), self.cuts.popleft() if self.cuts else None, ends=[bank_out])
        self.connections.append(connection)
        if self.refusing:
            connection.reset()
            return
        task = asyncio.create_task(self._connect(connection, bank_in, bank_out))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(
        self, connection: Connection, bank_in: asyncio.StreamReader, bank_out: asyncio.StreamWriter
    ) -> None:
        try:
            aggregator_in, aggregator_out = await asyncio.open_connection(*self._target)
            connection.ends.append(aggregator_out)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(connection, bank_in, aggregator_out, Way.UP))
                both.create_task(self._carry(connection, aggregator_in, bank_out, Way.DOWN))
        except (OSError, ExceptionGroup):
            connection.reset()  # as the one end did, so the other hears it
        else:
            for end in connection.ends:
                end.close()

    async def _carry(
        self, connection: Connection, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way
    ) -> None:
        """One direction, until its end; a queue between reading and writing lets latency cost no throughput."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._deliver(connection, queue, sink, way))
            while data := await source.read(int(min(_AT_ONCE, max(1, self.rate / 20)))):
                await queue.put((time.monotonic() + self.latency, data))
            await queue.put((time.monotonic() + self.latency, b""))

    async def _deliver(
        self,
        connection: Connection,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        sink: asyncio.StreamWriter,
        way: Way,
    ) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(due - time.monotonic())
            await self._flowing.wait()
            if connection.lost:
                if not data:
                    await asyncio.Event().wait()  # the other end is never told
                continue
            if not data:
                sink.write_eof()
                return
            cut = connection.cut if connection.cut and connection.cut.way is way else None
            left = max(cut.after - connection.carried[way], 0) if cut else len(data)
            sink.write(data[:left])
            connection.carried[way] += len(data[:left])
            await sink.drain()
            if cut and connection.carried[way] >= cut.after:
                sink.write_eof()  # not a reset here: what was carried is to arrive
                raise ConnectionResetError
            await asyncio.sleep(len(data) / self.rate)


class Links:
    """The thread in which the links of a test work."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links", daemon=True)
        self._links: list[Link] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for link in self._links:
            self.call(link.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE)
        self._loop.close()

    def link(self, target: str) -> Link:
        """A new one that leads to this address."""
        link = Link(target, self)
        self.call(link.listen())
        self._links.append(link)
        return link

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Does it in the thread and waits for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)


def _reset(end: asyncio.StreamWriter) -> None:
    plain = end.get_extra_info("socket")
    with suppress(OSError):
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.transport.abort()
