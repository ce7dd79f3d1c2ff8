"""Rows gathered in blocks, texts as numbers, and ids that must be unique."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.bank_client import gathering
from services.bank_client.findings import SHOWN_A_RULE, Findings
from services.bank_client.gathering import Codes, Gathered, Ids, id_number, id_numbers
from services.bank_client.sources import Chunk


def ids_of(*columns: list[str]) -> tuple[Findings, list[int]]:
    ids, findings, before = Ids(), Findings(), 0
    for column in columns:
        texts = pa.array(column, pa.string())
        ids.add(Chunk("f.csv", {"id": texts}, before), texts)
        before += len(column)
    ids.check("transaction_id", findings)
    return findings, [fault.row for fault in findings.faults]


@given(st.lists(st.integers(0, 30), max_size=8))
def test_parts_of_any_length_make_one_array_over_the_blocks(lengths: list[int]) -> None:
    whole, gathered = np.arange(2 * sum(lengths), dtype=np.int64).reshape(-1, 2), Gathered()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "_BLOCK_BYTES", 16 * 7)
        for part in np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []:
            gathered.add(part)
    assert len(gathered) == len(whole)
    assert gathered.whole(np.float64).tolist() == whole.tolist()
    assert len(gathered) == 0


@given(st.lists(st.lists(st.text("abc", min_size=1, max_size=2), min_size=1), max_size=6))
def test_codes_count_texts_in_the_order_in_which_they_first_come(columns: list[list[str]]) -> None:
    codes, texts = Codes(), [text for column in columns for text in column]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "_CODED_ROWS", 5)
        for column in columns:
            codes.add(pa.array(column, pa.string()))
    assert codes.count() == len(set(texts))
    known = codes.known.to_pylist()
    assert known == list(dict.fromkeys(texts))
    assert [known[code] for code in codes.whole()] == texts


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ([["1", "2"], ["3"]], []),
        ([["1", "2"], ["3", "2", "1"]], [4, 5]),
        ([["a", "b"], ["c", "a"]], [4]),
        ([["7", "07", "+7", " 7", "7.0"]], []),  # other texts than 7
        ([["5", "6"], ["tx-x", "5"]], [4]),
        ([["tx-x", "5"], ["5", "6"], ["0x5", "-0", "0"]], [3]),
        ([["9" * 30, "9" * 31]], []),
        ([["x"] * 10], [2, 3, 4, 5, 6]),
    ],
)
def test_an_id_that_came_before_is_named_by_its_row(columns: list[list[str]], rows: list[int]) -> None:
    findings, found = ids_of(*columns)
    assert found == rows
    assert sum(findings.counts.values()) == (9 if columns == [["x"] * 10] else len(rows))


IDS = st.sampled_from(["5", "-5", "05", "+5", "-0", "0", "0x5", "5.0", "5e0", "tx-5", "９", "9", "9" * 19, "9" * 30])


@given(st.lists(st.one_of(IDS, st.integers(0, 9).map(str)), max_size=20), st.data())
def test_the_same_ids_came_before_whatever_the_chunks(ids: list[str], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(ids)), max_size=6)))
    edges = [0, *cuts, len(ids)]
    parts = [ids[start:end] for start, end in pairwise(edges) if end > start]
    findings, rows = ids_of(*parts)
    seen = [row for row, name in enumerate(ids, 1) if name in ids[: row - 1]]
    assert rows == seen[: len(rows)]
    assert len(rows) == min(len(seen), SHOWN_A_RULE)
    assert sum(findings.counts.values()) == len(seen)


def test_an_id_has_one_number_alone_and_beside_texts() -> None:
    for name in ("7", "-3", "007", "-0", "0x10", "a", str(2**63 - 1), str(2**63)):
        assert id_numbers(pa.array([name])).tolist() == [id_number(name)]
        assert id_numbers(pa.array([name, "b"])).tolist()[0] == id_number(name)
