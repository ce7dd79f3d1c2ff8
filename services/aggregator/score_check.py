"""Holds the figures that a committed round tells to what its sum gives."""

import math

import numpy as np

from fedfraud.calibration import Recalibration, fitted
from fedfraud.errors import Invalid
from fedfraud.fixed_point import EvaluateCodec, Segment, Words
from fedfraud.layout import Layout
from fedfraud.metrics import CurvePoint, Scores, curve_from_counts, scores_from_counts
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import BudgetFigures, RankFigures, TradeFigures, trade_figures
from fedfraud.trade_wire import trade_from_proto
from fedfraud.v1 import history_pb2
from fedfraud.wire import RoundKey, curve_from_proto, recalibration_from_proto, scores_from_proto

_Figures = Scores | RankFigures | BudgetFigures


def check_scores(
    key: RoundKey,
    committed: history_pb2.RoundCommitted,
    layout: Layout,
    words: Words,
    terms: TradeTerms = USUAL_TERMS,
) -> None:
    """The scores of the model received, its curve, and its figures of the trade; Invalid names what differs."""
    codec = EvaluateCodec()
    counts = codec.centres(), *codec.decode(layout.part(words, Segment.EVALUATE))
    _check_figures(key, "a round's pooled", scores_from_counts(*counts), scores_from_proto(committed.pooled))
    told_points = curve_from_proto(committed.pooled_curve)
    if told_points:  # of the final round alone
        _check_curve(key, curve_from_counts(*counts), told_points)
    if committed.HasField("recalibration"):
        _check_recalibration(key, fitted(*counts), recalibration_from_proto(committed.recalibration))
    traded = layout.codecs.get(Segment.TRADE)
    if (traded is not None) != committed.HasField("trade"):
        raise Invalid(
            f"figures of the trade must be told where there is a trade segment and nowhere else, not in {key}"
        )
    if isinstance(traded, TradeCodec):
        summed = traded.decode(layout.part(words, Segment.TRADE))
        expected = trade_figures(*counts, summed, terms.budgets, terms.headline, terms.admin_cents)
        _check_trade(key, expected, trade_from_proto(committed.trade))


def _check_curve(key: RoundKey, points: tuple[CurvePoint, ...], told_points: tuple[CurvePoint, ...]) -> None:
    if len(points) != len(told_points):
        raise Invalid(f"the thresholds of {key}'s curve must be {len(points)}, got {len(told_points)}")
    for point, told in zip(points, told_points, strict=True):
        expected, got = (point.alert_count, point.hit_count), (told.alert_count, told.hit_count)
        if expected != got:
            raise Invalid(f"alerts and hits of {key}'s curve must be {expected}, got {got}")
        if not math.isclose(point.expected_hit_count, told.expected_hit_count, rel_tol=1e-9):
            raise Invalid(f"a curve's expected hits must be what its sum gives, {point}, {key} has {told}")


def _check_recalibration(key: RoundKey, expected: Recalibration | None, told: Recalibration) -> None:
    """To six digits: a sum over bins may round otherwise on another machine, and the fit with it."""
    pairs = zip(vars(expected).values(), vars(told).values(), strict=True) if expected else ()
    if expected is None or not all(math.isclose(one, got, rel_tol=1e-6, abs_tol=1e-9) for one, got in pairs):
        raise Invalid(f"a recalibration must be what its sum gives, {expected}, {key} has {told}")


def _check_trade(key: RoundKey, expected: TradeFigures, told: TradeFigures) -> None:
    for name in ("budgets", "headline_budget", "admin_cents", "replicate_count"):
        if getattr(expected, name) != getattr(told, name):
            raise Invalid(f"the trade's {name} must be {getattr(expected, name)}, {key} has {getattr(told, name)}")
    for name in ("days", "budgets"):
        if not np.array_equal(getattr(expected.counts, name), getattr(told.counts, name)):
            raise Invalid(f"the counts of the trade's {name} must be what their sum gives, {key} has others")
    for name in ("rank", "rank_low", "rank_high", "budget", "budget_low", "budget_high"):
        _check_figures(key, f"the trade's {name}", getattr(expected, name), getattr(told, name))


def _check_figures(key: RoundKey, whose: str, expected: _Figures, told: _Figures) -> None:
    for name, value in vars(expected).items():
        got = getattr(told, name)
        if got != value and not (got and value and math.isclose(got, value, rel_tol=1e-9)):
            raise Invalid(f"{whose} {name} must be what its sum gives, {value}, {key} has {got}")
