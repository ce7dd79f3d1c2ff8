"""A real aggregator for the reporter's tests: real certificates, a journal that was written before, no banks."""

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.identity import new_key
from fedfraud.v1 import operation_pb2, operation_pb2_grpc
from services.aggregator import journal as journals
from services.aggregator import journal_file
from services.aggregator.authority import Authority
from services.aggregator.server import serve
from services.aggregator.settings import Settings
from services.aggregator.writer import Writer
from tests.services.reporter.journals import Journal


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Returns when the condition holds; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"the condition must hold within {seconds} seconds"
        await asyncio.sleep(0.01)


def free_ports() -> Iterator[int]:
    """Ports that nobody has at this moment, none twice, below those that systems give to whoever asks for any: a
    network that is down between two starts loses them to nobody's call."""
    for port in random.sample(range(20_000, 32_000), 12_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port


_PORTS = free_ports()


@dataclass
class Network:
    """Where an aggregator lives; the same ports and folders through every restart."""

    home: Path
    port: int
    enrolment_port: int
    reporter_hours: float = 1.0

    @property
    def data(self) -> Path:
        """The aggregator's own folder."""
        return self.home / "aggregator"

    @property
    def join(self) -> Path:
        """The join folders."""
        return self.home / "join"

    async def tell(self, told: Journal) -> None:
        """Adds these events to the journal of an aggregator that is down."""
        self.data.mkdir(parents=True, exist_ok=True)
        writer = Writer()
        key = Authority(self.data / "authority").journal_key
        journal = journals.Journal(self.data / journal_file.NAME, writer, key)
        for entry in told.entries:
            await journal.append(getattr(entry, entry.WhichOneof("event") or ""))
        writer.close()
        journal.close()

    @contextlib.asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """The aggregator serves inside the block."""
        stop, ready = asyncio.Event(), asyncio.Event()
        settings = Settings(
            data_dir=self.data,
            join_dir=self.join,
            listen=f"127.0.0.1:{self.port}",
            enrolment_listen=f"127.0.0.1:{self.enrolment_port}",
            autostart=False,
            aggregation="plain",
            expected_banks=1,
            round_deadline=0.05,
            reporter_certificate_hours=self.reporter_hours,
        )
        serving = asyncio.create_task(serve(settings, stop, lambda *_: ready.set()))
        try:
            async with asyncio.timeout(20):
                await ready.wait()
            yield
        finally:
            stop.set()
            await serving

    async def start_run(self) -> str:
        """Asks for a run as an operator; without banks it fails after three void rounds. Returns its id."""
        join = JoinFolder.read(self.join / "operator")
        _, own = await enrol(f"127.0.0.1:{self.enrolment_port}", join, new_key())
        async with mutual_channel(f"127.0.0.1:{self.port}", join.ca_pem, own) as channel:
            stub = operation_pb2_grpc.OperationServiceStub(channel)
            answer = await stub.StartRun(operation_pb2.StartRunRequest(), timeout=10)
        return answer.run_id

    async def enrol_another_reporter(self) -> None:
        """Enrols as the reporter, which revokes whoever was it."""
        join = JoinFolder.read(self.join / "reporter")
        await enrol(f"127.0.0.1:{self.enrolment_port}", join, new_key())


def network(home: Path, reporter_hours: float = 1.0) -> Network:
    """A network on free ports."""
    return Network(home, next(_PORTS), next(_PORTS), reporter_hours)
