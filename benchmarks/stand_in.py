"""An aggregator in a process of its own under a model of any size, and stand-in banks that answer it without training.

The aggregator is the product as it is: real ports, certificates, journal and files. A population fixes the model's
layers and there is no setting for others, so the process (sized_aggregator.py) puts these in from outside. A stand-in
fetches and checks each model as a bank does and sends its contribution by the bank's own code, but for two things: the
contribution and its hash were made beforehand, and it is not kept on a disk of the bank's own. Where many are to have
large models they fetch these into memory that they share.
"""

import asyncio
import math
import os
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import enrolment
from fedfraud.channel import KeyPair, mutual_channel
from fedfraud.chunks import federation_stub
from fedfraud.enrolment import JoinFolder
from fedfraud.fixed_point import EvaluateCodec, Segment, TrainCodec
from fedfraud.identity import new_key
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.packing import Packing
from fedfraud.recipe import recipe_named
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import TUTORIAL
from fedfraud.v1 import enrolment_pb2, federation_pb2, federation_pb2_grpc
from fedfraud.wire import PROTOCOL_VERSION, recipe_from_proto, round_key_from_proto, segments_from_proto
from services.bank_client.line import Line
from services.bank_client.release import Released
from services.bank_client.reused import Reused
from services.bank_client.tasks import task_of

PATIENCE = 900.0
"""Seconds that anything here may take."""
_SOCKETS = 1 << 16


def manifest_of_bytes(size: int) -> Manifest:
    """The tutorial's features and two equal hidden layers, the largest whose vector has at most so many bytes."""
    features, parameters = len(TUTORIAL), size // 4
    # h * h + (features + 3) * h + 1 parameters
    side = features + 3
    hidden = int((-side + math.sqrt(side * side + 4 * (parameters - 1))) / 2)
    if hidden < 1:
        raise ValueError(f"a model must have at least {4 * (side + 2)} bytes, got {size}")
    return Manifest("tutorial", TUTORIAL, (hidden, hidden))


@dataclass(frozen=True)
class Serving:
    """A running aggregator: its process, its addresses, and the folder that its banks join by."""

    pid: int
    address: str
    enrolment_address: str
    join: JoinFolder
    manifest: Manifest


@asynccontextmanager
async def aggregator(folder: Path, manifest: Manifest, banks: int, **settings: object) -> AsyncIterator[Serving]:
    """Starts the process and ends it; a run begins by itself when all banks have joined."""
    base: dict[str, object] = {
        "data_dir": folder / "aggregator",
        "join_dir": folder / "join",
        "listen": "127.0.0.1:0",
        "enrolment_listen": "127.0.0.1:0",
        "hostnames": "127.0.0.1,localhost",
        "expected_banks": banks,
        "max_seats": max(banks, 1024),
        "quorum": banks,
        "rounds": 10_000,
        "round_deadline": PATIENCE,
        "start_wait": PATIENCE,
        "aggregation": "plain",
        "log_level": "warning",
    }
    environment = {name.upper(): str(value) for name, value in {**base, **settings}.items()}
    hidden = map(str, manifest.hidden_sizes)
    async with running("sized_aggregator.py", *hidden, log=folder / "log", **environment) as (pid, said):
        addresses = [f"127.0.0.1:{port}" for port in said.split()]
        yield Serving(pid, addresses[0], addresses[1], JoinFolder.read(folder / "join" / "bank"), manifest)


@asynccontextmanager
async def running(script: str, *words: str, log: Path, **environment: str) -> AsyncIterator[tuple[int, str]]:
    """A benchmark's own process: its id, and the line that it says when it is ready; killed at the end. It has a
    session of its own: a terminal's Ctrl-C would end it before the benchmark is done with it."""
    log.parent.mkdir(parents=True, exist_ok=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _SOCKETS)), hard))  # also of what is started
    command = [sys.executable, str(Path(__file__).parent / script), *words]
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        try:
            assert process.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            said = await asyncio.wait_for(process.stdout.readline(), 60.0)
            if not said:
                raise SystemExit(f"{script} must start, see {log}")
            yield process.pid, said.decode()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@dataclass
