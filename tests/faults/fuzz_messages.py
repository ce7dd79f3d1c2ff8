"""Random messages from their descriptors, random bytes from messages, and every rpc of the contract."""

import importlib
import pkgutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

import fedfraud.v1

Plausible = Mapping[str, Sequence[Any]]
"""Values by the name of a field that the network under test would know, for example the open round's number."""
_DEPTH = 4
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_FLOATS = (float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 3e38, 5e-324)
_TEXTS = (
    "",
    "bank-01",
    "bank-99999",
    "../../etc/passwd",
    "\0",
    "\x1b[31m\n\u202e",
    "é" * 50,
    "'; DROP TABLE entries;--",
    "%s%n{}",
)


@dataclass(frozen=True)
class Rpc:
    """One rpc, as gRPC names it."""

    service: str
    name: str
    descriptor: MethodDescriptor

    @property
    def path(self) -> str:
        """/fedfraud.v1.SomeService/SomeMethod."""
        return f"/{self.service}/{self.name}"

    @property
    def request(self) -> Descriptor:
        """The message that it takes."""
        return self.descriptor.input_type


AT_A_BANK = "fedfraud.v1.ScoringService"
"""Served on a bank's own socket, and fuzzed at its desk (test_fuzz.py)."""


def rpcs() -> list[Rpc]:
    """Every rpc of every service that the aggregator has; a new one is among them without a word here."""
    found = []
    for module in pkgutil.iter_modules(fedfraud.v1.__path__):
        if module.name.endswith("_pb2"):
            file = importlib.import_module(f"fedfraud.v1.{module.name}").DESCRIPTOR
            for service in file.services_by_name.values():
                if service.full_name != AT_A_BANK:
                    found += [Rpc(service.full_name, method.name, method) for method in service.methods]
    return sorted(found, key=lambda rpc: rpc.path)


def message(kind: Descriptor, rng: Random, plausible: Plausible, wild: float, depth: int = 0) -> Message:
    """One of this kind; each field is with probability `wild` anything at all, and else what is plausible."""
    made = message_factory.GetMessageClass(kind)()
    for field in _fields(kind, rng, wild):
        if field.is_repeated:
            for _ in range(rng.choice((0, 1, 2, 3, 50)) if rng.random() < wild else 1):
                if field.message_type:
                    getattr(made, field.name).add().CopyFrom(
                        message(field.message_type, rng, plausible, wild, depth + 1)
                    )
                else:
                    getattr(made, field.name).append(_scalar(field, rng, plausible, wild))
        elif field.message_type:
            if depth < _DEPTH:
                getattr(made, field.name).CopyFrom(message(field.message_type, rng, plausible, wild, depth + 1))
        else:
            setattr(made, field.name, _scalar(field, rng, plausible, wild))
    return made


def mutated(data: bytes, rng: Random) -> bytes:
    """The same bytes with one to four faults."""
    mutable = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_MUTATIONS)(mutable, rng)
    return bytes(mutable)


def _fields(kind: Descriptor, rng: Random, wild: float) -> list[FieldDescriptor]:
    """Those that are to be set: of a oneof one, and none or all plausible ones when it goes wild."""
    left_out = {field.name for field in kind.fields if rng.random() < wild / 3}
    for oneof in kind.oneofs:
        if len(oneof.fields) > 1:
            kept = rng.choice(oneof.fields).name
            left_out |= {field.name for field in oneof.fields if field.name != kept}
    return [field for field in kind.fields if field.name not in left_out]


def _scalar(field: FieldDescriptor, rng: Random, plausible: Plausible, wild: float) -> Any:  # noqa: ANN401  # a value of the field's kind
    known = plausible.get(field.name) if field.enum_type is None else None  # a reason is a text, or one of a few
    if known and rng.random() >= wild:
        return rng.choice(known)
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice((*_FLOATS, rng.uniform(-2, 2)))
        case FieldDescriptor.CPPTYPE_ENUM:
            assert field.enum_type is not None
            return rng.choice((*field.enum_type.values_by_number, 999, -1, 2**31 - 1))
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_STRING:
            return rng.choice((*_TEXTS, "x" * rng.choice((41, 201, 5_000, 100_000))))
        case FieldDescriptor.CPPTYPE_STRING:
            return rng.choice((b"", rng.randbytes(rng.choice((1, 31, 32, 33, 64, 1000))), bytes(100_000)))
        case _:
            low, high = _RANGES[field.cpp_type]
            near = rng.choice(known) + rng.choice((-1, 1)) if known else rng.randint(-3, 50)
            return min(max(rng.choice((low, high, 0, 1, 2, -1, rng.randint(low, high), near)), low), high)


def _flip(data: bytearray, rng: Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _cut(data: bytearray, rng: Random) -> None:
    start = rng.randint(0, len(data))
    del data[start : rng.choice((len(data), start + rng.randint(0, 8)))]


def _insert(data: bytearray, rng: Random) -> None:
    place = rng.randint(0, len(data))
    data[place:place] = rng.randbytes(rng.randint(1, 16))


def _repeat(data: bytearray, rng: Random) -> None:
    start = rng.randint(0, len(data))
    data += data[start : start + rng.choice((8, 64, len(data) if len(data) < 1 << 18 else 64))]


def _unknown_field(data: bytearray, rng: Random) -> None:
    data += rng.choice(
        (b"\xc0\x3e\x01", b"\xc2\x3e\x03abc", b"\x0b" * rng.randint(1, 200), b"\x0a\xff\xff\xff\xff\x0f")
    )


def _replace(data: bytearray, rng: Random) -> None:
    data[:] = rng.randbytes(rng.choice((1, 2, 10, 100))) if rng.random() < 0.3 else data


def _number(data: bytearray, rng: Random) -> None:
    place = rng.randint(0, len(data))
    data[place : place + 8] = struct.pack("<q", rng.choice((-1, 2**63 - 1, -(2**63), 1 << 34, 0)))


_MUTATIONS: tuple[Callable[[bytearray, Random], None], ...] = (
    _flip,
    _flip,
    _cut,
    _insert,
    _repeat,
    _unknown_field,
    _replace,
    _number,
)
