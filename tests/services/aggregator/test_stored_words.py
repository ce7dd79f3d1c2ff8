"""Words in files, in blocks of two so that every edge is met: the same sums, refusals and models as in memory."""

from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words, to_bytes
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from services.aggregator import stored_words

MANIFEST = Manifest("tutorial", TUTORIAL, (1,))  # 33 parameters
LAYOUT = Layout((Segment.EVALUATE, Segment.TRAIN), MANIFEST, recipe_named("default"))


@pytest.fixture(autouse=True)
def two_words_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_words, "BLOCK_WORDS", 2)


def stored(path: Path, words: Words) -> Path:
    path.write_bytes(to_bytes(words))
    return path


def passed(words: Words, place: slice, length: int = 8) -> stored_words.Extremes:
    extremes, data = stored_words.Extremes(place), to_bytes(words)
    for start in range(0, len(data), length):
        extremes.take(data[start : start + length])
    return extremes


def checked(path: Path, words: Words, length: int = 8) -> None:
    stored_words.check(stored(path, words), LAYOUT, passed(words, stored_words.update_place(LAYOUT), length))


def contribution(value: float, weight: int) -> Words:
    codec = LAYOUT.codecs[Segment.TRAIN]
    assert isinstance(codec, TrainCodec)
    scores = np.zeros(LAYOUT.length - codec.length, np.uint64)
    return np.concatenate([scores, codec.encode(np.full(33, value, np.float32), weight)])


def test_blocks_are_the_words_and_the_last_one_is_shorter(tmp_path: Path) -> None:
    path = stored(tmp_path / "words", np.arange(9, dtype=np.uint64))
    assert [block.tolist() for block in stored_words.blocks(path, slice(3, 8))] == [[3, 4], [5, 6], [7]]
    assert stored_words.read(path, slice(3, 8)).tolist() == [3, 4, 5, 6, 7]
    assert list(stored_words.blocks(path, slice(3, 3))) == []


def test_a_file_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = stored(tmp_path / "words", np.arange(3, dtype=np.uint64))
    with pytest.raises(Invalid, match=r"^a file must have 4 words, words has 3$"):
        stored_words.read(path, slice(2, 4))


def test_a_sum_of_files_is_exact_modulo_2_to_the_64(tmp_path: Path) -> None:
    paths = [
        stored(tmp_path / "one", np.array([1, 2, 2**64 - 1], np.uint64)),
        stored(tmp_path / "two", np.array([4, 0, 2], np.uint64)),
    ]
    assert np.concatenate(list(stored_words.added(paths, 3))).tolist() == [5, 2, 1]


def test_a_stored_contribution_within_its_bounds_is_taken(tmp_path: Path) -> None:
    checked(tmp_path / "good", contribution(4.0, 3))


@pytest.mark.parametrize(
    ("place", "word", "sentence"),
    [
        (-3, 3 * 4 * 2**24 + 1, "a coordinate must lie within the weight times the clip, .* at coordinate 32"),
        (-35, 2**64 - 3 * 4 * 2**24 - 1, "a coordinate must lie within the weight times the clip, .* at coordinate 0"),
        (-2, 0, "a weight must be 1 to 1048576, got 0"),
        (-1, 34, "clipped coordinates must be 0 to 33, got 34"),
        (0, 2**35, "a histogram count must be at most 17179869184, got 34359738368"),
    ],
)
def test_a_stored_contribution_beyond_its_bounds_is_refused(
    tmp_path: Path, place: int, word: int, sentence: str
) -> None:
    words = contribution(1.0, 3)
    words[place] = word
    for length in (1, 5, 8, 100_001, 200_000):
        with pytest.raises(Invalid, match=f"^{sentence}"):
            checked(tmp_path / "bad", words, length)
    with pytest.raises(Invalid, match=f"^{sentence}"):
        LAYOUT.check(words)


def test_a_stored_contribution_of_another_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=rf"^a contribution must have {LAYOUT.length} words, got {LAYOUT.length - 1}$"):
        checked(tmp_path / "short", contribution(1.0, 3)[1:])


@pytest.mark.parametrize("length", [1, 3, 7, 8, 9, 16, 27, 100])
def test_the_extremes_of_a_place_are_found_whatever_the_pieces(length: int) -> None:
    words = np.array([-9, 9, 3, -4, 5, -9, 9], np.int64).view(np.uint64)
    assert passed(words, slice(2, 5), length).words.view(np.int64).tolist() == [-4, 5]
    assert passed(words, slice(1, 2), length).words.view(np.int64).tolist() == [0, 9]
    assert passed(words, slice(0, 0), length).words.tolist() == [0, 0]


def test_a_contribution_without_an_update_has_an_empty_place_for_it() -> None:
    assert stored_words.update_place(Layout((Segment.EVALUATE,), MANIFEST, recipe_named("default"))) == slice(0, 0)
