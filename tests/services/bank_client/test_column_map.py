"""Column maps: what a file may say, what it is over, and what is refused in which words."""

import json
from pathlib import Path

import pytest

from fedfraud.contract import CARDS, contract_named
from fedfraud.errors import Invalid
from services.bank_client.column_map import ColumnMap, Origin, read_map
from services.bank_client.presets import PRESETS, preset_named

TOML = """
contract = "cards"
delimiter = ";"
missing = ["", "NULL"]
ids = ["name"]
leaks = ["chargeback"]

[columns]
transaction_id = { columns = ["branch", "number"] }
customer_id = "card"
merchant_id = "terminal"
fraud = { column = "confirmed", values = { Y = 1, N = 0 } }
fraud_known_at = { days_after_payment = 30 }

[columns.time]
column = "step"
form = "hours"
start = 2018-04-01T00:00:00Z
"""


def written(folder: Path, text: str, name: str = "m.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_toml_and_a_json_file_say_the_same(tmp_path: Path) -> None:
    made = read_map(written(tmp_path, TOML), ColumnMap("cards"))
    content = {
        "contract": "cards",
        "delimiter": ";",
        "missing": ["", "NULL"],
        "ids": ["name"],
        "leaks": ["chargeback"],
        "columns": {
            "transaction_id": {"columns": ["branch", "number"]},
            "customer_id": "card",
            "merchant_id": "terminal",
            "fraud": {"column": "confirmed", "values": {"Y": 1, "N": 0}},
            "fraud_known_at": {"days_after_payment": 30},
            "time": {"column": "step", "form": "hours", "start": "2018-04-01T00:00:00"},
        },
    }
    assert made == read_map(written(tmp_path, json.dumps(content), "m.json"), ColumnMap("cards"))
    made.check(CARDS)
    assert made.names(CARDS) == ["branch", "number", "step", "card", "terminal", "amount", "confirmed"]
    assert made.origin("time").start_time == 1_522_540_800
    assert made.origin("amount") == Origin(columns=("amount",))
    assert made.left_out == {"name": "an identity", "chargeback": "it says or follows from the label"}


def test_a_file_goes_before_the_preset_column_by_column(tmp_path: Path) -> None:
    made = read_map(written(tmp_path, '[columns]\namount = { column = "EUR", form = "money" }\n'), PRESETS["handbook"])
    assert made.origin("amount").columns == ("EUR",)
    assert made.origin("customer_id").columns == ("CUSTOMER_ID",)
    assert made.leaks == ("TX_FRAUD_SCENARIO",)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("columns = 1", "m.toml: columns: must be a valid dictionary"),
        ("[columns]\ntime = {}", "m.toml: columns.time: a column must have one of column, columns, days_after_payment"),
        (
            '[columns]\ntime = { column = "t", form = "date parts" }',
            "m.toml: columns.time: date parts must be of 4 columns, year, month, day and h:mm, got 1",
        ),
        (
            '[columns]\namount = { column = "a", decimal = "," }',
            "m.toml: columns.amount: a decimal must be of the form money, got it of plain",
        ),
        ('colums = { time = "t" }', "m.toml: colums: Extra inputs are not permitted"),
        ('[columns]\ntime = { column = "t", form = "moons" }', "m.toml: columns.time.form: must be 'plain', 'money'"),
        ('[columns]\nfraud = { column = "f", values = { Y = 2 } }', "m.toml: columns.fraud.values.Y: must be 0 or 1"),
        ("delimiter = ';;'", "m.toml: delimiter: String should have at most 1 character"),
        ("= 1", "a column map must be TOML (.toml) or JSON, m.toml is not: "),
    ],
)
def test_what_a_file_may_not_say_is_refused_by_its_place(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        read_map(written(tmp_path, text), ColumnMap("cards"))
    assert str(refused.value).startswith(sentence)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^a column map must be readable: .*No such file"):
        read_map(tmp_path / "m.toml", ColumnMap("cards"))


@pytest.mark.parametrize(
    ("column_map", "sentence"),
    [
        (ColumnMap("baf"), "a column map must be of the contract cards, got one of 'baf'"),
        (ColumnMap("cards", {"mcc": Origin(columns=("m",))}), "a column of cards must be one of transaction_id, time"),
        (
            ColumnMap("cards", {"amount": Origin(columns=("refund",))}, leaks=("refund",)),
            "a column map must not read a leak, column 'amount' comes from 'refund'",
        ),
        (
            ColumnMap("cards", {"amount": Origin(columns=("card",))}, ids=("card",)),
            "an input must not be an identity, column 'amount' comes from 'card'",
        ),
        (
            ColumnMap("cards", {"time": Origin(days_after_payment=1)}),
            "days_after_payment must be of fraud_known_at of payments, got it of 'time'",
        ),
        (
            ColumnMap("cards", {"time": Origin(row_number=True)}),
            "row_number must be of transaction_id, got it of 'time'",
        ),
    ],
)
def test_a_map_against_the_contract_is_refused(column_map: ColumnMap, sentence: str) -> None:
    with pytest.raises(Invalid) as refused:
        column_map.check(CARDS)
    assert str(refused.value).startswith(sentence)


def test_every_preset_fits_its_contract_and_reads_no_leak() -> None:
    for preset in PRESETS.values():
        contract = contract_named(preset.contract)
        preset.check(contract)
        assert not {*preset.names(contract)} & {*preset.leaks, *preset.ids}


def test_an_unknown_preset_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(Invalid, match=r"^DATA_PRESET must be one of handbook, sparkov, .*, got 'mars'$"):
        preset_named("mars")
