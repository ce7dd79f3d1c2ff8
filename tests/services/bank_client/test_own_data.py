"""A bank's own rows from files, folders and queries: what comes out, and every rule with file, column and row."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedfraud.contract import CARDS, Contract, contract_named, feature_table
from fedfraud.errors import Invalid
from fedfraud.transactions import BAF, Feature
from services.bank_client import files, sources
from services.bank_client.column_map import ColumnMap
from services.bank_client.findings import Findings
from services.bank_client.own_data import OwnData, load, read, read_table
from services.bank_client.settings import Settings
from services.bank_client.transactions import NEVER, UNKNOWN

ROOT = Path(__file__).parents[3]
NOW = 1_600_000_000  # 2020-09-13
PLAIN = (Feature("amount", "euro", 0.01), Feature("hour", "hour", 1.0))
TABLE = feature_table("table", PLAIN)
GOOD = "amount,hour,fraud\n1,2,0\n3,4,1\n"
PAYMENTS = """transaction_id,time,customer_id,merchant_id,amount,fraud,fraud_known_at
b,2018-05-02 10:00:00,anna,shop,12.34,0,2018-05-09 10:00:00
c,2018-05-02 10:00:00,ben,bar,0.1,1,2018-05-04 00:00:00
a,2018-05-01T23:59:59Z,anna,bar,7,1,2018-05-08 23:59:59
d,2018-05-03,anna,bar,7,,
"""


def own(folder: Path, contract: Contract = TABLE, **settings: object) -> OwnData:
    return load(Settings(data_dir=folder, **settings), contract, NOW)  # type: ignore[arg-type]  # checked by pydantic


def sentences(found: OwnData) -> list[str]:
    return [fault.sentence for fault in found.report.findings.faults]


def payments(folder: Path, text: str = PAYMENTS, **settings: object) -> OwnData:
    (folder / "p.csv").write_text(text)
    return own(folder, CARDS, dataset="p.csv", **settings)


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


def test_a_folder_that_is_empty_or_has_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drops").mkdir()
    assert sentences(own(tmp_path, dataset="drops")) == [
        "a folder of daily drops must have a .parquet or .csv file, drops has none"
    ]
    (tmp_path / "drops" / "notes.txt").write_text("")
    assert sentences(own(tmp_path, dataset="drops")) == [
        "a folder of daily drops must have .parquet and .csv files alone, got notes.txt"
    ]


def test_a_query_of_a_sqlite_file_gives_the_rows_and_cannot_write(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "bank.sqlite3")) as database:
        database.execute("CREATE TABLE payment (amount, h, fraud)")
        database.executemany("INSERT INTO payment VALUES (?, ?, ?)", [(1.5, 2, 0), ("3", 4, 1)])
        database.commit()
    query = "SELECT amount, h AS hour, fraud FROM payment ORDER BY h"
    assert own(tmp_path, dataset="bank.sqlite3", dataset_query=query).table().features.tolist() == [[1.5, 2], [3, 4]]
    (fault,) = sentences(own(tmp_path, dataset="bank.sqlite3", dataset_query="DELETE FROM payment RETURNING *"))
    assert fault == "bank.sqlite3 must answer DATASET_QUERY: attempt to write a readonly database"
    (fault,) = sentences(own(tmp_path, dataset="none.sqlite3", dataset_query=query))
    assert fault == "none.sqlite3 must be a SQLite file, there is none in the bank's folder"
    assert not (tmp_path / "none.sqlite3").exists()
    found = own(tmp_path, dataset="bank.sqlite3", dataset_query="SELECT amount, 'x' AS hour, fraud FROM payment")
    assert sentences(found)[0] == "bank.sqlite3: column 'hour' must hold finite numbers, got 'x' in row 1"
    (fault,) = sentences(own(tmp_path, dataset="bank.sqlite3", dataset_query="SELECT amount, fraud FROM payment"))
    assert fault == "bank.sqlite3 must have the column 'hour' once, got it 0 times"


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


def test_payments_are_sorted_by_time_in_cents_and_seconds(tmp_path: Path) -> None:
    found = payments(tmp_path)
    assert sentences(found) == []
    made = found.payments
    assert made is not None
    start = 1_525_132_800  # date -d 2018-05-01T00:00Z +%s
    assert (made.time - start).tolist() == [86_399, 122_400, 122_400, 172_800]
    assert made.amount.tolist() == [700, 1234, 10, 700]
    assert [made.customer_ids[code] for code in made.customer] == ["anna", "anna", "ben", "anna"]
    assert [made.merchant_ids[code] for code in made.merchant] == ["bar", "shop", "bar", "bar"]
    assert made.label.tolist() == [1, 0, 1, UNKNOWN]
    assert (made.known_at[:3] - start).tolist() == [691_199, 727_200, 259_200]
    assert made.known_at[3] == NEVER
    assert [made.time.dtype, made.label.dtype, made.customer.dtype] == [np.int64, np.int8, np.int64]
    figures = found.report.figures
    assert {name: figures[name] for name in ("rows", "frauds", "legitimate", "unknown_labels", "out_of_order")} == {
        "rows": 4,
        "frauds": 2,
        "legitimate": 1,
        "unknown_labels": 1,
        "out_of_order": 1,
    }


def test_payments_of_one_second_are_in_the_order_of_their_ids_where_these_are_numbers(tmp_path: Path) -> None:
    head = "transaction_id,time,customer_id,merchant_id,amount,fraud,fraud_known_at\n"
    text = head + "".join(f"{i},2018-05-02,c,m,{i},{i % 3 and 1},2018-05-03\n" for i in (10, 9, 2))
    made = payments(tmp_path, text).payments
    assert made is not None
    assert made.amount.tolist() == [200, 900, 1000]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (",12.34,", ",-12.34,", "column 'amount' must be at least 0 euro, got '-12.34' in row 1"),
        (",12.34,", ",1e10,", "column 'amount' must be at most 1e+09 euro, got '1e10' in row 1"),
        (",12.34,", ",,", "column 'amount' must hold finite numbers, got nothing in row 1"),
        ("ben", "", "column 'customer_id' must hold an id, got nothing in row 2"),
        ("c,2018", "b,2018", "transaction_id must be unique, the id in row 2 came before"),
        (
            "2018-05-03",
            "yesterday",
            "column 'time' must hold times such as 2018-04-01 12:30:00, got 'yesterday' in row 4",
        ),
        (
            "2018-05-03",
            "2020-09-14",
            "column 'time' must not be later than now, 2020-09-13 12:26:40, got '2020-09-14' in row 4",
        ),
        (
            "2018-05-04 00:00:00",
            "2021-01-01 00:00:00",
            "column 'fraud_known_at' must not be later than now, 2020-09-13 12:26:40, "
            "got '2021-01-01 00:00:00' in row 2",
        ),
        (
            "2018-05-04 00:00:00",
            "2018-05-02 09:59:59",
            "column 'fraud_known_at' must not be before the payment, got '2018-05-02 09:59:59' in row 2",
        ),
        (
            ",2018-05-04 00:00:00",
            ",",
            "column 'fraud_known_at' must hold a time where fraud is known, got nothing in row 2",
        ),
        (",1,2018-05-04", ",2,2018-05-04", "column 'fraud' must be 0, 1 or empty, got '2' in row 2"),
    ],
)
def test_payments_against_the_contract_are_refused_by_file_column_row_and_rule(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in PAYMENTS
    assert f"p.csv: {expected}" in sentences(payments(tmp_path, PAYMENTS.replace(old, new)))


def test_payments_of_another_year_than_the_plans_are_refused(tmp_path: Path) -> None:
    assert sentences(payments(tmp_path, PAYMENTS.replace("2018-", "2017-"))) == [
        "p.csv must have payments from 2018-04-01 to 2018-05-29, the days of the feature plan, "
        "got some from 2017-05-01 to 2017-05-03"
    ]


@pytest.mark.parametrize("kind", ["nul", "header", "rows", "quote"])
def test_ten_gigabytes_without_a_line_are_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    start = {"nul": b"", "header": b"amount,hour,fraud\n", "rows": GOOD.encode(), "quote": GOOD.encode() + b'"'}[kind]
    with (tmp_path / "d.csv").open("wb") as file:
        file.write(start)
        file.truncate(10 << 30)
    code = (
        "import sys, resource; from pathlib import Path; from tests.services.bank_client.test_own_data import PLAIN\n"
        "from services.bank_client.own_data import read_table\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_table(Path(sys.argv[1]), PLAIN)\n"
        "except Exception as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "d.csv")], cwd=ROOT, capture_output=True, text=True, check=True
    )
    sentence, kilobytes = ran.stdout.strip().splitlines()
    assert sentence.startswith("d.csv must be a CSV file in UTF-8")
    assert int(kilobytes) < 200_000


def test_what_the_file_cannot_be_is_told_once_a_column(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"amount": pa.array([b"1", b"2"]), "hour": [1, 2], "fraud": [0, 1]}), tmp_path / "d.parquet"
    )
    assert sentences(own(tmp_path, dataset="d.parquet")) == ["d.parquet: column 'amount' must hold numbers, got binary"]


def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"amount": [1.0] * 1000, "hour": [1] * 1000, "fraud": [0] * 1000}), path)
    whole = path.read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        (fault,) = sentences(own(tmp_path, dataset="d.parquet"))
        assert fault.startswith("d.parquet must be a whole Parquet file: ")


def test_rows_of_payments_are_no_table_and_the_first_fault_is_raised(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^rows must be of a feature table, got those of cards$"):
        payments(tmp_path).table()
    (tmp_path / "d.csv").write_text("amount,hour,fraud\n1,2,3\n")
    with pytest.raises(Invalid, match=r"^d.csv: column 'fraud' must be 0 or 1, got '3' in row 1$"):
        read_table(tmp_path / "d.csv", PLAIN)


def test_a_source_is_read_without_settings_too(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(GOOD)
    found = read(sources.file_source(tmp_path / "d.csv", ","), TABLE, ColumnMap("table"), NOW)
    assert found.table().fraud_count == 1


def drawn_payments(count: int) -> pa.Table:
    """Payments of ten days in April 2018, labels known a week later."""
    draws = np.random.default_rng(3)
    seconds = np.sort(draws.integers(0, 10 * 86_400, count)) + 1_522_540_800
    return pa.table(
        {
            "transaction_id": np.arange(count),
            "time": pa.array(seconds, pa.timestamp("s")),
            "customer_id": draws.integers(0, 50, count),
            "merchant_id": draws.integers(0, 20, count),
            "amount": np.round(draws.gamma(2.0, 30.0, count), 2),
            "fraud": (draws.random(count) < 0.1).astype(np.int8),
            "fraud_known_at": pa.array(seconds + 7 * 86_400, pa.timestamp("s")),
        }
    )


def test_the_same_payments_in_any_form_are_the_same_transactions(tmp_path: Path) -> None:
    table = drawn_payments(2_000)
    pq.write_table(table, tmp_path / "p.parquet")
    handbook = table.drop_columns(["fraud_known_at"]).rename_columns(
        ["TRANSACTION_ID", "TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT", "TX_FRAUD"]
    )
    pa.csv.write_csv(handbook, tmp_path / "h.csv")
    (tmp_path / "drops").mkdir()
    for day in range(10):
        drop = table.filter(pc.equal(pc.day(table["time"]), day + 1))
        pq.write_table(drop, tmp_path / "drops" / f"2018-04-{day + 1:02}.parquet")
    with closing(sqlite3.connect(tmp_path / "b.sqlite3")) as database:
        database.execute("CREATE TABLE p (id, seconds, card, shop, cents, verdict)")
        rows = [
            (
                *(row["transaction_id"], int(row["time"].replace(tzinfo=UTC).timestamp())),
                *(str(row["customer_id"]), str(row["merchant_id"])),
                *(f"€{row['amount']:,.2f}", ["fine", "fraud"][row["fraud"]]),
            )
            for row in table.to_pylist()
        ]
        database.executemany("INSERT INTO p VALUES (?, ?, ?, ?, ?, ?)", rows)
        database.commit()
    (tmp_path / "m.toml").write_text(
        "[columns]\n"
        'transaction_id = "id"\ncustomer_id = "card"\nmerchant_id = "shop"\n'
        'time = { column = "seconds", form = "seconds" }\n'
        'amount = { column = "cents", form = "money" }\n'
        'fraud = { column = "verdict", values = { fraud = 1, fine = 0 } }\n'
        "fraud_known_at = { days_after_payment = 7 }\n"
    )
    forms: list[dict[str, str]] = [
        {"dataset": "p.parquet"},
        {"dataset": "h.csv", "data_preset": "handbook"},
        {"dataset": "drops"},
        {"dataset": "b.sqlite3", "dataset_query": "SELECT * FROM p ORDER BY id DESC", "column_map": "m.toml"},
    ]
    made = []
    for form in forms:
        found = own(tmp_path, CARDS, **form)
        assert sentences(found) == []
        assert found.payments is not None
        made.append(found.payments)
    for each in made:
        for name in ("time", "amount", "label", "known_at"):
            assert np.array_equal(getattr(each, name), getattr(made[0], name))
        for code, ids in (("customer", "customer_ids"), ("merchant", "merchant_ids")):
            named = [[getattr(one, ids)[place] for place in getattr(one, code)] for one in (each, made[0])]
            assert named[0] == named[1]


@pytest.mark.parametrize("name", ["p.parquet", "p.csv"])
def test_little_of_a_file_is_held_at_a_time_however_the_file_is_written(tmp_path: Path, name: str) -> None:
    table = drawn_payments(1_500_000)
    if name == "p.csv":
        pa.csv.write_csv(table, tmp_path / name)
    else:
        pq.write_table(table, tmp_path / name, row_group_size=1 << 30, compression="none", use_dictionary=False)
    del table
    assert (tmp_path / name).stat().st_size > 70_000_000
    before, most = pa.total_allocated_bytes(), 0
    for chunk in sources.file_source(tmp_path / name, ",").chunks(["time", "amount"], Findings()):
        assert len(chunk) > 0
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40_000_000  # of CSV 32 blocks of 1 MiB are read ahead
