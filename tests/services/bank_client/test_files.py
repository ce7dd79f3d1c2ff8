"""Files that are no files of rows, or too large to hold: refused, or read in little memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from services.bank_client import sources
from services.bank_client.findings import Findings
from tests.services.bank_client.own_rows import GOOD, drawn_payments, own, sentences

ROOT = Path(__file__).parents[3]


def test_a_folder_that_is_empty_or_has_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "drops").mkdir()
    assert sentences(own(tmp_path, dataset="drops")) == [
        "a folder of daily drops must have a .parquet or .csv file, drops has none"
    ]
    (tmp_path / "drops" / "notes.txt").write_text("")
    assert sentences(own(tmp_path, dataset="drops")) == [
        "a folder of daily drops must have .parquet and .csv files alone, got notes.txt"
    ]


@pytest.mark.parametrize("kind", ["nul", "header", "rows", "quote"])
def test_ten_gigabytes_without_a_line_are_refused_in_little_memory(tmp_path: Path, kind: str) -> None:
    start = {"nul": b"", "header": b"amount,hour,fraud\n", "rows": GOOD.encode(), "quote": GOOD.encode() + b'"'}[kind]
    with (tmp_path / "d.csv").open("wb") as file:
        file.write(start)
        file.truncate(10 << 30)
    code = (
        "import sys, resource; from pathlib import Path; from tests.services.bank_client.own_rows import PLAIN\n"
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


def test_a_byte_that_is_no_text_is_named_by_column_and_row(tmp_path: Path) -> None:
    rows = [b"%d,2,0" % number for number in range(1, 200_001)]
    rows[2] = b" "  # no row
    rows[4] = b"5,2"
    rows[149_999] = b"\xe97,2,0"
    (tmp_path / "d.csv").write_bytes(b"amount,hour,fraud\n" + b"\n".join(rows))
    assert sentences(own(tmp_path, dataset="d.csv")) == [
        "d.csv: every row must have 3 cells, got 2 in row 5",
        r"d.csv must be a CSV file in UTF-8: column 'amount' has b'\xe97' in row 150000",
    ]


def test_rows_without_their_cells_are_told_without_a_number_of_another_count(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text(GOOD + "1,2\n" * 2_000)
    assert sentences(own(tmp_path, dataset="d.csv")) == [
        *(f"d.csv: every row must have 3 cells, got 2 in row {row}" for row in range(3, 8)),
        "d.csv must be a CSV file in UTF-8: Expected 3 columns, got 2: 1,2",
    ]


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff"])
def test_a_file_of_nothing_is_empty_and_lacks_no_columns(tmp_path: Path, content: str) -> None:
    (tmp_path / "d.csv").write_text(content)
    found = own(tmp_path, dataset="d.csv")
    assert [fault.rule for fault in found.report.findings.faults] == ["empty"]
    assert sentences(found) == ["d.csv must have a line of column names and at least 1 row, got none"]


def test_a_parquet_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    pq.write_table(pa.table({"amount": [1.0] * 1000, "hour": [1] * 1000, "fraud": [0] * 1000}), path)
    whole = path.read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        (fault,) = sentences(own(tmp_path, dataset="d.parquet"))
        assert fault.startswith("d.parquet must be a whole Parquet file: ")


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
    assert most < 56_000_000  # of CSV 32 blocks of 1 MiB are read ahead, and what was made of some waits beside them


@pytest.mark.parametrize("stored_as", ["text", "dictionary"])
def test_a_small_parquet_file_of_long_cells_is_read_in_little_memory(tmp_path: Path, stored_as: str) -> None:
    rows = 65_536
    cells = pa.DictionaryArray.from_arrays(pa.array([0] * (rows - 1) + [1], pa.int32()), ["x" * 40_000, "last"])
    table = pa.table({"note": cells, "amount": pa.array(range(rows))})
    pq.write_table(table, tmp_path / "d.parquet", compression="zstd", store_schema=stored_as == "dictionary")
    assert (tmp_path / "d.parquet").stat().st_size < 1_000_000
    before, most, found = pa.total_allocated_bytes(), 0, 0
    for chunk in sources.file_source(tmp_path / "d.parquet", ",").chunks(["note", "amount"], Findings()):
        assert chunk.columns["amount"].to_pylist() == list(range(found, found + len(chunk)))
        assert chunk.before == found
        found += len(chunk)
        most = max(most, pa.total_allocated_bytes() - before)
    assert found == rows
    assert chunk.columns["note"][-1].as_py() == "last"
    assert most < 120_000_000  # of 2.6 GB
