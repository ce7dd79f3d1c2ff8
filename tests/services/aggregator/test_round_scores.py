"""A round tells of the model received what its sum gives, of the one produced what the hold-out gives."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedfraud.calibration import fitted
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import EvaluateCodec, Segment, Words
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.metrics import counts_of_logits, curve_from_counts, scores_from_counts
from fedfraud.recipe import Recipe
from fedfraud.trade import TradeTerms
from fedfraud.transactions import SCHEMAS
from services.aggregator.round_scores import RoundScores, pooled_scores, with_holdout
from tests.fedfraud.trades import figures, sums

MANIFEST = Manifest("cards", SCHEMAS["cards"], feature_plan=FeaturePlan("2018-04-01", test_days=3))
RECIPE = Recipe("r", 0.1, 16)
TRADED = Layout((Segment.EVALUATE, Segment.TRADE), MANIFEST, RECIPE)
WORDS = sums()
COUNTS = EvaluateCodec().centres(), *EvaluateCodec().decode(TRADED.part(WORDS, Segment.EVALUATE))
# Two of four rows score 0 or more; the fraud scores highest.
HELD = counts_of_logits(np.array([-2.0, -1.0, 0.0, 3.0]), np.array([False, False, False, True]))


def reader(layout: Layout, words: Words) -> tuple[Callable[[Segment], Words], list[Segment]]:
    """Reads a sum, and which segments of it were read."""
    read: list[Segment] = []

    def part(segment: Segment) -> Words:
        read.append(segment)
        return layout.part(words, segment)

    return part, read


def test_the_final_round_tells_scores_curve_recalibration_and_trade_and_reads_each_segment_once() -> None:
    part, read = reader(TRADED, WORDS)
    told = pooled_scores(TRADED, part, TradeTerms(), final=True)
    assert told.pooled == scores_from_counts(*COUNTS)
    assert told.pooled_curve == curve_from_counts(*COUNTS)
    assert told.recalibration == fitted(*COUNTS)
    assert told.trade is not None
    assert told.trade.budget == figures().budget
    assert read == [Segment.EVALUATE, Segment.TRADE]


def test_the_trade_is_told_in_the_terms_of_the_run() -> None:
    told = pooled_scores(TRADED, reader(TRADED, WORDS)[0], TradeTerms(admin_cents=1000), final=True)
    assert told.trade is not None
    assert told.trade.admin_cents == 1000


def test_a_training_round_tells_scores_alone() -> None:
    layout = Layout((Segment.EVALUATE,), MANIFEST, RECIPE)
    part, read = reader(layout, WORDS[: layout.length])
    assert pooled_scores(layout, part, TradeTerms(), final=False) == RoundScores(scores_from_counts(*COUNTS))
    assert read == [Segment.EVALUATE]


def test_where_nobody_evaluated_nothing_is_told_of_the_banks_rows() -> None:
    layout = Layout((Segment.TRAIN,), MANIFEST, RECIPE)
    part, read = reader(layout, np.zeros(layout.length, np.uint64))
    assert pooled_scores(layout, part, TradeTerms(), final=False) == RoundScores()
    assert read == []


@pytest.mark.parametrize("final", [False, True])
def test_the_hold_outs_curve_is_the_final_rounds_alone(final: bool) -> None:
    told = with_holdout(RoundScores(), HELD, scores_from_counts(*HELD), final=final)
    assert told.holdout == scores_from_counts(*HELD)
    assert (told.holdout.row_count, told.holdout.flagged_count, told.holdout.average_precision) == (4, 2, 1.0)
    assert bool(told.holdout_curve) is final
    assert told.holdout_log_loss is None  # nothing recalibrates


def test_the_hold_outs_log_loss_is_that_of_recalibrated_scores() -> None:
    pooled = pooled_scores(TRADED, reader(TRADED, WORDS)[0], TradeTerms(), final=True)
    assert pooled.recalibration is not None
    flat = replace(pooled, recalibration=replace(pooled.recalibration, slope=1e-12, intercept=0.0))
    told = with_holdout(flat, HELD, scores_from_counts(*HELD), final=True)
    assert told.holdout_log_loss == pytest.approx(np.log(2))  # every row at probability one half
    assert told.pooled == pooled.pooled


def test_a_hold_out_without_rows_has_no_log_loss() -> None:
    pooled = pooled_scores(TRADED, reader(TRADED, WORDS)[0], TradeTerms(), final=True)
    nobody = counts_of_logits(np.zeros(0), np.zeros(0, np.bool_))
    told = with_holdout(pooled, nobody, scores_from_counts(*nobody), final=True)
    assert told.holdout is not None
    assert (told.holdout.row_count, told.holdout_log_loss) == (0, None)
