"""A bank's own rows: what is read, what is refused and in which words, and a split that never changes."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedfraud.errors import Invalid
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import Feature
from services.bank_client.dataset import Rows, divide, split, write
from services.bank_client.own_data import read_table

SCHEMA = (Feature("amount", "euro", 0.01), Feature("hour", "hour", 1.0))


def csv(folder: Path, text: str) -> Path:
    path = folder / "dataset.csv"
    path.write_text(text, encoding="utf-8")
    return path


def parquet(folder: Path, **columns: object) -> Path:
    path = folder / "dataset.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def rows_with(legitimate: int, frauds: int) -> Rows:
    labels = np.arange(legitimate + frauds) >= legitimate
    return Rows(np.arange(len(labels), dtype=np.float64)[:, None], labels)


def test_a_csv_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = csv(tmp_path, 'fraud,note,"hour",amount\n0,hello,9,1.50\n\n1,"a, b",23,-2e3\n')
    rows = read_table(path, SCHEMA)
    assert rows.features.tolist() == [[1.5, 9.0], [-2000.0, 23.0]]
    assert rows.labels.tolist() == [False, True]
    assert rows.features.dtype == np.float64
    assert rows.labels.dtype == np.bool_


def test_a_csv_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    assert read_table(csv(tmp_path, "\ufeffamount,hour,fraud\r\n1,2,1\r\n"), SCHEMA).features.tolist() == [[1.0, 2.0]]


def test_a_parquet_file_is_read_by_the_names_of_its_columns(tmp_path: Path) -> None:
    path = parquet(tmp_path, fraud=[False, True], note=["a", "b"], hour=[9, 23], amount=[1.5, -2.0])
    rows = read_table(path, SCHEMA)
    assert rows.features.tolist() == [[1.5, 9.0], [-2.0, 23.0]]
    assert rows.labels.tolist() == [False, True]


def test_what_is_read_can_be_summed_up_to_the_largest_value(tmp_path: Path) -> None:
    rows = read_table(csv(tmp_path, "amount,hour,fraud\n1.5,-1099511627775,0\n"), SCHEMA)  # 2**40 - 1
    codec = StandardiseCodec((0.01, 1.0))
    assert codec.decode(codec.encode(rows.features, rows.labels)).means.tolist() == [1.5, 1 - 2.0**40]


def test_what_is_written_is_read_back_to_the_same_bits(tmp_path: Path) -> None:
    features = np.random.default_rng(1).normal(size=(50, 2)) * 1e9
    rows = Rows(features, features[:, 0] > 0)
    write(tmp_path / "dataset.parquet", rows, SCHEMA)
    again = read_table(tmp_path / "dataset.parquet", SCHEMA)
    assert again.features.tobytes() == features.tobytes()
    assert np.array_equal(again.labels, rows.labels)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("amount,fraud\n1,0\n", "dataset.csv must have the column 'hour' once, got it 0 times"),
        ("amount,hour,hour,fraud\n1,2,3,0\n", "dataset.csv must have the column 'hour' once, got it 2 times"),
        ("amount,hour\n1,2\n", "dataset.csv must have the column 'fraud' once, got it 0 times"),
        ("", "dataset.csv must have a line of column names and at least 1 row, got none"),
        ("amount,hour,fraud\n", "dataset.csv must have at least 1 row, got 0"),
        ("amount,hour,fraud\n\n \n", "dataset.csv must have at least 1 row, got 0"),
        (
            "amount,hour,fraud\n1,2,0\n1,noon,0\n",
            "dataset.csv: column 'hour' must hold finite numbers, got 'noon' in row 2",
        ),
        ("amount,hour,fraud\n,2,0\n", "dataset.csv: column 'amount' must hold finite numbers, got nothing in row 1"),
        ("amount,hour,fraud\n1,2,0\n1,2\n", "dataset.csv: every row must have 3 cells, got 2 in row 2"),
        (
            "amount,hour,fraud\n1,2,0\nnan,2,0\n",
            "dataset.csv: column 'amount' must hold finite numbers, got 'nan' in row 2",
        ),
        ("amount,hour,fraud\n1,-inf,0\n", "dataset.csv: column 'hour' must hold finite numbers, got '-inf' in row 1"),
        ("amount,hour,fraud\n1,2,1\n1,2,2\n", "dataset.csv: column 'fraud' must be 0 or 1, got '2' in row 2"),
        (
            "amount,hour,fraud\n1,2,0\n1e30,2,0\n",
            "dataset.csv: column 'amount' must lie within ±2**40 times its resolution, 0.01 euro, got '1e30' in row 2",
        ),
        (
            "amount,hour,fraud\n1e308,2,0\n",
            "dataset.csv: column 'amount' must lie within ±2**40 times its resolution, 0.01 euro, got '1e308' in row 1",
        ),
        (  # 2**40
            "amount,hour,fraud\n1,-1099511627776,0\n",
            "dataset.csv: column 'hour' must lie within ±2**40 times its resolution, 1 hour, "
            "got '-1099511627776' in row 1",
        ),
        ("amount,hour,fraud\n1,2,0.5\n", "dataset.csv: column 'fraud' must be 0 or 1, got '0.5' in row 1"),
        ("amount,hour,fraud\n1,2,yes\n", "dataset.csv: column 'fraud' must be 0 or 1, got 'yes' in row 1"),
    ],
)
def test_a_csv_against_the_schema_is_refused_by_file_column_row_and_rule(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        read_table(csv(tmp_path, text), SCHEMA)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"amount": [1.0], "fraud": [0]}, "dataset.parquet must have the column 'hour' once, got it 0 times"),
        (
            {"amount": [1.0], "hour": ["noon"], "fraud": [0]},
            "dataset.parquet: column 'hour' must hold finite numbers, got 'noon' in row 1",
        ),
        (
            {"amount": [1.0, None], "hour": [1, 2], "fraud": [0, 0]},
            "dataset.parquet: column 'amount' must hold finite numbers, got nothing in row 2",
        ),
        (
            {"amount": [1.0, 2.0], "hour": [1, None], "fraud": [0, 0]},
            "dataset.parquet: column 'hour' must hold finite numbers, got nothing in row 2",
        ),
        (
            {"amount": [float("inf")], "hour": [1], "fraud": [0]},
            "dataset.parquet: column 'amount' must hold finite numbers, got inf in row 1",
        ),
        (
            {"amount": [1.0, 1.0], "hour": [1, 1], "fraud": [0, -1]},
            "dataset.parquet: column 'fraud' must be 0 or 1, got -1 in row 2",
        ),
        (
            {"amount": [1.0, 1.0], "hour": [1, 1], "fraud": [True, None]},
            "dataset.parquet: column 'fraud' must be 0 or 1, got nothing in row 2",
        ),
        (
            {"amount": pa.array([], pa.float64()), "hour": pa.array([], pa.int8()), "fraud": pa.array([], pa.int8())},
            "dataset.parquet must have at least 1 row, got 0",
        ),
    ],
)
def test_a_parquet_file_against_the_schema_is_refused_by_file_column_row_and_rule(
    tmp_path: Path, columns: dict[str, object], message: str
) -> None:
    with pytest.raises(Invalid) as refused:
        read_table(parquet(tmp_path, **columns), SCHEMA)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dataset.parquet", b"no parquet at all", "dataset.parquet must be a whole Parquet file: "),
        ("dataset.csv", b"amount,hour,fraud\n\xff\xfe,1,0\n", "dataset.csv must be a CSV file in UTF-8: "),
        ("dataset.xlsx", b"", "a dataset must be a .parquet or .csv file, or a folder of them, got dataset.xlsx"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Invalid) as refused:
        read_table(tmp_path / name, SCHEMA)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", ["dataset.parquet", "dataset.csv"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match=rf"^{name} must be readable: .*No such file"):
        read_table(tmp_path / name, SCHEMA)


@pytest.mark.parametrize(
    ("legitimate", "frauds", "validation_legitimate", "validation_frauds"),
    [
        (100, 20, 15, 3),
        (100, 2, 15, 1),  # two frauds: one for each part
        (100, 1, 15, 0),  # one fraud stays for training
        (100, 0, 15, 0),
        (0, 100, 0, 15),
        (1, 1, 0, 0),
        (1, 0, 0, 0),
        (2, 0, 1, 0),
    ],
)
def test_fifteen_in_a_hundred_of_each_class_are_for_validation(
    legitimate: int, frauds: int, validation_legitimate: int, validation_frauds: int
) -> None:
    training, validation = split(rows_with(legitimate, frauds))
    assert validation.fraud_count == validation_frauds
    assert len(validation) - validation.fraud_count == validation_legitimate
    assert len(training) == legitimate + frauds - len(validation)


@given(st.integers(0, 300), st.integers(0, 300))
def test_every_row_is_in_one_part_and_training_has_every_class_there_is(legitimate: int, frauds: int) -> None:
    rows = rows_with(legitimate, frauds)
    training, validation = split(rows)
    both = np.concatenate([training.features[:, 0], validation.features[:, 0]])
    assert sorted(both.tolist()) == list(range(legitimate + frauds))
    assert (training.fraud_count > 0) == (frauds > 0)
    assert (len(training) > training.fraud_count) == (legitimate > 0)


@pytest.mark.parametrize("count", [0, 1, 7, 100_000])
def test_dividing_in_place_gives_the_parts_of_the_split(count: int) -> None:
    rows = Rows(np.arange(2 * count, dtype=np.float64).reshape(count, 2), np.arange(count) % 9 == 0)
    training, validation = split(rows)
    for part, own in zip((training, validation), divide(rows), strict=True):
        assert own.features.tobytes() == part.features.tobytes()
        assert own.labels.tobytes() == part.labels.tobytes()
        assert np.shares_memory(own.features, rows.features) or not len(own)


def test_the_hash_is_of_the_features_then_the_labels_however_many_rows_there_are() -> None:
    rows = Rows(np.random.default_rng(1).normal(size=(70_000, 2)), np.arange(70_000) % 9 == 0)
    assert rows.sha256 == hashlib.sha256(rows.features.tobytes() + rows.labels.tobytes()).digest()


def test_the_split_is_the_same_in_every_release() -> None:
    # Numbers that must never change: a validation row of yesterday must not be trained on today.
    _, validation = split(rows_with(20, 10))
    assert validation.features[:, 0].tolist() == [2, 6, 18, 26, 27]
