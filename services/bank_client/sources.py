"""Where a bank's rows come from: files, folders of daily drops and SQL queries, all as chunks of Arrow columns.

Every source knows of each chunk which file it is of and where in it a row stands, so that a refusal can name both. None
holds more than a chunk.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from services.bank_client.findings import Broken, Findings

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_ROWS = 65_536


@dataclass(frozen=True)
class Chunk:
    """Some rows of one file. `before` rows of the file came in earlier chunks; `skipped` are the numbers of rows that
    no chunk has, because they have no cells. `numbers` are those of its rows, where some between were left out."""

    file: str
    columns: "dict[str, pa.Array]"
    before: int
    skipped: tuple[int, ...] = ()
    numbers: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def row(self, index: int) -> int:
        """The number in its file, from 1, of the row at this index, from 0."""
        if self.numbers:
            return self.numbers[index]
        number = self.before + index + 1
        for skipped in self.skipped:
            number += skipped <= number
        return number


class Source(Protocol):
    """Rows to read once, in order."""

    @property
    def name(self) -> str:
        """What it is called in a report: no folder, and no secret."""

    def chunks(self, names: Sequence[str], findings: Findings) -> "Iterator[Chunk]":
        """The columns of these names. A file without one of them, or that cannot be read, is an Invalid; what is wrong
        with single rows goes to the findings."""


def places(file: str, header: Sequence[str], names: Sequence[str]) -> list[int]:
    """Where in a header each name stands; refused when one does not, or stands there twice."""
    wrong = [name for name in dict.fromkeys(names) if header.count(name) != 1]
    if wrong:
        sentences = [f"{file} must have the column {n!r} once, got it {header.count(n)} times" for n in wrong]
        raise Broken("column", *sentences, columns=tuple(wrong))
    return [header.index(name) for name in names]


def file_source(path: Path, delimiter: str) -> Source:
    """A .csv or .parquet file, or a folder of them."""
    from services.bank_client.files import CsvFile, ParquetFile

    if path.is_dir():
        return Folder(path, delimiter)
    if path.suffix == ".csv":
        return CsvFile(path, delimiter)
    if path.suffix == ".parquet":
        return ParquetFile(path)
    raise Broken("format", f"a dataset must be a .parquet or .csv file, or a folder of them, got {path.name}")


@dataclass(frozen=True)
class Folder:
    """Daily drops: the files of a folder in the order of their names; names that begin with a dot are left alone."""

    path: Path
    delimiter: str

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.path.name

    def files(self) -> list[Path]:
        """The drops; refused when there is none, and when something else lies among them."""
        found = sorted(path for path in self.path.iterdir() if not path.name.startswith((".", "_")))
        if not found:
            raise Broken("empty", f"a folder of daily drops must have a .parquet or .csv file, {self.name} has none")
        for path in found:
            if path.suffix not in (".parquet", ".csv") or not path.is_file():
                raise Broken(
                    "format", f"a folder of daily drops must have .parquet and .csv files alone, got {path.name}"
                )
        return found

    def chunks(self, names: Sequence[str], findings: Findings) -> Iterator[Chunk]:
        """Those of all files. One that cannot be read is a finding, and the others are read on."""
        for path in self.files():
            try:
                yield from file_source(path, self.delimiter).chunks(names, findings)
            except Broken as error:
                for fault in error.faults(path.name):
                    findings.add(fault)
