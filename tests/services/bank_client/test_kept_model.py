"""The kept model: what was written comes back, or it is refused by name."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud import fixed_point
from fedfraud.errors import Invalid, NotFound
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import CountCodec
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector, model_sha256, to_bytes
from fedfraud.transactions import CARDS, Feature
from services.bank_client.kept_model import (
    FILE,
    KeptModel,
    Variant,
    day_count,
    keep,
    keep_counters,
    load,
    load_counters,
)
from services.bank_client.own_trade import Threshold

TABLE = Manifest("two", (Feature("a", "euro", 2.0**-20), Feature("b", "euro", 1)), (4,))
PLAN = FeaturePlan("2018-04-01", bucket_count=8)
PAYMENTS = Manifest("cards", CARDS, (4,), feature_plan=PLAN)
THRESHOLD = Threshold(-1.5, 0.18, 9.5, None, 0.25)


def kept(manifest: Manifest = TABLE, counters: bytes = b"", run: str = "run-1") -> KeptModel:
    count = len(manifest.features)
    state = RunState((0.1,) * count, (1.0,) * count, 85, 17, 1e3, counters)
    vector = initial_vector(manifest, 7)
    variant = Variant("federated", to_bytes(vector), model_sha256(manifest, state, vector), THRESHOLD)
    return KeptModel(run, manifest, state, True, 10, "", (variant,))


def counters(value: int) -> tuple[bytes, fixed_point.Words]:
    words = CountCodec(8, PLAN.counted_days).encode(np.full((8, PLAN.counted_days, 2), value))
    return hashlib.sha256(fixed_point.to_bytes(words)).digest(), words


def test_what_was_kept_comes_back_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    keep(tmp_path, kept())
    assert load(tmp_path) == kept()
    assert load(tmp_path).vector.tolist() == initial_vector(TABLE, 7).tolist()
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def test_the_newest_run_s_model_is_the_one_that_is_kept(tmp_path: Path) -> None:
    for run in ("run-1", "run-2"):
        keep(tmp_path, kept(run=run))
    assert load(tmp_path).run_id == "run-2"


def test_the_last_variant_scores(tmp_path: Path) -> None:
    first = kept()
    vector = initial_vector(TABLE, 8)
    own = Variant("own", to_bytes(vector), model_sha256(TABLE, first.run_state, vector), None)
    keep(tmp_path, replace(first, variants=(*first.variants, own)))
    found = load(tmp_path)
    assert found.scoring == own
    assert found.vector.tolist() == vector.tolist()


def test_counters_come_back_by_the_hash_that_the_model_names(tmp_path: Path) -> None:
    (one, words), (two, others) = counters(1), counters(2)
    keep_counters(tmp_path, one, words)
    keep(tmp_path, kept(PAYMENTS, one))
    keep_counters(tmp_path, two, others)  # the next run has begun: the model kept is still the former one's
    assert load_counters(tmp_path, load(tmp_path)).tolist() == np.ones((8, PLAN.counted_days, 2)).tolist()
    keep(tmp_path, kept(PAYMENTS, two))
    assert load_counters(tmp_path, load(tmp_path)).max() == 2
    assert len(list(tmp_path.iterdir())) == 2  # the former counters are gone


def test_a_folder_without_a_model_says_what_leaves_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"must have kept a model to score with, .* has none: its first run that ends"):
        load(tmp_path)


@pytest.mark.parametrize("place", [10, 200, -2])
def test_a_file_with_another_byte_is_refused(tmp_path: Path, place: int) -> None:
    keep(tmp_path, kept())
    data = bytearray((tmp_path / FILE).read_bytes())
    data[place] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(Invalid, match="must have the hash in its last line"):
        load(tmp_path)


def test_a_file_that_ends_early_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, kept())
    data = (tmp_path / FILE).read_bytes()
    for end in (0, 1, len(data) // 2, len(data) - 66):
        (tmp_path / FILE).write_bytes(data[:end])
        with pytest.raises(Invalid, match="must have the hash in its last line"):
            load(tmp_path)


@pytest.mark.parametrize("more", [b"x", b"\n", b"\n{}\n", b"x" * 100 + b"\n"])
def test_a_file_that_goes_on_after_its_hash_is_refused(tmp_path: Path, more: bytes) -> None:
    sha256, words = counters(1)
    keep_counters(tmp_path, sha256, words)
    keep(tmp_path, kept(PAYMENTS, sha256))
    found = load(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes() + more)
    with pytest.raises(Invalid, match="must have the hash in its last line"):
        load(tmp_path)
    with pytest.raises(Invalid, match="must end with their file"):
        load_counters(tmp_path, found)


def test_a_vector_under_another_model_s_hash_is_refused(tmp_path: Path) -> None:
    variant = replace(kept().scoring, vector=to_bytes(initial_vector(TABLE, 8)))
    keep(tmp_path, replace(kept(), variants=(variant,)))
    with pytest.raises(Invalid, match="must have the hash that it was kept with"):
        load(tmp_path)


def test_other_counters_under_the_name_are_refused_and_so_are_none(tmp_path: Path) -> None:
    one, _ = counters(1)
    with pytest.raises(Invalid, match="must be beside it"):
        load_counters(tmp_path, kept(PAYMENTS, one))
    keep_counters(tmp_path, one, counters(2)[1])
    with pytest.raises(Invalid, match="must have the hash in their name"):
        load_counters(tmp_path, kept(PAYMENTS, one))


def test_a_disk_that_fails_costs_the_files_and_nothing_else(tmp_path: Path) -> None:
    keep(tmp_path / "none", kept())
    keep_counters(tmp_path / "none", *counters(1))
    assert not (tmp_path / "none").exists()


def test_a_budget_is_for_each_day_of_the_plan_or_each_thousand_rows_of_a_table() -> None:
    assert day_count(PAYMENTS, 5_000) == 7
    assert day_count(TABLE, 5_000) == 5
