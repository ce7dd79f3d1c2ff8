"""The tutorial's population: scikit-learn's make_classification, dealt out to banks by label with a Dirichlet.

The algorithm is scikit-learn's (sklearn/datasets/_samples_generator.py, after I. Guyon, "Design of experiments for the
NIPS 2003 variable selection benchmark"), step by step with the same draws, so that the first block has the bits of

    make_classification(60000, 30, n_informative=18, n_redundant=8, weights=[.985, .015], class_sep=1.5, flip_y=.01,
                        random_state=seed)

and more rows of the same task can be drawn afterwards, which make_classification cannot: it draws task and rows from
one stream. Slots 1-10 share the first block's training rows; each further ten share 48,000 fresh rows in the same way.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid

Labelled = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""(rows, 30) features and (rows,) labels."""

ROWS, TRAINING_SHARE, BANKS, CONCENTRATION = 60_000, 0.8, 10, 0.35
INFORMATIVE, REDUNDANT, RANDOM = 18, 8, 4
CLASS_WEIGHTS, CLUSTERS, CLASS_SEP, FLIP = (0.985, 0.015), 4, 1.5, 0.01


def shard(seed: int, slot: int) -> Labelled:
    """The rows of one slot, from 1. No row is in two shards, and every training row of the first block is in one."""
    if slot < 1:
        raise Invalid(f"a slot must be at least 1, got {slot}")
    number, place = divmod(slot - 1, BANKS)
    block, training = _training_block(_checked(seed), number)
    return block.take(training[_deal(block.labels[training], _stream(seed, number))[place]])


def holdout(seed: int) -> Labelled:
    """The stratified 20 % of the first block that no bank has: 12,000 rows."""
    block = _first_block(_checked(seed))
    _, test = _stratified_split(block.labels, seed)
    return block.take(test)


@dataclass(frozen=True)
class _Task:
    """What rows have in common: cluster centres (4, 18), a mixing of each (4, 18, 18), the redundant columns' weights
    (18, 8) and the order of the columns (30,). Cluster k is of class k % 2."""

    centroids: NDArray[np.float64]
    mixings: NDArray[np.float64]
    redundancy: NDArray[np.float64]
    columns: NDArray[np.intp]

    def place(self, normal: NDArray[np.float64], noise: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rows, 18) and (rows, 4) standard normal draws to (rows, 30) features, cluster after cluster; their columns
        are not in order yet."""
        features = np.zeros((len(normal), INFORMATIVE + REDUNDANT + RANDOM))
        informative = features[:, :INFORMATIVE]
        start = 0
        for size, mixing, centroid in zip(_cluster_sizes(len(normal)), self.mixings, self.centroids, strict=True):
            informative[start : start + size] = np.dot(normal[start : start + size], mixing) + centroid
            start += size
        features[:, INFORMATIVE : INFORMATIVE + REDUNDANT] = np.dot(informative, self.redundancy)
        features[:, -RANDOM:] = noise
        return features


@dataclass(frozen=True)
class _Block:
    """Rows as they were drawn, cluster after cluster, (rows, 30); the order in which they count, (rows,); and their
    labels in that order. A bank takes few of the rows: putting all in order costs more than drawing them."""

    task: _Task
    drawn: NDArray[np.float64]
    order: NDArray[np.intp]
    labels: NDArray[np.bool_]

    def take(self, rows: NDArray[np.intp]) -> Labelled:
        """These rows, by their numbers in order."""
        return np.ascontiguousarray(self.drawn[self.order[rows]][:, self.task.columns]), self.labels[rows]


@lru_cache(maxsize=1)
def _first_block(seed: int) -> _Block:
    draws = np.random.RandomState(seed)
    centroids = _corners(draws) * (2 * CLASS_SEP) - CLASS_SEP
    normal = draws.standard_normal((ROWS, INFORMATIVE))
    mixings = 2 * draws.uniform(size=(CLUSTERS, INFORMATIVE, INFORMATIVE)) - 1
    redundancy = 2 * draws.uniform(size=(INFORMATIVE, REDUNDANT)) - 1
    noise = draws.standard_normal((ROWS, RANDOM))
    labels = _labels(ROWS, draws)
    order = draws.permutation(ROWS)
    columns = draws.permutation(INFORMATIVE + REDUNDANT + RANDOM)
    task = _Task(centroids, mixings, redundancy, columns)
    return _Block(task, task.place(normal, noise), order, labels[order])


@lru_cache(maxsize=2)
def _training_block(seed: int, number: int) -> tuple[_Block, NDArray[np.intp]]:
    """A block and the numbers of the rows that ten banks share: of block 0 the training part, of a later one all."""
    first = _first_block(seed)
    if number == 0:
        return first, _stratified_split(first.labels, seed)[0]
    rows = round(ROWS * TRAINING_SHARE)
    draws = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, number))))
    normal, noise = draws.standard_normal((rows, INFORMATIVE)), draws.standard_normal((rows, RANDOM))
    labels = _labels(rows, draws)
    order = draws.permutation(rows)
    return _Block(first.task, first.task.place(normal, noise), order, labels[order]), np.arange(rows)


def _deal(labels: NDArray[np.bool_], draws: np.random.RandomState) -> list[NDArray[np.intp]]:
    """Row numbers of each of ten shards: every class is cut by a Dirichlet draw of its own."""
    shards: list[list[NDArray[np.intp]]] = [[] for _ in range(BANKS)]
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        draws.shuffle(rows)
        cuts = np.floor(np.cumsum(draws.dirichlet([CONCENTRATION] * BANKS)) * len(rows)).astype(int)
        for part, dealt in zip(shards, np.split(rows, cuts[:-1]), strict=True):
            part.append(dealt)
    dealt_rows = [np.sort(np.concatenate(part)) for part in shards]
    # A bank without a row could not join; some seeds leave one empty. It gets one row of the largest shard.
    for place in [i for i, rows in enumerate(dealt_rows) if not len(rows)]:
        largest = max(range(BANKS), key=lambda i: len(dealt_rows[i]))
        dealt_rows[place], dealt_rows[largest] = dealt_rows[largest][-1:], dealt_rows[largest][:-1]
    return dealt_rows


def _stream(seed: int, block: int) -> np.random.RandomState:
    """Draws for dealing: the tutorial's own for the first block, one stream apart for each further block."""
    if block == 0:
        return np.random.RandomState(seed)
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence((seed, block, 1))))


