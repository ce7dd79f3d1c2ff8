"""An aggregator in a process of its own under a model of any size, and stand-in banks that answer it without training.

The aggregator is the product as it is: real ports, certificates, journal and files. A population fixes the model's
layers and there is no setting for others, so the process puts the manifest's hidden layers in from outside. A stand-in
fetches and checks each model as a bank does and sends its contribution by the bank's own code, but for two things: the
contribution was made beforehand, and is not kept on a disk of the bank's own.
"""

import asyncio
import math
import multiprocessing
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import enrolment, fixed_point
from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder
from fedfraud.fixed_point import EvaluateCodec, Segment, StandardiseCodec, TrainCodec
from fedfraud.identity import new_key
from fedfraud.layout import Layout
from fedfraud.logs import configure
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe
from fedfraud.transactions import TUTORIAL
from fedfraud.v1 import federation_pb2, federation_pb2_grpc
from fedfraud.wire import recipe_from_proto, round_key_from_proto, segments_from_proto
from services.aggregator import server
from services.aggregator.settings import Settings
from services.bank_client.release import Released
from services.bank_client.tasks import task_of

PATIENCE = 900.0
"""Seconds that anything here may take."""


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
    base: dict[str, Any] = {
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
    own = Settings(**{**base, **settings})
    async with spawned(_serve, own, manifest, folder / "log") as (pid, ports):
        addresses = [f"127.0.0.1:{port}" for port in ports]
        yield Serving(pid, addresses[0], addresses[1], JoinFolder.read(own.join_dir / "bank"), manifest)


@asynccontextmanager
async def spawned(target: Callable[..., None], *arguments: object) -> AsyncIterator[tuple[int, Any]]:
    """A fresh process that says once that it is ready, by the connection that it gets last; killed at the end."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        if not await asyncio.to_thread(ours.poll, 60.0):
            raise SystemExit(f"{target.__name__} must start")
        try:
            said = ours.recv()
        except EOFError:
            raise SystemExit(f"{target.__name__} must start, it ended") from None
        yield process.pid or 0, said
    finally:
        process.kill()
        process.join()


def _serve(settings: Settings, manifest: Manifest, log: Path, ready: "Connection[Any, Any]") -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    configure(settings.log_level, settings.log_form)

    def of_this_size(settings: Settings) -> Manifest:
        return manifest

    server.manifest_of = of_this_size
    asyncio.run(server.serve(settings, asyncio.Event(), lambda *ports: ready.send(ports)))


@dataclass
class StandIn:
    """A bank's seat, line and ready-made contributions."""

    seat: str
    manifest: Manifest
    channel: grpc.aio.Channel
    made: dict[tuple[Segment, ...], bytes]
    call: Any = None
    fencing_number: int = 0

    @property
    def stub(self) -> "federation_pb2_grpc.FederationServiceAsyncStub":
        """The rpcs."""
        return federation_pb2_grpc.FederationServiceStub(self.channel)

    async def join(self) -> None:
        """Takes the seat's lease."""
        self.call = self.stub.Participate(federation_pb2.ParticipateRequest(protocol_version=1))
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
        await task_of(instruction, self.seat, self.manifest, self.stub, time.monotonic() + PATIENCE)
        released = self._released(instruction)
        await self.stub.SubmitContribution(released.requests(self.fencing_number), timeout=PATIENCE)

    def _released(self, instruction: federation_pb2.RoundInstruction) -> Released:
        segments = segments_from_proto(list(instruction.segments))
        if segments not in self.made:
            self.made[segments] = contribution(segments, self.manifest, recipe_from_proto(instruction.recipe))
        key, sha256 = round_key_from_proto(instruction.key), instruction.model.model_sha256
        return Released(key, sha256, bytes(32), self.made[segments], None, "made beforehand")

    async def _next(self) -> federation_pb2.ParticipateResponse:
        message = await asyncio.wait_for(self.call.read(), PATIENCE)
        if message is grpc.aio.EOF:
            raise SystemExit(f"{self.seat}'s stream must stay, it ended: {await self.call.details()}")
        return message  # type: ignore[no-any-return]  # grpc's call is generic


def contribution(segments: tuple[Segment, ...], manifest: Manifest, recipe: Recipe) -> bytes:
    """A bank's bytes whose model came back as it went: an update of 0, by the codecs."""
    parts = []
    for codec in Layout(segments, manifest, recipe).codecs.values():
        match codec:
            case StandardiseCodec():
                parts.append(codec.encode(np.ones((2, len(codec.resolutions))), np.array([False, True])))
            case EvaluateCodec():
                parts.append(codec.encode(np.array([-1.0, 1.0]), np.array([False, True])))
            case TrainCodec():
                words = np.zeros(codec.length, np.int64)
                words[-2] = 1000  # the weight
                parts.append(words.view(np.uint64))
            case _:
                raise ValueError(f"a stand-in must have no payments, it was asked for {codec}")
    return fixed_point.to_bytes(np.concatenate(parts))


@asynccontextmanager
async def stand_ins(serving: Serving, count: int) -> AsyncIterator[list[StandIn]]:
    """So many, enrolled and joined, all of one process and event loop; each has its own key, certificate and line."""
    made: dict[tuple[Segment, ...], bytes] = {}
    async with AsyncExitStack() as stack:
        banks = []
        for _ in range(count):
            key = new_key()
            response, own = await enrolment.enrol(
                serving.enrolment_address, serving.join, key, Ed25519PrivateKey.generate(), PATIENCE
            )
            channel = await stack.enter_async_context(mutual_channel(serving.address, serving.join.ca_pem, own))
            banks.append(StandIn(response.seat, serving.manifest, channel, made))
        yield banks


async def rounds(banks: list[StandIn], told: list[federation_pb2.RoundInstruction]) -> Any:  # noqa: ANN401  # a list
    """One round: all answer what they were told; returns what they are told next."""
    await asyncio.gather(*(bank.answer(one) for bank, one in zip(banks, told, strict=True)))
    return await asyncio.gather(*(bank.round() for bank in banks))
