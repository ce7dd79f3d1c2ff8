"""The server's step from file to file: the same bits as in memory, whatever the blocks."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words, to_bytes
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.model import Vector, as_bytes
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from fedfraud.wire import RoundKey
from services.aggregator import stored_words
from services.aggregator.averaging import server_step
from services.aggregator.server_step import Step
from services.aggregator.vectors import Vectors

MANIFEST = Manifest("tutorial", TUTORIAL, (1,))
LAYOUT = Layout((Segment.TRAIN,), MANIFEST, recipe_named("default"))
CODEC = TrainCodec(MANIFEST.parameter_count, recipe_named("default").clip)
FIRST, SECOND = RoundKey("run", 2, 1), RoundKey("run", 3, 1)


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vectors:
    """With a sum in each of two rounds: updates between -1 and 1, 3 as weight."""
    monkeypatch.setattr(stored_words, "BLOCK_WORDS", 4)
    found = Vectors(tmp_path)
    found.prepare()
    for number, key in enumerate((FIRST, SECOND)):
        found.write_sum(key, to_bytes(CODEC.encode(update(number), 3)))
    return found


def update(number: int) -> "np.ndarray[tuple[int], np.dtype[np.float32]]":
    return np.random.default_rng(number).uniform(-1, 1, MANIFEST.parameter_count).astype(np.float32)


def stored(vectors: Vectors, vector: Vector) -> Path:
    """The file of a model."""
    return vectors.model(vectors.write_model(as_bytes(vector)))


def step(vectors: Vectors, key: RoundKey, momentum: float, summed: Words | None = None) -> Step:
    return Step(CODEC, momentum, vectors, vectors.sum(key) if summed is None else summed, LAYOUT)


@pytest.mark.parametrize("where", ["on disk", "in memory"])
def test_two_steps_with_momentum_have_the_bits_of_steps_in_memory(vectors: Vectors, where: str) -> None:
    vector, velocity = np.ones(MANIFEST.parameter_count, np.float32), np.zeros(MANIFEST.parameter_count)
    stepped, former = vector.copy(), None
    for number, key in enumerate((FIRST, SECOND)):
        summed = stored_words.read(vectors.sum(key), slice(0, LAYOUT.length)) if where == "in memory" else None
        average = CODEC.decode(CODEC.encode(update(number), 3)).average
        vector, velocity = server_step(vector, velocity, average, 0.5)
        sha256 = step(vectors, key, 0.5, summed).take(stored(vectors, stepped), stepped, former, key)
        former = key
        assert stepped.tobytes() == vector.tobytes()
        assert vectors.velocity(key).read_bytes() == velocity.tobytes()
        assert sha256 == hashlib.sha256(velocity.tobytes()).digest()


@pytest.mark.parametrize("where", ["on disk", "in memory"])
def test_a_step_may_be_taken_again_when_the_disk_failed(vectors: Vectors, where: str) -> None:
    server, vector, found = step(vectors, FIRST, 0.5), np.ones(MANIFEST.parameter_count, np.float32), []
    before: Path | Vector = stored(vectors, vector) if where == "on disk" else vector.copy()
    for _ in range(2):
        sha256 = server.take(before, vector, None, FIRST)
        found.append((vector.tobytes(), sha256))
    assert found[0] == found[1]
    kept = before.read_bytes() if isinstance(before, Path) else before.tobytes()
    assert kept == np.ones(MANIFEST.parameter_count, np.float32).tobytes()


def test_without_momentum_nothing_is_written(vectors: Vectors) -> None:
    vector = np.zeros(MANIFEST.parameter_count, np.float32)
    sha256 = step(vectors, FIRST, 0.0).take(stored(vectors, vector), vector, None, FIRST)
    assert np.abs(vector - update(0)).max() < 2**-24
    assert sha256 == b""
    assert not vectors.velocity(FIRST).exists()


def test_a_model_that_would_not_be_finite_is_refused_and_leaves_no_file(vectors: Vectors) -> None:
    vector = np.full(MANIFEST.parameter_count, np.inf, np.float32)
    before = stored(vectors, vector)
    with pytest.raises(Invalid, match=r"^a model must be finite"):
        step(vectors, FIRST, 0.5).take(before, vector, None, FIRST)
    assert not vectors.velocity(FIRST).exists()


def test_clipped_coordinates_are_counted(vectors: Vectors) -> None:
    vectors.write_sum(FIRST, to_bytes(CODEC.encode(np.full(MANIFEST.parameter_count, 9.0, np.float32), 3)))
    assert step(vectors, FIRST, 0.5).clipped == MANIFEST.parameter_count
