"""Banks with rows of their own in a network of real processes: where they come from changes no bit, and a bank whose
rows are refused never joins."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv
import pytest
from psycopg import sql

from fedfraud.contract import contract_named
from fedfraud.errors import Invalid
from fedfraud.transactions import TUTORIAL
from services.bank_client import own_data
from services.bank_client.column_map import ColumnMap
from services.bank_client.findings import Findings
from services.bank_client.settings import Settings
from services.bank_client.sql import PostgresQuery
from simulation import tutorial
from tests.federation.hands import pair
from tests.federation.networks import FINISHED, Network, network
from tests.federation.oracle import model_sha256
from tests.federation.postgres import ESCAPED, PASSWORD, binaries, postgres

ROOT = Path(__file__).parents[2]
ROUNDS, SEED = 1, 7
NAMES = [feature.name for feature in TUTORIAL]
QUERY = f"SELECT {', '.join(NAMES)}, verdict FROM payment ORDER BY place"  # noqa: S608  # constants
MAP = 'contract = "tutorial"\n[columns.fraud]\ncolumn = "verdict"\nvalues = { fraud = 1, fine = 0 }\n'


@pytest.fixture(scope="module")
def server(lacking: Callable[[str], NoReturn]) -> Iterator[str]:
    """A server with the shard of slot 1 in it, labels as words."""
    programs = binaries()
    if programs is None:
        lacking("a PostgreSQL server: no bank had its rows in one")
    features, labels = tutorial.shard(SEED, 1)
    with postgres(programs) as url, psycopg.connect(url) as connection:
        columns = sql.SQL(", ").join(sql.SQL("{} double precision").format(sql.Identifier(name)) for name in NAMES)
        connection.execute(sql.SQL("CREATE TABLE payment (place int, {}, verdict text)").format(columns))
        with connection.cursor().copy("COPY payment FROM STDIN") as copy:
            for place, (row, label) in enumerate(zip(features.tolist(), labels.tolist(), strict=True)):
                copy.write_row([place, *row, "fraud" if label else "fine"])
        connection.execute("CREATE SEQUENCE counter")
        connection.commit()
        yield url


def secret(folder: Path, url: str) -> Path:
    path = folder / "url"
    path.write_text(url + "\n")
    return path


def write_csv(path: Path, slot: int) -> None:
    features, labels = tutorial.shard(SEED, slot)
    columns = {name: features[:, place] for place, name in enumerate(NAMES)}
    path.parent.mkdir(parents=True)
    pa.csv.write_csv(pa.table({"note": ["a;b"] * len(labels), **columns, "fraud": labels.astype(int)}), path)


def test_rows_from_postgresql_csv_and_parquet_give_the_bits_of_a_plain_computation(tmp_path: Path, server: str) -> None:
    url = secret(tmp_path, server)
    (tmp_path / "bank-01").mkdir()
    (tmp_path / "bank-01" / "map.toml").write_text(MAP)
    write_csv(tmp_path / "bank-02" / "rows.csv", 2)
    with network(tmp_path, autostart=True, expected_banks=3, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        present.start_bank(1, dataset_url_file=url, dataset_query=QUERY, column_map="map.toml")
        present.start_bank(2, dataset="rows.csv")
        present.start_bank(3)
        finished = present.run_ended()
        log = present.log_file("bank-01").read_text()
    assert finished.outcome == FINISHED
    assert finished.model_sha256.hex() == model_sha256("default", ROUNDS, 3, SEED)
    assert PASSWORD not in log
    assert ESCAPED not in log


def test_a_bank_whose_rows_are_refused_never_joins_and_the_others_go_on(tmp_path: Path) -> None:
    write_csv(tmp_path / "bank-04" / "rows.csv", 4)
    text = (tmp_path / "bank-04" / "rows.csv").read_text().splitlines()
    cells = text[3].split(",")
    text[3] = ",".join([*cells[:5], "unknown", *cells[6:]])
    (tmp_path / "bank-04" / "rows.csv").write_text("\n".join(text))
    with network(tmp_path, autostart=True, expected_banks=3, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        present.start_bank(1)
        present.start_bank(2)
        present.start_bank(3)
        present.start_bank(4, dataset="rows.csv")
        assert present.exit_status("bank-04", 60.0) == 2
        finished = present.run_ended()
        log = present.log_file("bank-04").read_text()
        leases = {event.seat for event in present.events("lease_granted")}
    assert "reason=rows.csv: column 'feature_05' must hold finite numbers, got 'unknown' in row 3\n" in log
    assert leases == {"bank-01", "bank-02", "bank-03"}
    assert finished.outcome == FINISHED
    assert finished.model_sha256.hex() == model_sha256("default", ROUNDS, 3, SEED)


def rows_of(url: str, query: str) -> int:
    source = PostgresQuery(url, query)
    return sum(len(chunk) for chunk in source.chunks(["place"], Findings()))


def test_a_query_comes_in_chunks_of_a_session_that_cannot_write(server: str) -> None:
    assert rows_of(server, "SELECT n AS place FROM generate_series(1, 200000) n;") == 200_000
    with pytest.raises(Invalid, match=r"^PostgreSQL must answer DATASET_QUERY: .* in a read-only transaction$"):
        rows_of(server, "SELECT nextval('counter') AS place")
    with pytest.raises(Invalid, match=r"^PostgreSQL must answer DATASET_QUERY: relation \"nowhere\" does not exist$"):
        rows_of(server, "SELECT * FROM nowhere")
    with pytest.raises(Invalid, match=r"^PostgreSQL must have the column 'place' once, got it 0 times$"):
        rows_of(server, "SELECT 1 AS other")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (ESCAPED, "wrong", "PostgreSQL must be reachable by the URL in DATASET_URL_FILE: "),
        ("@/postgres", "@/nowhere", "PostgreSQL must be reachable by the URL in DATASET_URL_FILE: "),
        ("?host=", "?horst=", "DATASET_URL_FILE must hold a URL that PostgreSQL's library can read"),
        (
            f"bank:{ESCAPED}@",
            f"bank:{ESCAPED}@[",
            "DATASET_URL_FILE must hold a URL that PostgreSQL's library can read",
        ),
        ("postgresql://", "mysql://", "DATASET_URL_FILE must hold a URL that begins with postgresql://"),
    ],
)
def test_a_server_that_cannot_be_reached_is_told_without_the_password(
    server: str, old: str, new: str, sentence: str
) -> None:
    assert old in server
    with pytest.raises(Invalid) as refused:
        rows_of(server.replace(old, new), "SELECT 1 AS place")
    assert str(refused.value).startswith(sentence)
    for word in (PASSWORD, ESCAPED):
        assert word not in str(refused.value) + repr(PostgresQuery("postgresql://" + server, ""))


def test_a_url_file_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, dataset_url_file=tmp_path / "url", dataset_query="SELECT 1")
    with pytest.raises(Invalid, match=r"^DATASET_URL_FILE must be readable: FileNotFoundError, .*/url$"):
        own_data.source_of(settings, ColumnMap("tutorial"))


def command(present: Network, number: int, *words: str) -> "tuple[list[str], dict[str, str]]":
    """A bank's command as an engineer types it, with the bank's settings."""
    settings = {
        "AGGREGATOR": present.address,
        "ENROLMENT": present.enrolment_address,
        "JOIN_DIR": str(present.join_dir / "bank"),
        "DATA_DIR": str(present.run_dir / f"bank-{number:02d}"),
        "AGGREGATION": "plain",
        "DATASET": "rows.csv",
        "DATA_PRESET": "ulb_creditcard",
    }
    return [sys.executable, "-m", "services.bank_client", *words], settings


def test_banks_that_nobody_simulates_enrol_check_their_data_and_train_by_a_preset(tmp_path: Path) -> None:
    header = ",".join(["Time", *(f"V{i}" for i in range(1, 29)), "Amount", "Class"])
    draws = np.random.default_rng(1)
    settings = {"simulation": False, "population": "ulb_creditcard", "expected_banks": 3, "rounds": 1}
    with network(tmp_path, autostart=True, **settings) as present, contextlib.ExitStack() as stack:
        present.start_aggregator()
        for number in (1, 2, 3):
            folder = tmp_path / f"bank-{number:02d}"
            folder.mkdir()
            labels = np.arange(300) % 10 == 0
            rows = np.column_stack([np.arange(300), draws.normal(size=(300, 29)) + labels[:, None], labels])
            np.savetxt(folder / "rows.csv", rows, delimiter=",", header=header, comments="", fmt="%.6g")
            for what in ("enrol", "check-data"):
                words, environment = command(present, number, what)
                subprocess.run(words, env=environment, cwd=ROOT, check=True, capture_output=True, timeout=60)
            words, environment = command(present, number, "serve")
            log = stack.enter_context((folder / "log").open("wb"))
            process = subprocess.Popen(words, env=environment, cwd=ROOT, stdout=log, stderr=log)
            stack.enter_context(ended(process))
        finished = present.run_ended()
        (started,) = present.events("run_started")
    assert finished.outcome == FINISHED
    assert started.manifest.population == "ulb_creditcard"
    assert [feature.name for feature in started.manifest.features][::28] == ["v01", "amount"]


@contextlib.contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Ends it with the test."""
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


async def test_a_welcome_has_the_hash_of_the_populations_contract(tmp_path: Path) -> None:
    async with pair(tmp_path) as together:
        assert together.banks[1].welcome.contract_sha256 == contract_named("tutorial").sha256
