"""The one masked attempt of a bank on its disk: a line when it begins and one for each stage that brought something.

A line is on disk when the call returns. What has no line's end was being written when the process was killed: no answer
followed from it, and it is cut off. What a process finds may never have been synced, or a sync of it may have failed:
it is written anew, as a whole, before the next answer.
"""

import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fedfraud import stored
from fedfraud.identity import write_secret
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
        """What is on disk for certain: this object has written it."""
        self._size = 0
        for torn in folder.glob(f".{FILE}.*"):  # of a process that was killed while it wrote: a secret
            torn.unlink()

    def keep(self, state: BankState) -> None:
        """Writes what is new since the last time; OSError when the disk does not take it, and then it is asked again.
        Another attempt takes the former's place: nothing of that one is answered any more."""
        if state == self._state:
            return
        new = _new(self._state, state)
        if new is None or not self._is_as_written():
            self._state = None
            line = stored.to_bytes(state) + b"\n"
            write_secret(self._path, line)
            self._size = len(line)
        else:
            self._append(stored.to_bytes(new) + b"\n")
        self._state = state

    def read(self) -> BankState | None:
        """The attempt that a former call or process kept; None without one. Invalid when the file is damaged."""
        if self._state is not None and self._is_as_written():
            return self._state
        self._state = None
        try:
            *lines, rest = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return None
        # The first line appears as a whole: one without its end is of a version that wrote no further ones.
        state = stored.from_bytes(BankState, lines[0] if lines else rest)
        for line in lines[1:]:
            step = _values(stored.from_bytes(Step, line))
            state = replace(state, **{name: value for name, value in step.items() if value})
        return state

    def erase(self) -> None:
        """The round is over."""
        self._state = None
        self._path.unlink(missing_ok=True)

    def _is_as_written(self) -> bool:
        """Not where a full disk took a part of a line, or where somebody else wrote."""
        try:
            return self._path.stat().st_size == self._size
        except FileNotFoundError:
            return False

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._size += len(line)


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
