"""A bank's own payments: sorted, in seconds and cents, the same from any form, and every rule that a row breaks."""

import json
import sqlite3
from contextlib import closing
from datetime import UTC
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from fedfraud.contract import CARDS
from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from services.bank_client.examples import Payments
from services.bank_client.own_data import read_table
from services.bank_client.readers import OwnData
from services.bank_client.transactions import NEVER, UNKNOWN
from tests.services.bank_client.own_rows import PLAIN, drawn_payments, own, sentences

PAYMENTS = """transaction_id,time,customer_id,merchant_id,amount,fraud,fraud_known_at
b,2018-05-02 10:00:00,anna,shop,12.34,0,2018-05-09 10:00:00
c,2018-05-02 10:00:00,ben,bar,0.1,1,2018-05-04 00:00:00
a,2018-05-01T23:59:59Z,anna,bar,7,1,2018-05-08 23:59:59
d,2018-05-03,anna,bar,7,,
"""


def payments(folder: Path, text: str = PAYMENTS, **settings: object) -> OwnData:
    (folder / "p.csv").write_text(text)
    return own(folder, CARDS, dataset="p.csv", **settings)


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


def test_a_decimal_comma_is_refused_until_the_map_says_so(tmp_path: Path) -> None:
    text = PAYMENTS.replace(",", ";").replace("12.34", "1.212,34 €").replace("0.1", "0,1")
    rule = "p.csv: column 'amount' must hold amounts such as 1,234.50, with '.' before the cents"
    columns = 'contract = "cards"\ndelimiter = ";"\n[columns]\namount = { column = "amount", form = "money"'
    (tmp_path / "m.toml").write_text(columns + " }\n")
    assert sentences(payments(tmp_path, text, column_map="m.toml")) == [
        f"{rule}, got '1.212,34 €' in row 1",
        f"{rule}, got '0,1' in row 2",
    ]
    (tmp_path / "m.toml").write_text(columns + ', decimal = "," }\n')
    made = payments(tmp_path, text, column_map="m.toml").payments
    assert made is not None
    assert made.amount.tolist() == [700, 121_234, 10, 700]


