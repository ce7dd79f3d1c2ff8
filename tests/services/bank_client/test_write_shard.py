"""A simulated bank's files: whole, read back to the same bits, and written once."""

from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows
from services.bank_client.enrol import Enrolment
from services.bank_client.own_data import read_table
from services.bank_client.write_shard import write_holdout, write_shard
from simulation import tutorial


def same(rows: Rows, expected: tutorial.Labelled) -> bool:
    return rows.features.tobytes() == expected[0].tobytes() and np.array_equal(rows.labels, expected[1])


def test_a_bank_finds_its_shard_and_the_public_hold_out(tmp_path: Path) -> None:
    write_shard(Enrolment("bank-01", 6, "tutorial", 7), tmp_path / "data")
    assert same(read_table(tmp_path / "data" / "dataset.parquet", TUTORIAL), tutorial.shard(7, 6))
    assert same(read_table(tmp_path / "data" / "holdout.parquet", TUTORIAL), tutorial.holdout(7))
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_a_dataset_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.parquet").write_bytes(b"the bank's own")
    write_shard(Enrolment("bank-01", 6, "tutorial", 7), tmp_path)
    assert (tmp_path / "dataset.parquet").read_bytes() == b"the bank's own"
    assert len(read_table(tmp_path / "holdout.parquet", TUTORIAL)) == 12_000


def test_what_a_crash_left_half_written_does_not_count(tmp_path: Path) -> None:
    (tmp_path / ".dataset.parquet.1").write_bytes(b"half")
    write_shard(Enrolment("bank-01", 6, "tutorial", 7), tmp_path)
    assert len(read_table(tmp_path / "dataset.parquet", TUTORIAL)) == 425


def test_the_aggregator_gets_the_hold_out_as_arrays_without_pickle(tmp_path: Path) -> None:
    write_holdout("tutorial", 7, tmp_path / "new" / "holdout.npz")
    with np.load(tmp_path / "new" / "holdout.npz", allow_pickle=False) as arrays:
        assert same(Rows(arrays["features"], arrays["labels"]), tutorial.holdout(7))


def test_a_population_that_does_not_exist_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^a population must be one of tutorial, got 'mars'$"):
        write_shard(Enrolment("bank-01", 1, "mars", 7), tmp_path / "data")
    with pytest.raises(Invalid, match=r"^a slot must be at least 1, got 0$"):
        write_shard(Enrolment("bank-01", 0, "tutorial", 7), tmp_path / "data")
    assert not list(tmp_path.glob("data/*"))
