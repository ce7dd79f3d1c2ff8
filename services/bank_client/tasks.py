"""What a round asks of this bank: its instruction as a task, checked, with the model and the counters that it names."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from google.protobuf.duration_pb2 import Duration

from fedfraud import fixed_point, model
from fedfraud.errors import Invalid
from fedfraud.fixed_point import Words
from fedfraud.layout import count_codec, train_codec
from fedfraud.manifest import Manifest
from fedfraud.masking_wire import task_sha256
from fedfraud.model import RunState
from fedfraud.packing import WORD_BYTES
from fedfraud.trade_wire import terms_from_proto
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, model_pb2
from fedfraud.wire import (
    check_counters_sha256,
    recipe_from_proto,
    round_key_from_proto,
    run_state_from_proto,
    segments_from_proto,
)
from services.bank_client.reused import Reused
from services.bank_client.task import Task

ALONE_SHARE = 0.8
"""Of the time that a round leaves: training alone beyond it is given up."""
CALL_SECONDS = 30.0
"""What one call may take at the least."""
_MOST_ROUNDS = 10_000
_SHORT_BYTES = 1 << 18
"""Hashed and looked at on the event loop: a fifth of a millisecond."""
P = ParamSpec("P")
T = TypeVar("T")


async def task_of(
    instruction: federation_pb2.RoundInstruction,
    seat: str,
    manifest: Manifest,
    stub: "federation_pb2_grpc.FederationServiceAsyncStub",
    ends: float,
    memory: Reused,
) -> Task:
    """The task of this instruction, every number of it held to its range, with its model in `memory`; `ends` is the
    deadline."""
    state, vector, began = None, None, time.monotonic()
    if instruction.HasField("model"):
        state = run_state_from_proto(instruction.run_state, manifest)
        vector = await _vector(instruction, manifest, stub, ends, memory)
        # This covers every byte that came: the vector's own hash, which it was asked by, would say nothing more.
        sha256 = await _beside(vector.nbytes, model.model_sha256, manifest, state, vector)
        if sha256 != instruction.model.model_sha256:
            raise Invalid(
                f"a model must have the hash it came with, {instruction.model.model_sha256.hex()[:12]}, "
                f"got {sha256.hex()[:12]}"
            )
    _check_counters(instruction, manifest, state)
    recipe = recipe_from_proto(instruction.recipe)
    train_codec(manifest, recipe).check_capacity()
    if min(instruction.seed, instruction.step, instruction.retry) < 0:
        raise Invalid(
            "a round's seed, step and retry must be 0 or more, "
            f"got {instruction.seed}, {instruction.step}, {instruction.retry}"
        )
    if not 1 <= instruction.round_count <= _MOST_ROUNDS:
        raise Invalid(f"a run's rounds must be 1 to {_MOST_ROUNDS}, got {instruction.round_count}")
    return Task(
        key=round_key_from_proto(instruction.key),
        seat=seat,
        step=instruction.step,
        segments=segments_from_proto(list(instruction.segments)),
        recipe=recipe,
        seed=instruction.seed,
        rounds=instruction.round_count,
        final=instruction.final,
        model_sha256=instruction.model.model_sha256,
        run_state=state,
        vector=vector,
        alone_until=began + ALONE_SHARE * seconds_left(instruction.time_left),
        retry=instruction.retry,
        counters_sha256=instruction.counters_sha256,
        task_sha256=task_sha256(instruction, manifest, recipe, state),
        terms=terms_from_proto(instruction),
        masked=instruction.HasField("masking"),
    )


async def counters_of(
    sha256: bytes, manifest: Manifest, stub: "federation_pb2_grpc.FederationServiceAsyncStub", ends: float
) -> Words:
    """The summed counters of this hash, a word a bucket and day."""
    size = WORD_BYTES * count_codec(manifest).length
    data = await _fetched("vector of counters", sha256, Reused().lend(size), stub, ends)
    if (found := await asyncio.to_thread(_sha256, data)) != sha256:
        raise Invalid(f"counters must have the hash they were asked by, {sha256.hex()[:12]}, got {found.hex()[:12]}")
    return fixed_point.from_bytes(data)


def _check_counters(instruction: federation_pb2.RoundInstruction, manifest: Manifest, state: RunState | None) -> None:
    """The counters that a round's features follow from are named, and the run state names them too."""
    sha256, counts = instruction.counters_sha256, model_pb2.SEGMENT_KIND_COUNT in instruction.segments
    if counts and sha256:
        raise Invalid(f"a round that counts must not follow from counters, got {sha256.hex()[:12]}")
    if state is not None and sha256 != state.counters_sha256:
        raise Invalid(f"counters must be the run state's, {state.counters_sha256.hex()[:12]}, got {sha256.hex()[:12]}")
    if not counts:
        check_counters_sha256(sha256, manifest)


async def _vector(
    instruction: federation_pb2.RoundInstruction,
    manifest: Manifest,
    stub: "federation_pb2_grpc.FederationServiceAsyncStub",
    ends: float,
    memory: Reused,
) -> model.Vector:
    """A short one came with the instruction."""
    sha256, size = instruction.model.vector_sha256, 4 * manifest.parameter_count
    data = instruction.vector or await _fetched("model vector", sha256, memory.lend(size), stub, ends)
    return await _beside(len(data), model.from_bytes, data, manifest)


async def _fetched(
    what: str, sha256: bytes, data: memoryview, stub: "federation_pb2_grpc.FederationServiceAsyncStub", ends: float
) -> memoryview:
    """`data`, filled with the bytes that came for this hash, which nobody has checked: so many, or it is refused."""
    size, count = len(data), 0
    request = federation_pb2.GetVectorRequest(vector_sha256=sha256)
    async for answer in stub.GetVector(request, timeout=call_seconds(ends)):
        chunk: Any = answer  # federation_stub's are chunks
        if count + len(chunk) > size:
            raise Invalid(f"a {what} must have {size} bytes, got more")
        data[count : count + len(chunk)] = chunk
        count += len(chunk)
    if count != size:
        raise Invalid(f"a {what} must have {size} bytes, got {count}")
    return data


def _sha256(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()


async def _beside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work` on so many bytes: by another thread where it takes longer than to ask one."""
    return work(*args, **kwargs) if size <= _SHORT_BYTES else await asyncio.to_thread(work, *args, **kwargs)


def seconds_left(told: Duration) -> float:
    """At most a day; any numbers may be told."""
    return min(max(told.seconds + told.nanos / 1e9, 0.0), 86_400.0)


def call_seconds(ends: float) -> float:
    """Seconds for one call: a narrow line may need all that are left; 30 even when that is later than the deadline."""
    return max(ends - time.monotonic(), CALL_SECONDS)
