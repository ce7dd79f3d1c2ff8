"""A contribution's segments: each has its own words, in the order asked for, and its own bounds."""

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.fixed_point import BINS, SCORED_CAP, EvaluateCodec, Segment, TrainCodec
from fedfraud.layout import Layout, codec_for
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe, recipe_named
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import TUTORIAL, Feature

MANIFEST = Manifest("tutorial", TUTORIAL)
RECIPE = recipe_named("default")


def test_each_segment_has_its_own_words_in_the_order_asked_for() -> None:
    layout = Layout((Segment.EVALUATE, Segment.TRAIN), MANIFEST, RECIPE)
    assert layout.length == 2 * BINS + 4097 + 2
    whole = np.arange(layout.length, dtype=np.uint64)
    assert layout.part(whole, Segment.EVALUATE).tolist() == list(range(2 * BINS))
    assert layout.part(whole, Segment.TRAIN).tolist() == list(range(2 * BINS, layout.length))


def test_a_contribution_of_another_length_is_refused() -> None:
    layout = Layout((Segment.STANDARDISE,), MANIFEST, RECIPE)
    for length in (0, 241, 243):
        with pytest.raises(Invalid, match=f"^a contribution must have 242 words, got {length}$"):
            layout.check(np.zeros(length, np.uint64))


def test_every_segment_of_a_contribution_is_checked() -> None:
    layout = Layout((Segment.EVALUATE, Segment.TRAIN), MANIFEST, RECIPE)
    good = np.concatenate([np.zeros(2 * BINS, np.uint64), TrainCodec(4097, 4.0).encode(np.zeros(4097, np.float32), 5)])
    layout.check(good)
    bad_train, bad_evaluate = good.copy(), good.copy()
    bad_train[-2] = 0
    bad_evaluate[0] = SCORED_CAP + 1
    with pytest.raises(Invalid, match=r"^a weight must be"):
        layout.check(bad_train)
    with pytest.raises(Invalid, match=r"^a histogram count must be at most 4294967295, got 4294967296$"):
        layout.check(bad_evaluate)


def test_a_layout_needs_different_segments_and_gives_no_others() -> None:
    for segments in ((), (Segment.TRAIN, Segment.TRAIN)):
        with pytest.raises(Invalid, match=r"^segments must be one or more and differ, got"):
            Layout(segments, MANIFEST, RECIPE)
    with pytest.raises(Invalid, match=r"^no train segment in this layout: \['evaluate'\]$"):
        Layout((Segment.EVALUATE,), MANIFEST, RECIPE).part(np.zeros(2 * BINS, np.uint64), Segment.TRAIN)


def test_codecs_follow_the_manifest_and_the_recipe() -> None:
    manifest = Manifest("other", (Feature("amount", "euro", 0.01), Feature("age", "year", 1.0)), hidden_sizes=(3,))
    assert codec_for(Segment.STANDARDISE, manifest, RECIPE) == StandardiseCodec((0.01, 1.0))
    assert codec_for(Segment.TRAIN, manifest, Recipe("r", 0.1, 1, clip=2.0)) == TrainCodec(2 * 3 + 3 + 3 + 1, 2.0)
    assert codec_for(Segment.EVALUATE, manifest, RECIPE) == EvaluateCodec()
