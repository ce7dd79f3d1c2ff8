"""Frozen dataclasses as bytes and back, exactly: JSON with bytes in hexadecimal, under a version and the class's name.

Fields may be bool, int, float, str, bytes, tuples of one kind, further such dataclasses, and one of these or None.
"""

import json
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import TypeVar, get_args, get_origin, get_type_hints

from fedfraud.errors import Invalid

VERSION = 1
T = TypeVar("T")
_names: dict[type, tuple[str, ...]] = {}  # by hand: mypy holds that functools.cache cannot hash an object's class


def to_bytes(value: object) -> bytes:
    """Of a dataclass; equal values give equal bytes."""
    content = {"version": VERSION, "kind": type(value).__name__, "value": _plain(value)}
    return json.dumps(content, default=_plain, sort_keys=True, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    """What JSON has for it. dataclasses.asdict copies everything, which takes twice as long."""
    if isinstance(value, bytes):
        return value.hex()
    return {name: getattr(value, name) for name in field_names(type(value))}


def field_names(kind: type) -> tuple[str, ...]:
    """Of a dataclass, in order: dataclasses.fields looks them up anew each time, which the smallest messages feel."""
    if kind not in _names:
        _names[kind] = tuple(field.name for field in fields(kind))
    return _names[kind]


def from_bytes(kind: type[T], data: bytes) -> T:
    """What `to_bytes` was given; anything else is refused."""
    try:
        content = json.loads(data)
        value = _built(kind, content["value"])
        if (content["version"], content["kind"]) != (VERSION, kind.__name__) or not isinstance(value, kind):
            raise ValueError(f"version {content['version']} of a {content['kind']}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Invalid(f"stored bytes must be version {VERSION} of a {kind.__name__}, got {error!r}") from error
    return value


@cache
def _hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def _built(kind: object, value: object) -> object:
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        hints = _hints(kind)
        if value.keys() != set(field_names(kind)):
            raise ValueError(f"fields {sorted(value)}")
        return kind(**{name: _built(hints[name], item) for name, item in value.items()})
    if get_origin(kind) is UnionType and NoneType in get_args(kind):
        (other,) = set(get_args(kind)) - {NoneType}
        return None if value is None else _built(other, value)
    if get_origin(kind) is tuple and isinstance(value, list):
        return tuple(_built(get_args(kind)[0], item) for item in value)
    if kind is bytes and isinstance(value, str):
        return bytes.fromhex(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError(f"a {type(value).__name__} for a {kind}")
    return value