@pytest.mark.parametrize("skip_refunds", [False, True])
def test_a_boolean_column_is_no_amount(tmp_path: Path, skip_refunds: bool) -> None:
    table = drawn_payments(50)
    place = table.column_names.index("amount")
    pq.write_table(table.set_column(place, "amount", pa.array([True] * 50)), tmp_path / "p.parquet")
    (tmp_path / "m.toml").write_text(f'contract = "cards"\nskip_refunds = {str(skip_refunds).lower()}\n')
    assert sentences(own(tmp_path, CARDS, dataset="p.parquet", column_map="m.toml")) == [
        "p.parquet: column 'amount' must hold numbers, got bool"
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (",12.34,", ",-12.34,", "column 'amount' must be at least 0 euro, got '-12.34' in row 1"),
        (",12.34,", ",1e10,", "column 'amount' must be at most 1e+09 euro, got '1e10' in row 1"),
        (",12.34,", ",1_000,", "column 'amount' must hold finite numbers, got '1_000' in row 1"),
        (",12.34,", ",٢٠,", "column 'amount' must hold finite numbers, got '٢٠' in row 1"),
        (",12.34,", ",,", "column 'amount' must hold finite numbers, got nothing in row 1"),
        ("ben", "", "column 'customer_id' must hold an id, got nothing in row 2"),
        ("ben", "b" * 257, f"column 'customer_id' must hold ids of at most 256 bytes, got '{'b' * 40}' in row 2"),
        (
            "\nc,",
            f"\n{'é' * 129},",
            f"column 'transaction_id' must hold ids of at most 256 bytes, got '{'é' * 40}' in row 2",
        ),
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


@pytest.mark.parametrize("ids", ["numbers", "texts", "row numbers"])
def test_the_order_of_the_source_changes_nothing(tmp_path: Path, ids: str) -> None:
    table = drawn_payments(3_000)
    draws = np.random.default_rng(5)
    seconds = np.sort(draws.integers(0, 59 * 24, 3_000)) * 3_600 + PLANS["cards"].start_time  # many of one second
    known = pa.array(seconds + draws.integers(7, 9, 3_000) * 86_400, pa.timestamp("s"))
    table = table.set_column(1, "time", pa.array(seconds, pa.timestamp("s"))).set_column(6, "fraud_known_at", known)
    if ids == "texts":
        table = table.set_column(0, "transaction_id", pc.binary_join_element_wise("t", pc.cast(table[0], "string"), ""))
    (tmp_path / "m.toml").write_text(
        'contract = "cards"\n[columns]\n' + ("transaction_id = { row_number = true }\n" if ids == "row numbers" else "")
    )
    banks = []
    for name, order in (("a", np.arange(3_000)), ("b", np.arange(3_000)[::-1]), ("c", draws.permutation(3_000))):
        pq.write_table(table.take(order), tmp_path / f"{name}.parquet")
        found = own(tmp_path, CARDS, dataset=f"{name}.parquet", column_map="m.toml")
        assert sentences(found) == []
        assert found.payments is not None
        banks.append(Payments(found.payments, PLANS["cards"], bytes(32)))
    assert len({bank.sha256 for bank in banks}) == 1
    for bank in banks[1:]:
        assert np.array_equal(bank.counts(), banks[0].counts())
        assert np.array_equal(bank.judged().card, banks[0].judged().card), "cards are drawn by their numbers"
        for part, first in zip(bank.alone(), banks[0].alone(), strict=True):
            assert len(part)
            assert np.array_equal(part.features, first.features)
            assert np.array_equal(part.labels, first.labels)


@pytest.mark.parametrize("column", ["time", "fraud_known_at"])
@pytest.mark.parametrize("value", [-9e10, -1.0, 9e10])
def test_seconds_out_of_bounds_are_a_finding(tmp_path: Path, column: str, value: float) -> None:
    (tmp_path / "m.toml").write_text(
        'contract = "cards"\n[columns]\n'
        'time = { column = "time", form = "seconds" }\n'
        'fraud_known_at = { column = "fraud_known_at", form = "seconds" }\n'
    )
    given = {"time": 1_525_000_000.0, "fraud_known_at": 1_525_600_000.0, column: value}
    rows = "1,1525000000,c,m,1,1,1525600000\n" + f"2,{given['time']},c,m,1,0,{given['fraud_known_at']}\n"
    found = payments(tmp_path, PAYMENTS.splitlines()[0] + "\n" + rows, column_map="m.toml")
    rule = {True: "must not be before 1970-01-01 00:00:00", False: "must not be later than now, 2020-09-13 12:26:40"}
    assert f"p.csv: column '{column}' {rule[value < 0]}, got '{value}' in row 2" in sentences(found)
    assert ("past" if value < 0 else "future", column) in found.report.findings.counts
    assert found.report.text()


@pytest.mark.parametrize(
    "kind",
    [pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.date32()],
    ids=str,
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich"])
def test_times_of_other_ages_are_a_finding_in_every_type(tmp_path: Path, kind: pa.DataType, zone: str) -> None:
    table = drawn_payments(100)
    most = 2**31 - 1 if pa.types.is_date(kind) else 2**62
    for value, rule in ((-most, "past"), (most, "future")):
        far = pa.array([value] * 100, kind)
        pq.write_table(table.set_column(1, "time", far), tmp_path / "p.parquet")
        (tmp_path / "m.toml").write_text(
            f'contract = "cards"\n[columns.time]\ncolumn = "time"\nzone = "{zone}"\nshift_days = -273\n'
        )
        found = own(tmp_path, CARDS, dataset="p.parquet", column_map="m.toml").report
        assert found.findings.counts[rule, "time"] == 100
        assert found.text()


def test_payments_of_another_year_than_the_plans_are_refused(tmp_path: Path) -> None:
    assert sentences(payments(tmp_path, PAYMENTS.replace("2018-", "2017-"))) == [
        "p.csv must have payments from 2018-04-01 to 2018-05-29, the days of the feature plan, "
        "got some from 2017-05-01 to 2017-05-03"
    ]


def test_rows_of_payments_are_no_table_and_the_first_fault_is_raised(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^rows must be of a feature table, got those of cards$"):
        payments(tmp_path).table()
    (tmp_path / "d.csv").write_text("amount,hour,fraud\n1,2,3\n")
    with pytest.raises(Invalid, match=r"^d.csv: column 'fraud' must be 0 or 1, got '3' in row 1$"):
        read_table(tmp_path / "d.csv", PLAIN)


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


@pytest.mark.parametrize(
    ("inside", "outside", "warned"), [(10_922, 0, False), (10_923, 0, True), (10_922, 5_000, False)]
)
def test_more_merchants_than_a_sixth_of_the_buckets_are_warned_of(
    tmp_path: Path, inside: int, outside: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    count = inside + outside
    day = np.where(np.arange(count) < inside, 20, 59) + 17_622  # 2018-04-01, whose plan has 59 days
    columns = {
        "merchant_id": np.arange(count),
        "fraud": np.arange(count) % 2,
        "time": pa.array(day * 86_400, pa.timestamp("s")),
        "fraud_known_at": pa.array((day + 7) * 86_400, pa.timestamp("s")),
    }
    table = pa.table({"transaction_id": np.arange(count), "customer_id": [1] * count, "amount": [1] * count, **columns})
    pq.write_table(table, tmp_path / "p.parquet")
    report = own(tmp_path, CARDS, dataset="p.parquet").report
    assert report.passed
    expected = (
        "p.parquet should have at most 10,922 merchants in the days of the feature plan, a sixth of its 65,536 "
        "buckets, got 10,923: 15% of them share a bucket, and so what is known of them, with another of this "
        "bank's alone"
    )
    assert report.warnings == (expected,) * warned
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [expected] * warned
    assert (f"WARNING {expected}\npassed: the bank may join" in report.text()) == warned
    assert json.loads(report.json())["warnings"] == [expected] * warned
