"""A bank's own rows from files, folders and queries: what comes out, and every rule with file, column and row."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedfraud.contract import contract_named, feature_table
from fedfraud.errors import Invalid
from fedfraud.transactions import BAF
from services.bank_client import files, sources
from services.bank_client.column_map import ColumnMap
from services.bank_client.own_data import read
from tests.services.bank_client.own_rows import GOOD, NOW, PLAIN, TABLE, own, sentences


def test_a_folder_of_daily_drops_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    drops = tmp_path / "drops"
    drops.mkdir()
    for day, amount in (("2024-01-02", 2.0), ("2024-01-01", 1.0), ("2024-01-10", 3.0)):
        pq.write_table(pa.table({"amount": [amount], "hour": [1], "fraud": [0]}), drops / f"{day}.parquet")
    (drops / "2024-01-03.csv").write_text("hour,fraud,amount\n5,1,2.5\n")
    (drops / ".2024-01-11.parquet.tmp").write_text("half of a drop that is being written")
    rows = own(tmp_path, dataset="drops").table()
    assert rows.features.tolist() == [[1.0, 1.0], [2.0, 1.0], [2.5, 5.0], [3.0, 1.0]]
    assert rows.labels.tolist() == [False, False, True, False]


def test_rows_and_map_may_lie_outside_the_banks_folder(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("amount,hour,verdict\n1,2,0\n3,4,1\n")
    (tmp_path / "map.toml").write_text('contract = "table"\n[columns]\nfraud = "verdict"\n')
    rows, column_map = str(tmp_path / "rows.csv"), str(tmp_path / "map.toml")
    found = own(tmp_path / "the bank's own", dataset=rows, column_map=column_map)
    assert found.table().features.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_the_drop_that_is_wrong_is_named_and_the_others_are_read_on(tmp_path: Path) -> None:
    drops = tmp_path / "drops"
    drops.mkdir()
    (drops / "1.csv").write_text(GOOD)
    (drops / "2.parquet").write_bytes(b"PAR1 and no more")
    (drops / "3.csv").write_text("amount,hour,fraud\n1,2,0\nx,4,1\n")
    (drops / "4.csv").write_text("amount;hour;fraud\n1;2;0\n")
    found = own(tmp_path, dataset="drops")
    assert [(f.rule, f.file, f.column, f.row) for f in found.report.findings.faults] == [
        ("format", "2.parquet", "", 0),
        ("finite", "3.csv", "amount", 2),
        ("delimiter", "4.csv", "", 0),
    ]
    assert found.rows is None


def test_a_query_of_a_sqlite_file_gives_the_rows_and_cannot_write(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bank.sqlite3")) as database:
        database.execute("CREATE TABLE payment (amount, h, fraud)")
        database.executemany("INSERT INTO payment VALUES (?, ?, ?)", [(1.5, 2, 0), ("3", 4, 1)])
        database.commit()
    query = "SELECT amount, h AS hour, fraud FROM payment ORDER BY h"
    assert own(tmp_path, dataset="bank.sqlite3", dataset_query=query).table().features.tolist() == [[1.5, 2], [3, 4]]
    (fault,) = sentences(own(tmp_path, dataset="bank.sqlite3", dataset_query="DELETE FROM payment RETURNING *"))
    assert fault == "bank.sqlite3 must answer DATASET_QUERY: not authorized"
    (fault,) = sentences(own(tmp_path, dataset="none.sqlite3", dataset_query=query))
    assert fault == "none.sqlite3 must be a SQLite file, there is none in the bank's folder"
    assert not (tmp_path / "none.sqlite3").exists()
    found = own(tmp_path, dataset="bank.sqlite3", dataset_query="SELECT amount, 'x' AS hour, fraud FROM payment")
    assert sentences(found)[0] == "bank.sqlite3: column 'hour' must hold finite numbers, got 'x' in row 1"
    (fault,) = sentences(own(tmp_path, dataset="bank.sqlite3", dataset_query="SELECT amount, fraud FROM payment"))
    assert fault == "bank.sqlite3 must have the column 'hour' once, got it 0 times"


@pytest.mark.parametrize(("end", "warned"), [("", 1), (" oRdEr\n bY h", 0)])
def test_a_table_by_a_query_without_an_order_is_warned_of(
    tmp_path: Path, end: str, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(tmp_path / "bank.sqlite3")) as database:
        database.execute("CREATE TABLE payment (amount, h, fraud)")
        database.execute("INSERT INTO payment VALUES (1.5, 2, 0)")
        database.commit()
    query = "SELECT amount, h AS hour, fraud FROM payment" + end  # noqa: S608  # constants
    assert sentences(own(tmp_path, dataset="bank.sqlite3", dataset_query=query)) == []
    assert [record.message.startswith("a query without ORDER BY") for record in caplog.records] == [True] * warned


def test_every_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("hour\n1\n")
    found = own(tmp_path, dataset="d.csv")
    assert [(f.rule, f.column) for f in found.report.findings.faults] == [("column", "amount"), ("column", "fraud")]


def test_rows_are_numbered_in_their_file_over_all_chunks_and_empty_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [f"{i},1,{i % 2}" for i in range(1, 200_001)]
    rows[4] = " "  # no row
    rows[9] = "10,1"
    rows[149_999] = "x,1,0"
    (tmp_path / "d.csv").write_text("amount,hour,fraud\n" + "\n".join(rows) + "\n")
    assert sorted((f.rule, f.row) for f in own(tmp_path, dataset="d.csv").report.findings.faults) == [
        ("cells", 10),
        ("finite", 150_000),
    ]
    monkeypatch.setattr(files, "CHUNK_ROWS", 7)
    amounts = [float(i) for i in range(100)]
    amounts[61] = float("nan")
    pq.write_table(pa.table({"amount": amounts, "hour": [1] * 100, "fraud": [0] * 100}), tmp_path / "d.parquet")
    assert [f.row for f in own(tmp_path, dataset="d.parquet").report.findings.faults] == [62]


def test_a_rule_that_many_rows_break_names_five_and_counts_the_others(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("amount,hour,fraud\n" + "1,x,2\n" * 100_000)
    found = own(tmp_path, dataset="d.csv")
    assert dict(found.report.findings.counts) == {("finite", "hour"): 100_000, ("label", "fraud"): 100_000}
    assert [f.row for f in found.report.findings.faults] == [1, 2, 3, 4, 5] * 2
    with pytest.raises(Invalid, match=r"got 'x' in row 1 \(and 199,999 more; `check-data` lists them\)$"):
        found.report.findings.refuse()
    told = json.loads(found.report.json())
    assert (told["passed"], told["contract"], told["figures"]["rows"]) == (False, "table", 100_000)
    assert told["broken"] == [
        {"rule": "finite", "column": "hour", "count": 100_000},
        {"rule": "label", "column": "fraud", "count": 100_000},
    ]
    assert told["faults"][0] == {
        "rule": "finite",
        "sentence": "d.csv: column 'hour' must hold finite numbers, got 'x' in row 1",
        "file": "d.csv",
        "column": "hour",
        "row": 1,
    }
    text = found.report.text()
    assert "REFUSED finite, column hour: 100,000\n    d.csv: column 'hour' must hold finite numbers" in text
    assert "    and 99,995 more\n" in text
    assert text.endswith("refused: the bank would not join")


def test_a_code_for_missing_becomes_zero_and_a_feature_that_says_so(tmp_path: Path) -> None:
    contract = contract_named("baf")
    values: dict[str, list[float]] = {f.name: [1.0] * 40 for f in BAF if not f.name.endswith("_known")}
    values["bank_months_count"] = [-1.0, 5.0] * 20
    values["credit_risk_score"] = [-120.0, 300.0] * 20  # below zero, and known
    pq.write_table(
        pa.table({**values, "fraud_bool": [0, 1] * 20, "device_fraud_count": [0] * 40}), tmp_path / "b.parquet"
    )
    found = own(tmp_path, contract, dataset="b.parquet", data_preset="baf")
    rows, names = found.table(), [feature.name for feature in BAF]
    assert rows.features[:2, names.index("bank_months_count")].tolist() == [0.0, 5.0]
    assert rows.features[:2, names.index("bank_months_count_known")].tolist() == [0.0, 1.0]
    assert rows.features[:2, names.index("session_length_in_minutes_known")].tolist() == [1.0, 1.0]
    assert rows.features[:2, names.index("credit_risk_score")].tolist() == [-120.0, 300.0]
    assert found.report.left_out == {"device_fraud_count": "it says or follows from the label"}


@pytest.mark.parametrize(
    ("frauds", "legitimate", "expected"),
    [
        (20, 1, []),
        (19, 1, ["d.csv must have at least 20 rows with fraud 1, got 19"]),
        (20, 0, ["d.csv must have rows of both classes, got none with fraud 0"]),
        (0, 5, ["d.csv must have at least 20 rows with fraud 1, got 0"]),
    ],
)
def test_too_few_frauds_or_one_class_are_refused_where_the_contract_says_so(
    tmp_path: Path, frauds: int, legitimate: int, expected: list[str]
) -> None:
    (tmp_path / "d.csv").write_text("amount,hour,fraud\n" + "1,1,1\n" * frauds + "1,1,0\n" * legitimate)
    strict = feature_table("strict", PLAIN, least_frauds=20)
    assert sentences(own(tmp_path, strict, dataset="d.csv")) == expected
    assert sentences(own(tmp_path, dataset="d.csv")) == []  # the tutorial has banks of one class


def test_ids_of_a_table_are_checked_where_the_map_names_them(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("key,amount,hour,fraud\n7,1,1,0\n8,1,1,1\n7,1,1,1\n")
    (tmp_path / "m.toml").write_text('[columns]\ntransaction_id = "key"\n')
    assert sentences(own(tmp_path, dataset="d.csv", column_map="m.toml")) == [
        "d.csv: transaction_id must be unique, the id in row 3 came before"
    ]


def test_what_the_file_cannot_be_is_told_once_a_column(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"amount": pa.array([b"1", b"2"]), "hour": [1, 2], "fraud": [0, 1]}), tmp_path / "d.parquet"
    )
    assert sentences(own(tmp_path, dataset="d.parquet")) == ["d.parquet: column 'amount' must hold numbers, got binary"]


def test_a_source_is_read_without_settings_too(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(GOOD)
    found = read(sources.file_source(tmp_path / "d.csv", ","), TABLE, ColumnMap("table"), NOW)
    assert found.table().fraud_count == 1
