"""The tutorial's population: scikit-learn's bits, dealt out once each, and more rows of the same task."""

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

from fedfraud.errors import Invalid
from simulation.tutorial import Labelled, holdout, shard

TEN = range(1, 11)


@pytest.fixture(scope="module")
def first_ten() -> list[Labelled]:
    return [shard(7, slot) for slot in TEN]


@pytest.fixture(scope="module")
def next_ten() -> list[Labelled]:
    return [shard(7, slot) for slot in range(11, 21)]


def pooled(shards: list[Labelled]) -> Labelled:
    return np.concatenate([x for x, _ in shards]), np.concatenate([y for _, y in shards])


def row_set(features: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in features}


def test_seed_7_deals_the_published_rows_and_frauds(first_ten: list[Labelled]) -> None:
    dealt = " ".join(f"{len(labels)}/{labels.sum()}" for _, labels in first_ten)
    assert dealt == "4891/44 3819/0 4498/93 7717/0 7221/6 425/108 5816/679 1037/5 10347/5 2229/7"


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_first_block_has_the_bits_of_make_classification_and_its_stratified_split(seed: int) -> None:
    features, labels = make_classification(
        60_000,
        30,
        n_informative=18,
        n_redundant=8,
        weights=[0.985, 0.015],
        class_sep=1.5,
        flip_y=0.01,
        random_state=seed,
    )
    training, test, training_labels, test_labels = train_test_split(
        features, labels, test_size=0.2, stratify=labels, random_state=seed
    )
    own_test, own_test_labels = holdout(seed)
    assert own_test.tobytes() == test.tobytes()
    assert np.array_equal(own_test_labels, test_labels == 1)
    own, own_labels = pooled([shard(seed, slot) for slot in TEN])
    theirs = {row.tobytes(): bool(label) for row, label in zip(training, training_labels, strict=True)}
    assert len(own) == len(theirs) == 48_000
    assert {row.tobytes(): bool(label) for row, label in zip(own, own_labels, strict=True)} == theirs


def test_no_row_is_in_two_shards_or_in_the_hold_out(first_ten: list[Labelled], next_ten: list[Labelled]) -> None:
    later = [shard(7, slot) for slot in range(21, 31)]
    features, _ = pooled([*first_ten, *next_ten, *later, holdout(7)])
    assert len(row_set(features)) == len(features) == 3 * 48_000 + 12_000


def test_a_shard_has_thirty_float64_columns_and_bool_labels(next_ten: list[Labelled]) -> None:
    features, labels = next_ten[0]
    assert features.shape == (len(labels), 30)
    assert features.dtype == np.float64
    assert labels.dtype == np.bool_


def test_a_slot_is_the_same_whatever_was_asked_for_before() -> None:
    features, labels = shard(7, 12)
    shard(8, 12)
    again, labels_again = shard(7, 12)
    assert features.tobytes() == again.tobytes()
    assert labels.tobytes() == labels_again.tobytes()


def test_writing_into_a_shard_leaves_the_population_as_it_was() -> None:
    features, labels = shard(7, 3)
    features[:], labels[:] = 0, True
    assert shard(7, 3)[0].any()
    assert shard(7, 3)[1].sum() == 93


def test_further_banks_are_as_unlike_as_the_first_ten(next_ten: list[Labelled]) -> None:
    sizes = sorted(len(labels) for _, labels in next_ten)
    rates = sorted(labels.mean() for _, labels in next_ten)
    assert sizes[-1] > 10 * sizes[0]
    assert rates[-1] > 10 * rates[0]
    assert 0.015 < pooled(next_ten)[1].mean() < 0.025


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        MLPClassifier((64, 32), early_stopping=True, max_iter=40, n_iter_no_change=3, random_state=0),
    ],
)
def test_a_model_of_the_first_ten_scores_further_rows_like_the_hold_out(
    model: LogisticRegression | MLPClassifier, first_ten: list[Labelled], next_ten: list[Labelled]
) -> None:
    features, labels = pooled(first_ten)
    scaler = StandardScaler().fit(features)
    model.fit(scaler.transform(features), labels)

    def precision(rows: Labelled) -> float:
        return float(average_precision_score(rows[1], model.predict_proba(scaler.transform(rows[0]))[:, 1]))

    assert precision(pooled(next_ten)) == pytest.approx(precision(holdout(7)), abs=0.03)


def test_another_seeds_task_is_another_task(first_ten: list[Labelled]) -> None:
    means = pooled(first_ten)[0].mean(axis=0)
    assert np.abs(means - holdout(8)[0].mean(axis=0)).max() > 1
    assert np.abs(means - holdout(7)[0].mean(axis=0)).max() < 0.2


def test_every_bank_has_a_row_even_where_the_dirichlet_gave_none() -> None:
    # Seed 12 leaves the sixth shard empty; the largest gives it one row, and no row is lost.
    shards = [shard(12, slot) for slot in TEN]
    assert min(len(labels) for _, labels in shards) == 1
    assert len(row_set(pooled(shards)[0])) == 48_000


@pytest.mark.parametrize(
    ("seed", "slot", "message"),
    [
        (7, 0, "a slot must be at least 1, got 0"),
        (-1, 1, "a population's seed must be 0 to 2**32 - 1, got -1"),
        (2**32, 1, "a population's seed must be 0 to 2**32 - 1, got 4294967296"),
    ],
)
def test_a_slot_or_seed_out_of_range_is_refused(seed: int, slot: int, message: str) -> None:
    with pytest.raises(Invalid) as refused:
        shard(seed, slot)
    assert str(refused.value) == message
