"""Packed contributions: the same words come out, and hostile bytes make words that the bounds are held against."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedfraud.errors import Invalid
from fedfraud.fixed_point import BINS, SCORED_CAP, EvaluateCodec, Segment, TrainCodec, Words, to_bytes
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.packing import Packing
from fedfraud.recipe import Recipe
from fedfraud.transactions import Feature

MANIFEST = Manifest("two", (Feature("a", "euro", 0.01), Feature("b", "euro", 0.01)), (1,))
PARAMETERS = 5
LARGEST_CLIP = (2**31 - 1) / 2**24
"""With a larger one a sum over all seats could wrap; it is what makes four bytes enough."""
ORDERS = [(Segment.TRAIN,), (Segment.EVALUATE, Segment.TRAIN), (Segment.TRAIN, Segment.EVALUATE)]


def layout(segments: tuple[Segment, ...], clip: float = LARGEST_CLIP) -> Layout:
    return Layout(segments, MANIFEST, Recipe("r", 0.1, 8, clip=clip))


def words_of(asked: Layout, update: list[float], weight: int) -> Words:
    scores = EvaluateCodec().encode(np.array([-1.0, 1.0]), np.array([False, True]))
    parts = {Segment.EVALUATE: scores}
    codec = asked.codecs.get(Segment.TRAIN)
    if isinstance(codec, TrainCodec):
        parts[Segment.TRAIN] = codec.encode(np.array(update, np.float32), weight)
    return np.concatenate([parts[segment] for segment in asked.codecs])


@given(
    st.sampled_from(ORDERS),
    st.lists(st.floats(-200, 200, width=32), min_size=PARAMETERS, max_size=PARAMETERS),
    st.integers(1, 2**20),
)
def test_whatever_a_codec_makes_comes_out_as_it_went_in(
    segments: tuple[Segment, ...], update: list[float], weight: int
) -> None:
    asked = layout(segments)
    asked.codecs[Segment.TRAIN].check_capacity()  # type: ignore[union-attr]  # a train codec
    words, packing = words_of(asked, update, weight), Packing(asked)
    data = packing.pack(words)
    counts = 2 * BINS if Segment.EVALUATE in segments else 0
    assert len(data) == packing.size == 8 * len(words) - 4 * (PARAMETERS + counts)
    assert packing.unpack(data).tobytes() == words.tobytes()
    assert sum(map(packing.size_of, segments)) == packing.size


def test_the_bytes_are_the_other_words_then_counts_then_the_coordinates_before_their_weight() -> None:
    asked = layout((Segment.EVALUATE, Segment.TRAIN))
    words = words_of(asked, [1, -1, 2**-24, 0, 200], 3)
    words[:2] = SCORED_CAP, 2
    data = Packing(asked).pack(words)
    assert np.frombuffer(data, "<i8", 2).tolist() == [3, 1]  # the weight, and one clipped
    assert np.frombuffer(data, "<u4", 2 * BINS, offset=16).tolist() == words[: 2 * BINS].tolist()
    assert np.frombuffer(data, "<i4", offset=16 + 8 * BINS).tolist() == [2**24, -(2**24), 1, 0, 2**31 - 1]
    assert Packing(asked).unpack(data).tobytes() == words.tobytes()


def test_words_that_are_neither_are_as_they_are() -> None:
    asked = layout((Segment.STANDARDISE,))
    words, packing = np.arange(asked.length, dtype=np.uint64) << np.uint64(50), Packing(asked)
    assert packing.pack(words) == to_bytes(words)
    assert packing.unpack(to_bytes(words)).tobytes() == words.tobytes()
    assert packing.size == packing.head_bytes == packing.size_of(Segment.STANDARDISE) == 8 * len(words)


@pytest.mark.parametrize("wrong", [-8, -4, -1, 1, 4, 4 * PARAMETERS])
def test_bytes_of_another_length_are_refused(wrong: int) -> None:
    packing = Packing(layout((Segment.EVALUATE, Segment.TRAIN)))
    with pytest.raises(Invalid, match=f"^a contribution must have {packing.size} bytes, got {packing.size + wrong}$"):
        packing.unpack(bytes(packing.size + wrong))


@pytest.mark.parametrize("weight", [0, -1, 2**20 + 1, 2**62, -(2**63)])
def test_a_weight_beyond_its_bounds_wraps_nothing_unseen(weight: int) -> None:
    asked = layout((Segment.TRAIN,))
    data = bytearray(Packing(asked).pack(words_of(asked, [1.0] * PARAMETERS, 1)))
    data[:8] = weight.to_bytes(8, "little", signed=True)
    with pytest.raises(Invalid, match=f"^a weight must be 1 to 1048576, got {weight}$"):
        asked.check(Packing(asked).unpack(data))


@pytest.mark.parametrize("coordinate", [2**26 + 1, -(2**26) - 1, 2**31 - 1, -(2**31)])
def test_a_coordinate_beyond_the_clip_is_seen(coordinate: int) -> None:
    asked = layout((Segment.TRAIN,), clip=4.0)
    data = bytearray(Packing(asked).pack(words_of(asked, [1.0] * PARAMETERS, 2**20)))
    data[20:24] = coordinate.to_bytes(4, "little", signed=True)
    with pytest.raises(Invalid, match=f"got {coordinate * 2**20} at coordinate 1$"):
        asked.check(Packing(asked).unpack(data))


def test_places_lead_from_words_to_bytes() -> None:
    packing = Packing(layout((Segment.TRAIN, Segment.EVALUATE)))
    assert packing.parts == [slice(0, 5), slice(5, 7), slice(7, 7 + 2 * BINS)]
    assert packing.where(slice(1, 3)) == (16 + 8 * BINS + 4, "<i4")
    assert packing.where(slice(6, 7)) == (8, "<u8")
    assert packing.where(slice(8, 10)) == (16 + 4, "<u4")
    evaluated_first = Packing(layout((Segment.EVALUATE, Segment.TRAIN)))
    assert evaluated_first.where(slice(2 * BINS + 6, 2 * BINS + 7)) == (8, "<u8")
    assert evaluated_first.where(slice(0, 4)) == (16, "<u4")
