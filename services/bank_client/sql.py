"""A SQL query as chunks: a SQLite file, opened read only, or PostgreSQL through a cursor on the server's side."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from fedfraud.errors import Invalid
from services.bank_client.findings import Broken, Findings
from services.bank_client.sources import CHUNK_ROWS, Chunk, places

if TYPE_CHECKING:
    import psycopg

_CONNECT_SECONDS = 10
_READ_ONLY = "-c default_transaction_read_only=on"
_READS = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE))
_SECRETS = ("password", "sslpassword")
_UNREADABLE = "DATASET_URL_FILE must hold a URL that PostgreSQL's library can read, with its password percent-encoded"


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
                connection.set_authorizer(_authorized)  # ATTACH and VACUUM INTO would make files all the same
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

        parameters = self._parameters()
        try:
            with _connected(parameters) as connection:
                connection.read_only = True
                with connection.cursor(name="fedfraud") as cursor:
                    cursor.itersize = CHUNK_ROWS
                    cursor.execute(self.query.rstrip().rstrip(";").encode())
                    found = places(self.name, [column.name for column in cursor.description or ()], names)
                    yield from _chunks(self.name, cursor, names, found)
        except psycopg.OperationalError as error:
            rule = f"{self.name} must be reachable by the URL in DATASET_URL_FILE"
            raise Broken("readable", f"{rule}: {_clean(error, parameters)}") from None
        except psycopg.Error as error:
            raise Broken("query", f"{self.name} must answer DATASET_QUERY: {_clean(error, parameters)}") from None

    def _parameters(self) -> dict[str, Any]:
        """What the URL says, as the driver reads it; of one that cannot be read not a letter is repeated."""
        from psycopg.conninfo import conninfo_to_dict

        try:
            found: dict[str, Any] = dict(conninfo_to_dict(self.url))
        except Exception:  # whatever it is, its words may hold the password
            raise Invalid(_UNREADABLE) from None
        # Where a password has an unescaped / or @, parts of it are taken for these: messages would then name them.
        shifted = any("@" in str(found.get(name, "")) for name in ("host", "dbname"))
        if shifted or not str(found.get("port", "0")).replace(",", "").isdigit():
            raise Invalid(_UNREADABLE)
        return {**found, "connect_timeout": _CONNECT_SECONDS, "options": _READ_ONLY}


def _connected(parameters: dict[str, Any]) -> "psycopg.Connection[Any]":
    import psycopg

    try:
        return psycopg.connect(**parameters)
    except psycopg.Error:
        raise
    except Exception:  # of what the URL holds, a NUL for one
        raise Invalid(_UNREADABLE) from None


def _clean(error: Exception, parameters: dict[str, Any]) -> str:
    """The first line of the driver's words, without the password should they have it."""
    words = str(error) or type(error).__name__
    secrets = {str(parameters[name]) for name in _SECRETS if parameters.get(name)}
    for secret in sorted(secrets | {quote(each, safe="") for each in secrets}, key=len, reverse=True):
        words = words.replace(secret, "…")
    return (words.splitlines() or [""])[0][:300]


def _authorized(action: int, *_: str | None) -> int:
    """What a query on a SQLite file may do: select, read, call functions and recur."""
    return sqlite3.SQLITE_OK if action in _READS else sqlite3.SQLITE_DENY


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
