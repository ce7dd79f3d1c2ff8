"""What rows are called: their ids, or file and row."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedfraud.contract import CARDS, contract_named
from services.bank_client.column_map import ColumnMap, Origin
from services.bank_client.own_data import read
from services.bank_client.readers import OwnData
from services.bank_client.sources import file_source
from tests.services.bank_client.own_rows import GOOD, NOW, TABLE, drawn_payments

BY_ROW = ColumnMap("cards", {"transaction_id": Origin(row_number=True)})


def named(path: Path, column_map: ColumnMap | None = None, *, keep_ids: bool = True) -> OwnData:
    found = read(file_source(path, ","), CARDS, column_map or ColumnMap("cards"), NOW, keep_ids=keep_ids)
    found.report.findings.refuse()
    return found


def test_payments_are_called_by_their_ids_in_their_own_order(tmp_path: Path) -> None:
    table = drawn_payments(100)
    order = pa.array([*range(50, 100), *range(50)])
    pq.write_table(table.take(order), tmp_path / "paid.parquet")
    found = named(tmp_path / "paid.parquet")
    assert found.ids is not None
    assert found.ids.to_pylist() == [str(place) for place in range(100)]


def test_payments_without_ids_are_called_by_file_and_row(tmp_path: Path) -> None:
    (tmp_path / "drops").mkdir()
    table = drawn_payments(100)
    for name, rows in (("a", table.slice(60)), ("b", table.slice(0, 60))):
        pq.write_table(rows, tmp_path / "drops" / f"{name}.parquet")
    found = named(tmp_path / "drops", BY_ROW)
    assert found.ids is not None
    assert found.ids.to_pylist()[:2] == ["b.parquet:1", "b.parquet:2"]
    assert found.ids.to_pylist()[60:62] == ["a.parquet:1", "a.parquet:2"]


def test_names_are_kept_where_they_are_asked_for_alone(tmp_path: Path) -> None:
    pq.write_table(drawn_payments(100), tmp_path / "paid.parquet")
    assert named(tmp_path / "paid.parquet", keep_ids=False).ids is None


def test_rows_of_a_table_are_called_by_the_column_that_is_mapped_or_by_their_row(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("amount,hour,fraud,key\n1,2,0,x\n3,4,1,y\n")
    for columns, names in (
        ({"transaction_id": Origin(columns=("key",))}, ["x", "y"]),
        ({}, ["rows.csv:1", "rows.csv:2"]),
    ):
        found = read(file_source(tmp_path / "rows.csv", ","), TABLE, ColumnMap("table", columns), NOW, keep_ids=True)
        assert found.ids is not None
        assert found.ids.to_pylist() == names


def test_rows_that_are_to_be_scored_need_no_labels_and_may_have_them(tmp_path: Path) -> None:
    table = drawn_payments(100)
    for name, columns in (("with", table), ("without", table.drop_columns(["fraud", "fraud_known_at"]))):
        pq.write_table(columns, tmp_path / f"{name}.parquet")
        found = read(file_source(tmp_path / f"{name}.parquet", ","), CARDS.without_labels(), ColumnMap("cards"), NOW)
        assert found.report.passed
        assert found.payments is not None
        assert (len(found.payments), found.payments.fraud_count, set(found.payments.label.tolist())) == (100, 0, {-1})
    (tmp_path / "rows.csv").write_text(GOOD.replace(",fraud", "").replace(",0\n", "\n").replace(",1\n", "\n"))
    found = read(file_source(tmp_path / "rows.csv", ","), TABLE.without_labels(), ColumnMap("table"), NOW)
    assert found.table().features.tolist() == [[1, 2], [3, 4]]
    assert contract_named("baf").is_labelled
    assert not contract_named("baf").without_labels().is_labelled
