"""Words in files, in blocks of two so that every edge is met: the same sums, refusals and models as in memory."""

from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, Words, to_bytes
from fedfraud.layout import Layout, train_codec
from fedfraud.manifest import Manifest
from fedfraud.packing import Packing
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from services.aggregator import stored_words

MANIFEST = Manifest("tutorial", TUTORIAL, (1,))  # 33 parameters
LAYOUT = Layout((Segment.EVALUATE, Segment.TRAIN), MANIFEST, recipe_named("default"))
PACKING = Packing(LAYOUT)
TRAIN = train_codec(MANIFEST, recipe_named("default"))


@pytest.fixture(autouse=True)
def two_words_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_words, "BLOCK_WORDS", 2)


def stored(path: Path, words: Words) -> Path:
    path.write_bytes(to_bytes(words))
    return path


def passed(data: bytes, head_bytes: int, length: int) -> stored_words.Extremes:
    extremes = stored_words.Extremes(head_bytes)
    for start in range(0, len(data), length):
        extremes.take(data[start : start + length])
    return extremes


def checked(path: Path, data: bytes, length: int = 8) -> None:
    path.write_bytes(data)
    stored_words.check(path, PACKING, passed(data, PACKING.head_bytes, length))


def contribution(value: float, weight: int) -> Words:
    scores = np.zeros(LAYOUT.length - TRAIN.length, np.uint64)
    return np.concatenate([scores, TRAIN.encode(np.full(33, value, np.float32), weight)])


def test_blocks_are_the_words_and_the_last_one_is_shorter(tmp_path: Path) -> None:
    path = stored(tmp_path / "words", np.arange(9, dtype=np.uint64))
    assert [block.tolist() for block in stored_words.blocks(path, slice(3, 8))] == [[3, 4], [5, 6], [7]]
    assert stored_words.read(path, slice(3, 8)).tolist() == [3, 4, 5, 6, 7]
    assert list(stored_words.blocks(path, slice(3, 3))) == []


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "words", np.arange(3, dtype=np.uint64))
    with pytest.raises(Invalid, match=r"^a file must have 4 words, words has 3$"):
        stored_words.read(path, slice(2, 4))
    with pytest.raises(Invalid, match=r"^a file must have 7 coordinates, words has 6$"):
        stored_words.read_vector(path, slice(5, 7))


def test_a_place_of_a_models_file_is_its_coordinates(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(np.arange(9, dtype="<f4").tobytes())
    assert stored_words.read_vector(path, slice(3, 6)).tolist() == [3.0, 4.0, 5.0]


@pytest.mark.parametrize("segments", [(Segment.EVALUATE, Segment.TRAIN), (Segment.TRAIN, Segment.EVALUATE)])
def test_a_sum_of_files_is_that_of_their_words(
    tmp_path: Path, segments: tuple[Segment, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_words, "BLOCK_WORDS", 7)
    packing, draws = Packing(Layout(segments, MANIFEST, recipe_named("default"))), np.random.default_rng(7)
    paths, expected = [], np.zeros(packing.word_count, np.uint64)
    for weight in (1, 3, 2**20):
        scores = draws.integers(0, 9, 2 * 8192).astype(np.uint64)
        update = TRAIN.encode(draws.normal(0, 3, 33).astype(np.float32), weight)
        words = np.concatenate([scores if segment is Segment.EVALUATE else update for segment in segments])
        expected += words
        paths.append(tmp_path / str(weight))
        paths[-1].write_bytes(packing.pack(words))
    assert np.concatenate(list(stored_words.added(paths, packing))).tolist() == expected.tolist()


def test_a_sum_of_words_of_eight_bytes_is_exact_modulo_2_to_the_64(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing = Packing(Layout((Segment.STANDARDISE,), MANIFEST, recipe_named("default")))
    one, two = (np.full(packing.word_count, word, np.uint64) for word in (2**64 - 1, 3))
    paths = [stored(tmp_path / "one", one), stored(tmp_path / "two", two)]
    monkeypatch.setattr(stored_words, "BLOCK_WORDS", 100)
    assert set(np.concatenate(list(stored_words.added(paths, packing))).tolist()) == {2}


def test_a_contribution_s_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "short"
    for missing in (4, 4 * 33 + 4, PACKING.size - 4):  # of the coordinates, of the counts, of the weight
        path.write_bytes(PACKING.pack(contribution(1.0, 3))[:-missing])
        with pytest.raises(Invalid, match=rf"^a contribution must have {PACKING.size} bytes, "):
            list(stored_words.added([path], PACKING))


def test_a_stored_contribution_within_its_bounds_is_taken(tmp_path: Path) -> None:
    checked(tmp_path / "good", PACKING.pack(contribution(4.0, 3)))


@pytest.mark.parametrize(
    ("start", "length", "value", "sentence"),
    [
        (-4, 4, 4 * 2**24 + 1, "a coordinate must lie within the weight times the clip, .* at coordinate 32"),
        (-132, 4, -4 * 2**24 - 1, "a coordinate must lie within the weight times the clip, .* at coordinate 0"),
        (0, 8, 0, "a weight must be 1 to 1048576, got 0"),
        (8, 8, 34, "clipped coordinates must be 0 to 33, got 34"),
        (16, 8, -1, "a histogram's rows must be at most 4294967295, got 8589934590"),
    ],
)
def test_a_stored_contribution_beyond_its_bounds_is_refused(
    tmp_path: Path, start: int, length: int, value: int, sentence: str
) -> None:
    data = bytearray(PACKING.pack(contribution(1.0, 3)))
    start %= len(data)
    data[start : start + length] = value.to_bytes(length, "little", signed=True)
    for piece in (1, 5, 8, 100_001, 200_000):
        with pytest.raises(Invalid, match=f"^{sentence}"):
            checked(tmp_path / "bad", bytes(data), piece)
    with pytest.raises(Invalid, match=f"^{sentence}"):
        LAYOUT.check(PACKING.unpack(data))


def test_a_stored_contribution_of_another_length_is_refused(tmp_path: Path) -> None:
    sentence = rf"^a contribution must have {PACKING.size} bytes, got {PACKING.size - 4}$"
    with pytest.raises(Invalid, match=sentence):
        checked(tmp_path / "short", PACKING.pack(contribution(1.0, 3))[:-4])


@pytest.mark.parametrize("length", [1, 3, 4, 7, 8, 9, 16, 27, 100])
@pytest.mark.parametrize("head_bytes", [0, 8, 16])
def test_the_extremes_of_the_coordinates_are_found_whatever_the_pieces(length: int, head_bytes: int) -> None:
    data = np.full(head_bytes // 4, -99, np.int32).tobytes() + np.array([3, -4, 5, -1], np.int32).tobytes()
    assert passed(data, head_bytes, length).found.tolist() == [-4, 5]
    assert passed(data[: head_bytes + 4], head_bytes, length).found.tolist() == [0, 3]
    assert passed(data[:head_bytes], head_bytes, length).found.tolist() == [0, 0]
