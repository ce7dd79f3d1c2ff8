"""Queries of a bank's own: no message of a server's URL has its password, and a SQLite file is read and no more."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fedfraud.errors import Invalid
from services.bank_client import own_data
from services.bank_client.column_map import ColumnMap
from services.bank_client.findings import Findings
from services.bank_client.settings import Settings
from services.bank_client.sql import PostgresQuery, SqliteQuery

ROOT = Path(__file__).parents[3]
HOST = "127.0.0.1:1"  # nobody listens there
REACHED = "PostgreSQL must be reachable by the URL in DATASET_URL_FILE: "
UNREAD = "DATASET_URL_FILE must hold a URL that PostgreSQL's library can read, "
URLS = [
    (f"postgresql://u:s3cret@{HOST}/db", REACHED),
    (f"postgresql://u:s3c\u2100ret@{HOST}/db", REACHED),
    (f"postgresql://u:[s3cret]@{HOST}/db", REACHED),
    (f"postgresql://u:s3c[ret@{HOST}/db", REACHED),
    (f"postgresql://u:s3c?ret@{HOST}/db", REACHED),
    (f"postgresql://u:s3c#ret@{HOST}/db", REACHED),
    (f"postgresql://{HOST}/db?user=u&password=s3cret", REACHED),
    (f"postgresql://{HOST}/db?user=u&password=s3c%0Aret", REACHED),
    (f"postgresql://u:p%2Fs3cret@{HOST}/db?sslmode=p%2Fs3cret", REACHED),
    (f"postgresql://{HOST}/db?password=s3cret&sslpassword=p%20ret&target_session_attrs=p%20ret", REACHED),
    (f"postgresql://u:s3cr/et@{HOST}/db", UNREAD),
    (f"postgresql://u:123/s3cret@{HOST}/db", UNREAD),
    (f"postgresql://u:s3c@ret@{HOST}/db", UNREAD),
    (f"postgresql://u:s3 cret@{HOST}/db", UNREAD),
    (f"postgresql://u:%zzs3cret@{HOST}/db", UNREAD),
    (f"postgresql://u:s3cret%00@{HOST}/db", UNREAD),
    (f"postgresql://u:s3cret\0@{HOST}/db", UNREAD),
    (f"postgresql://u:s3cret\udc80@{HOST}/db", UNREAD),
    ("postgresql://u:s3cret@[127.0.0.1/db", UNREAD),
    ("postgresql://u:s3cret@127.0.0.1:x/db", UNREAD),
    (f"postgresql://u:s3cret@{HOST}/db?bogus=s3cret", UNREAD),
    (f"mysql://u:s3cret@{HOST}/db", "DATASET_URL_FILE must hold a URL that begins with postgresql://"),
]


@pytest.mark.parametrize(("url", "sentence"), URLS, ids=[ascii(url) for url, _ in URLS])
def test_no_form_of_a_url_brings_its_password_into_a_message(url: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        list(PostgresQuery(url, "SELECT 1 AS place").chunks(["place"], Findings()))
    assert str(refused.value).startswith(sentence)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None, "a traceback would have the cause"
    for part in ("s3c", "cret", "ret"):
        assert part not in str(refused.value)


@pytest.mark.parametrize("url", [URLS[1][0], URLS[2][0], URLS[6][0], URLS[10][0], URLS[19][0]], ids=ascii)
def test_what_a_bank_prints_has_no_password(tmp_path: Path, url: str) -> None:
    (tmp_path / "url").write_text(url + "\n", encoding="utf-8")
    settings = {"DATA_DIR": str(tmp_path), "DATASET_URL_FILE": str(tmp_path / "url"), "DATASET_QUERY": "SELECT 1"}
    words = [sys.executable, "-m", "services.bank_client", "check-data", "--contract", "cards"]
    ran = subprocess.run(
        words, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode in (1, 2)
    said = ran.stdout + ran.stderr
    assert "DATASET_URL_FILE" in said
    for word in ("s3c", "cret", "Traceback"):
        assert word not in said


def test_a_url_where_its_file_should_be_named_is_not_repeated(tmp_path: Path) -> None:
    given = Settings(data_dir=tmp_path, dataset_url_file=Path(URLS[0][0]), dataset_query="SELECT 1")
    with pytest.raises(Invalid, match=r"^DATASET_URL_FILE must be the path of a file that holds the URL, got a URL$"):
        own_data.source_of(given, ColumnMap("cards"))


@pytest.mark.parametrize(
    "query",
    [
        "ATTACH '{folder}/new.db' AS other",
        "ATTACH 'file:{folder}/new.db?mode=rwc' AS other",
        "VACUUM INTO '{folder}/new.db'",
        "PRAGMA query_only = off",
        "PRAGMA journal_mode = WAL",
        "CREATE TEMP TABLE other (a)",
        "INSERT INTO payment VALUES (2) RETURNING a",
        "DELETE FROM payment RETURNING a",
        "DROP TABLE payment",
    ],
)
def test_a_query_of_a_sqlite_file_can_do_nothing_but_read(tmp_path: Path, query: str) -> None:
    path = _database(tmp_path)
    before = path.read_bytes()
    with pytest.raises(Invalid, match=r"^bank\.db must answer DATASET_QUERY: (not authorized|authorization denied)"):
        list(SqliteQuery(path, query.format(folder=tmp_path)).chunks(["a"], Findings()))
    assert [each.name for each in tmp_path.iterdir()] == ["bank.db"]
    assert path.read_bytes() == before


def test_functions_views_and_recursion_are_reading(tmp_path: Path) -> None:
    query = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3) "
        "SELECT max(i, a) + (SELECT count(*) FROM seen) AS a FROM n, seen ORDER BY i"
    )
    (chunk,) = SqliteQuery(_database(tmp_path), query).chunks(["a"], Findings())
    assert chunk.columns["a"].to_pylist() == [2, 3, 4]


def _database(folder: Path) -> Path:
    with closing(sqlite3.connect(folder / "bank.db")) as database:
        database.execute("CREATE TABLE payment (a)")
        database.execute("INSERT INTO payment VALUES (1)")
        database.execute("CREATE VIEW seen AS SELECT abs(a) AS a FROM payment")
        database.commit()
    return folder / "bank.db"
