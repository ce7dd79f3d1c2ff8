"""CSV and Parquet files as chunks, in memory that does not grow with the file."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from services.bank_client.findings import Broken, Fault, Findings
from services.bank_client.sources import CHUNK_ROWS, Chunk, places

_BLOCK_BYTES = 1 << 20
"""What is read of a file at a time; no line of a CSV may be longer."""
_TEXT_ROWS = 256
"""Rows of a Parquet file with texts that are decoded at a time: a few bytes of it may be a long cell in each."""
_TEXT_BYTES = 1 << 24
"""What they may add up to before they are a chunk."""
_MOST_SKIPPED = 1_000
_DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class ParquetFile:
    """One Parquet file."""

    path: Path

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    def chunks(self, names: Sequence[str], findings: Findings) -> Iterator[Chunk]:
        """Row group by row group."""
        before = 0
        try:
            # As it is set by default it would keep all that it has read, and read a column of a row group at once.
            with pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_BLOCK_BYTES) as file:
                places(self.name, file.schema_arrow.names, names)
                small = any(not pa.types.is_primitive(file.schema_arrow.field(name).type) for name in names)
                rows = _TEXT_ROWS if small else CHUNK_ROWS
                for columns in _gathered(file.iter_batches(rows, columns=list(names), use_threads=False), names):
                    chunk = Chunk(self.name, columns, before)
                    yield chunk
                    before += len(chunk)
        except pa.ArrowException as error:
            raise Broken("format", f"{self.name} must be a whole Parquet file: {_short(error)}") from error
        except OSError as error:
            raise Broken("readable", f"{self.name} must be readable: {_short(error)}") from error


def _gathered(batches: "Iterator[pa.RecordBatch]", names: Sequence[str]) -> "Iterator[dict[str, pa.Array]]":
    """The columns of as many batches as make a chunk, or as few as have many bytes."""
    held: list[list[pa.Array]] = []
    rows = size = 0
    for batch in batches:
        held.append([_plain(batch.column(name)) for name in names])
        rows, size = rows + len(batch), size + sum(column.nbytes for column in held[-1])
        if rows >= CHUNK_ROWS or size >= _TEXT_BYTES:
            yield _together(names, held)
            held, rows, size = [], 0, 0
    if held:
        yield _together(names, held)


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _together(names: Sequence[str], held: list[list[pa.Array]]) -> dict[str, pa.Array]:
    return {name: pa.concat_arrays(parts) for name, parts in zip(names, zip(*held, strict=True), strict=True)}


@dataclass(frozen=True)
class CsvFile:
    """One CSV file in UTF-8 with a header line."""

    path: Path
    delimiter: str = ","

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    def header(self) -> list[str]:
        """The names in the first line; refused when the file is no text or has another delimiter."""
        with self.path.open("rb") as file:
            start = file.read(_BLOCK_BYTES)
        if b"\0" in start:
            raise Broken("format", f"{self.name} must be a CSV file in UTF-8, got a NUL byte at {start.index(0):,}")
        if len(start) == _BLOCK_BYTES and b"\n" not in start:
            raise Broken(
                "format", f"{self.name} must have lines of less than {_BLOCK_BYTES:,} bytes, got a longer first one"
            )
        text = start.decode("utf-8-sig", errors="replace")
        if not text.strip() and len(start) < _BLOCK_BYTES:
            raise Broken("empty", f"{self.name} must have a line of column names and at least 1 row, got none")
        try:
            return [cell.strip() for cell in next(csv.reader(io.StringIO(text), delimiter=self.delimiter), [])]
        except csv.Error as error:
            raise Broken("format", f"{self.name} must begin with a line of column names: {error}") from error

    def chunks(self, names: Sequence[str], findings: Findings) -> Iterator[Chunk]:
        """Block by block, every cell as text; columns are found by their place, as a header may hold spaces."""
        try:
            header = self.header()
            found = self._places(header, names)
            rows = _Malformed(self.name, findings)
            try:
                yield from self._batches(names, found, len(header), rows)
            finally:
                rows.tell()
        except pa.ArrowException as error:
            raise Broken("format", f"{self.name} must be a CSV file in UTF-8: {_explained(error)}") from error
        except OSError as error:
            raise Broken("readable", f"{self.name} must be readable: {_short(error)}") from error

    def _batches(self, names: Sequence[str], found: Sequence[int], width: int, rows: "_Malformed") -> Iterator[Chunk]:
        made = [f"c{place}" for place in range(width)]
        options: dict[str, Any] = {
            "read_options": pa.csv.ReadOptions(
                use_threads=False, block_size=_BLOCK_BYTES, column_names=made, skip_rows_after_names=1
            ),
            "parse_options": pa.csv.ParseOptions(
                delimiter=self.delimiter, newlines_in_values=True, invalid_row_handler=rows.skip
            ),
            "convert_options": pa.csv.ConvertOptions(
                column_types={made[place]: pa.binary() for place in found},
                include_columns=[made[place] for place in found],
                strings_can_be_null=False,
            ),
        }
        before = 0
        with pa.csv.open_csv(self.path, **options) as reader:
            for batch in reader:
                if batch.num_rows:
                    chunk = Chunk(self.name, dict(zip(names, batch.columns, strict=True)), before, tuple(rows.numbers))
                    yield replace(chunk, columns={name: _decoded(chunk, name) for name in names})
                before += batch.num_rows

    def _places(self, header: list[str], names: Sequence[str]) -> list[int]:
        if len(header) == 1 and len(names) > 1:
            for other in _DELIMITERS:
                if other != self.delimiter and header[0].count(other) >= len(names) - 1:
                    raise Broken(
                        "delimiter",
                        f"{self.name} must have its cells separated by {self.delimiter!r}, its header has {other!r}",
                    )
        return places(self.name, header, names)


def _decoded(chunk: Chunk, name: str) -> pa.Array:
    """A column's bytes as text. Arrow would read text itself, and number a row within its block, with the header."""
    column = chunk.columns[name]
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        index = next(place for place, cell in enumerate(column) if not _is_text(cell.as_py()))
        got = column[index].as_py()[:40]
        rule = f"{chunk.file} must be a CSV file in UTF-8"
        raise Broken("format", f"{rule}: column {name!r} has {got!r} in row {chunk.row(index)}") from None


def _is_text(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


@dataclass
class _Malformed:
    """The rows of a CSV file that have more or fewer cells than its header."""

    file: str
    findings: Findings
    numbers: list[int] = field(default_factory=list)
    told: list[tuple[int, int, int]] = field(default_factory=list)

    def skip(self, row: "pa.csv.InvalidRow") -> str:
        """Called for each; a row of nothing but spaces is no row. The header counts as 1 in `row.number`."""
        number = (row.number or 0) - 1
        self.numbers.append(number)
        if row.text.strip():
            self.told.append((number, row.expected_columns, row.actual_columns))
        return "skip" if len(self.numbers) < _MOST_SKIPPED else "error"

    def tell(self) -> None:
        """Adds them to the findings."""
        for number, expected, actual in self.told:
            sentence = f"{self.file}: every row must have {expected} cells, got {actual} in row {number}"
            self.findings.add(Fault("cells", sentence, self.file, "", number))


def _explained(error: Exception) -> str:
    if "straddl" in str(error):
        return f"a line is longer than {_BLOCK_BYTES:,} bytes, or a quote is never closed"
    return re.sub(r"^(In CSV column #\d+: |CSV parse error: )?(Row #\d+: )?", "", _short(error))


def _short(error: Exception) -> str:
    """The first line, and no more of it than a log line takes."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
