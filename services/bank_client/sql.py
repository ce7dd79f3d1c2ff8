"""A SQL query as chunks: a SQLite file, opened read only, or PostgreSQL through a cursor on the server's side."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa

from fedfraud.errors import Invalid
from services.bank_client.findings import Broken, Findings
from services.bank_client.sources import CHUNK_ROWS, Chunk, places

_CONNECT_SECONDS = 10
_READ_ONLY = "-c default_transaction_read_only=on"


@dataclass(frozen=True)
class SqliteQuery:
    """The rows of a query on a SQLite file, which is not written to."""

    path: Path
    query: str

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.name

    def chunks(self, names: Sequence[str], findings: Findings) -> Iterator[Chunk]:
        """As many rows at a time as a chunk has."""
        if not self.path.is_file():
            raise Broken("readable", f"{self.name} must be a SQLite file, there is none in the bank's folder")
        try:
            uri = f"{self.path.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=_CONNECT_SECONDS)) as connection:
                connection.execute("PRAGMA query_only = on")
                cursor = connection.execute(self.query)
                found = places(self.name, [column[0] for column in cursor.description or ()], names)
                yield from _chunks(self.name, cursor, names, found)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise Broken("query", f"{self.name} must answer DATASET_QUERY: {error}") from error


@dataclass(frozen=True)
class PostgresQuery:
    """The rows of a query on a PostgreSQL server, in a session that only reads. The URL may hold a password: it is
    in no message."""

    url: str = field(repr=False)
    query: str

    def __post_init__(self) -> None:
        if not self.url.startswith(("postgresql://", "postgres://")):
            raise Invalid("DATASET_URL_FILE must hold a URL that begins with postgresql://, it does not")

    @property
    def name(self) -> str:
        """What a report calls it: no host, no user."""
        return "PostgreSQL"

    def chunks(self, names: Sequence[str], findings: Findings) -> Iterator[Chunk]:
        """The server keeps the result; a chunk of it is here at a time."""
        import psycopg

        try:
            with psycopg.connect(self.url, connect_timeout=_CONNECT_SECONDS, options=_READ_ONLY) as connection:
                connection.read_only = True
                with connection.cursor(name="fedfraud") as cursor:
                    cursor.itersize = CHUNK_ROWS
                    cursor.execute(self.query.rstrip().rstrip(";").encode())
                    found = places(self.name, [column.name for column in cursor.description or ()], names)
                    yield from _chunks(self.name, cursor, names, found)
        except psycopg.ProgrammingError as error:
            if error.sqlstate is None:  # of the URL itself, which the message then repeats
                raise Invalid("DATASET_URL_FILE must hold a URL that PostgreSQL's library can read") from None
            raise Broken("query", f"{self.name} must answer DATASET_QUERY: {self._clean(error)}") from None
        except psycopg.OperationalError as error:
            raise Broken(
                "readable", f"{self.name} must be reachable by the URL in DATASET_URL_FILE: {self._clean(error)}"
            ) from None
        except psycopg.Error as error:
            raise Broken("query", f"{self.name} must answer DATASET_QUERY: {self._clean(error)}") from None

    def _clean(self, error: Exception) -> str:
        """The first line of the driver's words, without the password should they have it."""
        first = (str(error) or type(error).__name__).splitlines()[0][:300]
        password = urlsplit(self.url).password or ""
        for secret in {password, unquote(password)} - {""}:
            first = first.replace(secret, "…")
        return first


def _chunks(file: str, cursor: Any, names: Sequence[str], found: Sequence[int]) -> Iterator[Chunk]:  # noqa: ANN401  # of either driver
    before = 0
    while rows := cursor.fetchmany(CHUNK_ROWS):
        yield Chunk(
            file, {name: _array([row[i] for row in rows]) for name, i in zip(names, found, strict=True)}, before
        )
        before += len(rows)


def _array(values: list[Any]) -> pa.Array:
    """Arrow's own type where the values have one; text where they are mixed, as SQLite allows."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else str(value) for value in values], pa.string())
