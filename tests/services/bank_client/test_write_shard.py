"""A simulated bank's files: whole, read back to the same bits, and written once."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows
from services.bank_client.features import planned, split
from services.bank_client.own_data import read_table
from services.bank_client.write_shard import (
    holdout_rows,
    merchant_key,
    shard_rows,
    take_shard,
    transactions_of,
    write_holdout,
    write_shard,
    write_shards,
)
from simulation import cards, tutorial

WORLD = cards.World(seed=7, day_count=59)


def same(rows: Rows, expected: tutorial.Labelled) -> bool:
    return rows.features.tobytes() == expected[0].tobytes() and np.array_equal(rows.labels, expected[1])


def test_a_bank_finds_its_shard_and_the_public_hold_out(tmp_path: Path) -> None:
    write_shard("tutorial", 7, 6, tmp_path / "data")
    assert same(read_table(tmp_path / "data" / "dataset.parquet", TUTORIAL), tutorial.shard(7, 6))
    assert same(read_table(tmp_path / "data" / "holdout.parquet", TUTORIAL), tutorial.holdout(7))
    assert len(list((tmp_path / "data").iterdir())) == 2


def test_a_dataset_that_exists_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "dataset.parquet").write_bytes(b"the bank's own")
    write_shard("tutorial", 7, 6, tmp_path)
    assert (tmp_path / "dataset.parquet").read_bytes() == b"the bank's own"
    assert len(read_table(tmp_path / "holdout.parquet", TUTORIAL)) == 12_000


def test_what_a_crash_left_half_written_does_not_count(tmp_path: Path) -> None:
    (tmp_path / ".dataset.parquet.1").write_bytes(b"half")
    write_shard("tutorial", 7, 6, tmp_path)
    assert len(read_table(tmp_path / "dataset.parquet", TUTORIAL)) == 425


def test_the_aggregator_gets_the_hold_out_as_arrays_without_pickle(tmp_path: Path) -> None:
    write_holdout("tutorial", 7, tmp_path / "new" / "holdout.npz")
    with np.load(tmp_path / "new" / "holdout.npz", allow_pickle=False) as arrays:
        assert same(Rows(arrays["features"], arrays["labels"]), tutorial.holdout(7))


def test_shards_that_are_written_together_are_those_that_banks_draw(tmp_path: Path) -> None:
    write_shards("tutorial", 7, 12, tmp_path / "population")
    for slot in (1, 6, 12):
        taken, drawn = tmp_path / f"taken-{slot}", tmp_path / f"drawn-{slot}"
        take_shard(tmp_path / "population", slot, taken)
        write_shard("tutorial", 7, slot, drawn)
        assert sorted(path.name for path in taken.iterdir()) == ["dataset.parquet", "holdout.parquet"]
        for path in taken.iterdir():
            assert path.read_bytes() == (drawn / path.name).read_bytes()
    holdouts = {(tmp_path / f"taken-{slot}" / "holdout.parquet").stat().st_ino for slot in (1, 6, 12)}
    assert len(holdouts) == 1


def test_a_bank_whose_slot_was_not_written_is_left_to_draw(tmp_path: Path) -> None:
    take_shard(tmp_path / "population", 3, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_a_bank_that_has_its_rows_takes_no_others(tmp_path: Path) -> None:
    write_shards("tutorial", 7, 1, tmp_path / "population")
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "dataset.parquet").write_bytes(b"its own")
    take_shard(tmp_path / "population", 1, tmp_path / "bank")
    assert (tmp_path / "bank" / "dataset.parquet").read_bytes() == b"its own"


def test_a_population_that_does_not_exist_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^a population must be one of tutorial, cards, got 'mars'$"):
        write_shard("mars", 7, 1, tmp_path / "data")
    with pytest.raises(Invalid, match=r"^a slot must be at least 1, got 0$"):
        write_shard("tutorial", 7, 0, tmp_path / "data")
    assert not list(tmp_path.glob("data/*"))


def test_a_bank_of_cards_finds_its_payments_under_their_canonical_names(tmp_path: Path) -> None:
    write_shard("cards", 7, 4, tmp_path, "regional")
    table = pq.read_table(tmp_path / "dataset.parquet")
    expected = cards.shard(WORLD, "regional", 4)
    assert table.column_names == [
        *("transaction_id", "time", "customer_id", "merchant_id", "amount", "fraud", "fraud_known_at")
    ]
    rows = table.to_pylist()
    assert len(rows) == len(expected) > 40_000
    assert len({row["transaction_id"] for row in rows}) == len(rows)
    assert [row["customer_id"] for row in rows] == [f"customer-{c:05}" for c in expected.customer.tolist()]
    assert [row["merchant_id"] for row in rows] == [f"merchant-{c:05}" for c in expected.terminal.tolist()]
    assert [row["amount"] for row in rows] == [Decimal(cents) / 100 for cents in expected.amount.tolist()]
    assert [row["fraud"] for row in rows] == expected.fraud.tolist()
    begin = datetime(2018, 4, 1, tzinfo=UTC)
    assert [row["time"] for row in rows] == [begin + timedelta(seconds=s) for s in expected.seconds.tolist()]
    assert all(row["fraud_known_at"] - row["time"] == timedelta(days=7) for row in rows)
    assert not (tmp_path / "holdout.parquet").exists()


def test_transactions_of_simulated_payments_say_the_same() -> None:
    payments = cards.shard(WORLD, "skewed", 2)
    seen = transactions_of(payments, WORLD)
    assert seen.time[0] == PLANS["cards"].start_time + payments.seconds[0]
    assert [seen.customer_ids[i] for i in seen.customer[:9]] == [f"customer-{c:05}" for c in payments.customer[:9]]
    assert [seen.merchant_ids[i] for i in seen.merchant[:9]] == [f"merchant-{c:05}" for c in payments.terminal[:9]]
    assert np.array_equal(seen.amount, payments.amount)
    assert np.array_equal(seen.label == 1, payments.fraud)
    assert (seen.known_at - seen.time == 7 * 86_400).all()
    training, validation = split(planned(seen, PLANS["cards"]), PLANS["cards"])
    assert 0 < len(validation) < len(training) < len(planned(seen, PLANS["cards"])) == len(seen)


def test_all_banks_of_cards_hash_their_merchants_under_one_key(tmp_path: Path) -> None:
    for slot in (1, 2):
        write_shard("cards", 7, slot, tmp_path / str(slot))
    write_shard("cards", 8, 1, tmp_path / "other")
    keys = [(tmp_path / name / "merchant.key").read_bytes() for name in ("1", "2", "other")]
    assert keys[0] == keys[1] == merchant_key(7) != keys[2]
    assert len(keys[0]) == 32
    assert (tmp_path / "1" / "merchant.key").stat().st_mode & 0o777 == 0o600
    files = [(tmp_path / name / "dataset.parquet").read_bytes() for name in ("1", "2")]
    assert files[0] != files[1]
    write_shard("cards", 7, 2, tmp_path / "1")  # what is there stays
    assert (tmp_path / "1" / "dataset.parquet").read_bytes() == files[0]


def test_cards_have_no_public_hold_out(tmp_path: Path) -> None:
    write_holdout("cards", 7, tmp_path / "holdout.npz")
    assert not (tmp_path / "holdout.npz").exists()
    with pytest.raises(Invalid, match=r"^a population must be one of tutorial, got 'cards'$"):
        holdout_rows("cards", 7)
    with pytest.raises(Invalid, match=r"^a population must be one of tutorial, got 'cards'$"):
        shard_rows("cards", 7, 1)


def test_a_preset_that_a_population_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"^a preset of cards must be one of national, regional, skewed, got 'tiny'$"):
        write_shard("cards", 7, 1, tmp_path / "data", "tiny")
    with pytest.raises(Invalid, match=r"^the population tutorial has no presets, got 'national'$"):
        write_shard("tutorial", 7, 1, tmp_path / "data", "national")
    assert not list(tmp_path.rglob("*.*"))
