"""The journal's SQLite file: opened and checked from its first entry to its last, or read beside whoever writes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.chain import is_signed, next_head
from fedfraud.errors import Misconfigured
from fedfraud.identity import sync_folder
from fedfraud.v1 import history_pb2

SCHEMA_VERSION = 4
NAME = "journal.sqlite3"
"""Of the file in the aggregator's data folder."""


def open_file(path: Path, key: Ed25519PrivateKey, *, begun: bool) -> tuple[sqlite3.Connection, tuple[int, bytes]]:
    """For the one who writes, and the last entry's sequence with the chain's head after it. Made where there is none,
    unless it is `begun`: there was one before, and an empty one is not to take its place."""
    with _readable(path):
        if begun and not _is_begun(path):
            raise Misconfigured(
                f"a network that has begun must have its journal, {path} or its -wal file is gone or empty: put "
                "them back from a copy, or begin a new network in another folder"
            )
        database = _open(path)
        return database, _checked_head(database, key)


def read_lines(path: Path) -> Iterator[history_pb2.JournalLine]:
    """The lines of a journal's file, unchecked, beside an aggregator that may be writing it or after its end."""
    if not _has_bytes(path):
        raise Misconfigured(f"a journal must be a file that is not empty, {path} is none")
    with _readable(path):
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            _check_version(database, path)
            for entry, head, signature in database.execute(
                "SELECT entry, head, signature FROM entries ORDER BY sequence"
            ):
                yield history_pb2.JournalLine(entry=entry, head=head, signature=signature)
        finally:
            database.close()


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What SQLite says of a file that is no journal, or no longer, in our words."""
    try:
        yield
    except sqlite3.Error as error:
        raise Misconfigured(f"a journal must be a whole SQLite file that can be opened: {error}, {path}") from error


def _has_bytes(path: Path) -> bool:
    """Whether SQLite may open it: beside a file of one byte or none it removes what the -wal still holds."""
    return path.is_file() and path.stat().st_size > 1


def _is_begun(path: Path) -> bool:
    """Whether there is a journal at this path; nothing is made where there is none."""
    if not _has_bytes(path):
        return False
    with closing(sqlite3.connect(path)) as database:
        return bool(database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    # The connection moves to the writer thread after it was opened; no two threads use it at once.
    database = sqlite3.connect(path, check_same_thread=False)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    if database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        _check_version(database, path)
        return database
    with database:
        database.execute("BEGIN")  # table and version come together, whatever happens in between
        database.execute(
            "CREATE TABLE entries "
            "(sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL, head BLOB NOT NULL, signature BLOB NOT NULL)"
        )
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    sync_folder(path.parent)
    return database


def _check_version(database: sqlite3.Connection, path: Path) -> None:
    version = database.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA_VERSION:
        age = "an older fedfraud wrote it" if version < SCHEMA_VERSION else "a newer fedfraud wrote it"
        raise Misconfigured(
            f"a journal's schema version must be {SCHEMA_VERSION}, got {version} in {path}: {age}; "
            "it is not changed, finish it with that version or begin a new network in another folder"
        )


def _checked_head(database: sqlite3.Connection, key: Ed25519PrivateKey) -> tuple[int, bytes]:
    """The last entry's sequence and head, after the whole chain was followed and the last signature checked."""
    last, head, signed = 0, b"", b""
    for sequence, data, stored, signature in database.execute("SELECT * FROM entries ORDER BY sequence"):
        head = next_head(head, data)
        if sequence != last + 1 or head != stored:
            raise Misconfigured(f"journal entries must be whole and in order, got a fault at entry {sequence}")
        last, signed = sequence, signature
    if last and not is_signed(key.public_key(), head, signed):
        raise Misconfigured(f"a journal must be signed by this aggregator's key, entry {last} is not")
    return last, head