def _stratified_split(labels: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row numbers of training and hold-out, as scikit-learn's train_test_split(test_size=.2, stratify=labels) draws.

    With fifths no two remainders tie, so that rounding shares the rows out as its approximate mode does.
    """
    draws = np.random.RandomState(seed)
    training: list[NDArray[np.intp]] = []
    test: list[NDArray[np.intp]] = []
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        rows = rows[draws.permutation(len(rows))]
        cut = round(TRAINING_SHARE * len(rows))
        training.append(rows[:cut])
        test.append(rows[cut:])
    return draws.permutation(np.concatenate(training)), draws.permutation(np.concatenate(test))


def _corners(draws: np.random.RandomState) -> NDArray[np.float64]:
    """Four different corners of the unit cube, (4, 18) of 0 and 1."""
    chosen: list[int] = []
    while len(chosen) < CLUSTERS:
        corner = int(draws.randint(2**INFORMATIVE))
        if corner not in chosen:
            chosen.append(corner)
    bits = np.arange(INFORMATIVE - 1, -1, -1)
    return (np.array(chosen)[:, None] >> bits & 1).astype(np.float64)


def _labels(rows: int, draws: np.random.RandomState) -> NDArray[np.bool_]:
    """(rows,) labels cluster after cluster, one in a hundred drawn anew by the toss of a coin."""
    labels = np.repeat(np.arange(CLUSTERS) % 2, _cluster_sizes(rows))
    flipped = draws.uniform(size=rows) < FLIP
    labels[flipped] = draws.randint(2, size=flipped.sum())
    return labels.astype(np.bool_)


def _cluster_sizes(rows: int) -> list[int]:
    sizes = [int(rows * CLASS_WEIGHTS[k % 2] / (CLUSTERS // 2)) for k in range(CLUSTERS)]
    for extra in range(rows - sum(sizes)):
        sizes[extra % CLUSTERS] += 1
    return sizes


def _checked(seed: int) -> int:
    if not 0 <= seed < 2**32:
        raise Invalid(f"a population's seed must be 0 to 2**32 - 1, got {seed}")
    return seed
