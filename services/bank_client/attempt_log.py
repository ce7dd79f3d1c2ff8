"""The one masked attempt of a bank on its disk: a line when it begins and one for each stage that brought something.

A line is on disk when the call returns. What has no line's end was being written when the process was killed: no answer
followed from it, and it is cut off.
"""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fedfraud import stored
from fedfraud.identity import sync_folder
from fedfraud.masking import Advertisement, Sealed
from fedfraud.masking_bank import BankState

FILE = "attempt.json"


@dataclass(frozen=True)
class Step:
    """What a stage brought, by the names of BankState; what it did not bring is empty."""

    advertisements: tuple[Advertisement, ...] = ()
    shared: tuple[str, ...] = ()
    sealed: tuple[Sealed, ...] = ()
    words_sha256: bytes = b""
    survivors: tuple[str, ...] = ()


class AttemptLog:
    """Only the owner reads the file: a seed is in it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._state: BankState | None = None
        """What the file says, of this process's attempt."""
        self._size = 0

    def keep(self, state: BankState) -> None:
        """Writes what is new since the last time; OSError when the disk does not take it, and then it is asked again.
        Another attempt takes the former's place: nothing of that one is answered any more."""
        if state == self._state:
            return
        new = _new(self._state, state)
        if new is None:
            self._write(0, stored.to_bytes(state))
        else:
            self._write(self._size, stored.to_bytes(new))
        self._state = state

    def read(self) -> BankState | None:
        """The attempt that a former call or process kept; None without one. Invalid when the file is damaged."""
        try:
            *lines, _ = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
        self._state, self._size = None, 0
        if not lines:
            return None
        state = stored.from_bytes(BankState, lines[0])
        for line in lines[1:]:
            step = _values(stored.from_bytes(Step, line))
            state = replace(state, **{name: value for name, value in step.items() if value})
        self._state, self._size = state, sum(len(line) + 1 for line in lines)
        return state

    def erase(self) -> None:
        """The round is over."""
        self._state, self._size = None, 0
        self._path.unlink(missing_ok=True)

    def _write(self, start: int, line: bytes) -> None:
        fresh = not self._path.exists()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.truncate(start)  # a former attempt, or what a full disk took of a line
            file.seek(start)
            file.write(line + b"\n")
            file.flush()
            os.fsync(descriptor)
        if fresh:
            sync_folder(self._path.parent)
        self._size = start + len(line) + 1


def _new(known: BankState | None, state: BankState) -> Step | None:
    """What a state has beyond the one that is known of the same attempt; None where there is no such state."""
    if known is None:
        return None
    brought, before = _values(state), _values(known)
    new = {name: value for name, value in brought.items() if value != before[name]}
    if any(before[name] for name in new) or replace(state, **before) != known:
        return None
    return Step(**new)


def _values(value: BankState | Step) -> dict[str, Any]:
    """What stages bring, of a state or of a step."""
    return {field.name: getattr(value, field.name) for field in fields(Step)}