class StandIn:
    """A bank's seat, line and ready-made contributions."""

    seat: str
    manifest: Manifest
    channel: grpc.aio.Channel
    made: dict[tuple[Segment, ...], Released]
    call: Any = None
    fencing_number: int = 0
    line: Line = field(default_factory=Line)
    memory: Reused = field(default_factory=Reused)
    answered: float = 0.0
    """When it had its last receipt, by time.perf_counter."""

    @property
    def stub(self) -> "federation_pb2_grpc.FederationServiceAsyncStub":
        """The rpcs."""
        return federation_stub(self.channel)

    async def join(self) -> None:
        """Takes the seat's lease."""
        self.call = self.stub.Participate(federation_pb2.ParticipateRequest(protocol_version=PROTOCOL_VERSION))
        welcome = await self._next()
        self.fencing_number = welcome.welcome.fencing_number

    async def round(self) -> federation_pb2.RoundInstruction:
        """The next round that it is asked to answer."""
        message = await self._next()
        if message.WhichOneof("message") != "round":
            raise SystemExit(f"a run must go on while it is measured, {self.seat} was told {message}")
        return message.round

    async def answer(self, instruction: federation_pb2.RoundInstruction) -> None:
        """Fetches and checks the model as a bank does, and sends the contribution that was made beforehand."""
        ends = time.monotonic() + PATIENCE
        await task_of(instruction, self.seat, self.manifest, self.stub, ends, self.memory)
        released = self._released(instruction)
        await self.line.upload(self.stub, released, self.fencing_number, instruction.piece_bytes, PATIENCE)
        self.answered = time.perf_counter()

    def _released(self, instruction: federation_pb2.RoundInstruction) -> Released:
        segments, key = segments_from_proto(list(instruction.segments)), round_key_from_proto(instruction.key)
        if segments not in self.made:
            layout = Layout(segments, self.manifest, recipe_from_proto(instruction.recipe))
            data = contribution(layout)
            self.made[segments] = Released(key, b"", bytes(32), data, layout.length, None, "made beforehand")
        made = self.made[segments]
        released = replace(made, key=key, model_sha256=instruction.model.model_sha256)
        vars(released)["sha256"] = made.sha256  # cached: it was made beforehand too
        return released

    async def _next(self) -> federation_pb2.ParticipateResponse:
        message = await asyncio.wait_for(self.call.read(), PATIENCE)
        if message is grpc.aio.EOF:
            raise SystemExit(f"{self.seat}'s stream must stay, it ended: {await self.call.details()}")
        return message  # type: ignore[no-any-return]  # grpc's call is generic


def training_layout(manifest: Manifest) -> Layout:
    """That of a training round under recipe `default`."""
    return Layout((Segment.EVALUATE, Segment.TRAIN), manifest, recipe_named("default"))


def contribution(layout: Layout) -> bytes:
    """A bank's bytes in a plain round whose model came back as it went: an update of 0, by the codecs."""
    parts = []
    for codec in layout.codecs.values():
        match codec:
            case StandardiseCodec():
                parts.append(codec.encode(np.ones((2, len(codec.resolutions))), np.array([False, True])))
            case EvaluateCodec():
                parts.append(codec.encode(np.array([-1.0, 1.0]), np.array([False, True])))
            case TrainCodec():
                words = np.zeros(codec.length, np.int64)
                words[codec.counts()] = 1000, 0  # the weight, and none clipped
                parts.append(words.view(np.uint64))
            case _:
                raise ValueError(f"a stand-in must have no payments, it was asked for {codec}")
    return Packing(layout).pack(np.concatenate(parts))


class Shared(Reused):
    """Lends the same memory to all who ask for as much of it at once: whoever fetches the same bytes may write over
    what another is reading."""

    def lend(self, size: int) -> memoryview:
        """So many bytes, which others have too."""
        if len(self._block) != size:
            self._block = np.empty(size, np.uint8)
        return self._block[:].data


@asynccontextmanager
async def stand_ins(serving: Serving, count: int, memory: Reused | None = None) -> AsyncIterator[list[StandIn]]:
    """So many, enrolled and ready to join, all of one process and event loop; each has its own key and line. All fetch
    into `memory` where it is given, the same bytes to the same place: hundreds of large models have no room."""
    made: dict[tuple[Segment, ...], Released] = {}
    async with AsyncExitStack() as stack:
        banks = []
        for _ in range(count):
            key = new_key()
            response, own = await _enrolled(serving, key)
            channel = await stack.enter_async_context(mutual_channel(serving.address, serving.join.ca_pem, own))
            banks.append(StandIn(response.seat, serving.manifest, channel, made, memory=memory or Reused()))
        yield banks


async def _enrolled(serving: Serving, key: ec.EllipticCurvePrivateKey) -> tuple[enrolment_pb2.EnrolResponse, KeyPair]:
    """At the pace that the aggregator allows, as a bank does."""
    while True:
        try:
            return await enrolment.enrol(
                serving.enrolment_address, serving.join, key, Ed25519PrivateKey.generate(), PATIENCE
            )
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
        await asyncio.sleep(0.05)


async def rounds(
    banks: list[StandIn], told: list[federation_pb2.RoundInstruction]
) -> list[federation_pb2.RoundInstruction]:
    """One round: all answer what they were told; returns what they are told next."""
    await asyncio.gather(*(bank.answer(one) for bank, one in zip(banks, told, strict=True)))
    return await asyncio.gather(*(bank.round() for bank in banks))
