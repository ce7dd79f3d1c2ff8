"""Files of a round that is over, for the next round's large contributions to be written over.

A file that is there already costs a quarter of the processor time of a new one, whose pages the system has to find
first; databases keep their log's files for the same reason.
"""

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO

from fedfraud.identity import sync_folder


class Spares:
    """Files without a name that counts; nothing reads what is in them."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for what is on its way in; a start takes away what is left there."""
        self._folder = folder
        self._files: list[Path] = []

    def fill(self, files: Sequence[Path]) -> None:
        """Takes these files, all of one folder, for those it had: no byte is kept for more than a round.

        Only while the disk has as much free besides: where it runs full, files that nobody needs are in the way.
        """
        self.clear()
        if not files or shutil.disk_usage(self._folder).free < sum(file.stat().st_size for file in files):
            return
        taken: list[Path] = []
        try:
            for file in files:
                taken.append(file.replace(self.path()))  # those before one that fails are known
            for folder in (self._folder, files[0].parent):  # after a loss of power no old name may show what comes in
                sync_folder(folder)
        except BaseException:
            _remove(taken)
            raise
        self._files = taken

    def open(self, path: Path) -> BinaryIO:
        """A file of this name in the folder to write from its start, a spare one if there is one; what is behind the
        end of what was written is to be cut off."""
        spare = self._take()
        if spare is None:
            return path.open("xb")
        try:
            return spare.replace(path).open("r+b")
        except BaseException:  # the process may have no descriptor left; nobody else would know of the file
            _remove([spare, path])
            raise

    def path(self) -> Path:
        """A name in the folder that does not count: another one each time."""
        return self._folder / f".{token_hex(8)}"

    def clear(self) -> None:
        """Takes them off the disk."""
        while (spare := self._take()) is not None:
            _remove([spare])

    def _take(self) -> Path | None:
        """One of them, for the caller alone: threads that write what arrives ask while the round's end clears."""
        try:
            return self._files.pop()
        except IndexError:
            return None


def _remove(files: Sequence[Path]) -> None:
    """One that does not go keeps no other from going."""
    for file in files:
        with suppress(OSError):
            file.unlink(missing_ok=True)
