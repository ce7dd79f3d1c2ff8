"""What a journal file holds, read beside the aggregator that writes it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fedfraud.v1 import history_pb2


def entries(data_dir: Path, after: int = 0) -> list[history_pb2.Entry]:
    """The entries after this one of the journal in an aggregator's folder, in order."""
    with closing(sqlite3.connect(f"file:{data_dir / 'journal.sqlite3'}?mode=ro", uri=True)) as database:
        query = "SELECT entry FROM entries WHERE sequence > ? ORDER BY sequence"
        rows = database.execute(query, (after,)).fetchall()
    return [history_pb2.Entry.FromString(data) for (data,) in rows]


def events(data_dir: Path, kind: str) -> list[Any]:
    """The events of one kind, in order, for example "round_committed"."""
    return [getattr(entry, kind) for entry in entries(data_dir) if entry.WhichOneof("event") == kind]


def lines(data_dir: Path) -> list[tuple[int, str]]:
    """Every line's number and the chain's head after it, in hex."""
    with closing(sqlite3.connect(f"file:{data_dir / 'journal.sqlite3'}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT sequence, head FROM entries ORDER BY sequence").fetchall()
    return [(sequence, head.hex()) for sequence, head in rows]
