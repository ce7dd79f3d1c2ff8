"""The figures that a committed round tells: its sum's, of the model received; the hold-out's, of the one produced."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fedfraud.calibration import Recalibration, fitted, log_loss
from fedfraud.fixed_point import EvaluateCodec, Segment, Words
from fedfraud.layout import Layout
from fedfraud.metrics import Counts, CurvePoint, Scores, curve_from_counts, scores_from_counts
from fedfraud.trade import TradeTerms
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import TradeFigures, trade_figures


@dataclass(frozen=True)
class RoundScores:
    """Each is there where the round had what it follows from; all but the two scores are the final round's alone."""

    pooled: Scores | None = None
    """Of the model received, on all validation rows of the cohort."""
    pooled_curve: tuple[CurvePoint, ...] = ()
    trade: TradeFigures | None = None
    recalibration: Recalibration | None = None
    """What would make the received model's scores fit those rows best."""
    holdout: Scores | None = None
    """Of the model produced."""
    holdout_curve: tuple[CurvePoint, ...] = ()
    holdout_log_loss: float | None = None
    """With the recalibration."""


def pooled_scores(layout: Layout, part: Callable[[Segment], Words], terms: TradeTerms, *, final: bool) -> RoundScores:
    """What a sum in this layout says, of which `part` gives a segment's words."""
    if Segment.EVALUATE not in layout.codecs:
        return RoundScores()
    codec = EvaluateCodec()
    counts = codec.centres(), *codec.decode(part(Segment.EVALUATE))
    scores = RoundScores(scores_from_counts(*counts))
    if not final:
        return scores
    scores = replace(scores, pooled_curve=curve_from_counts(*counts), recalibration=fitted(*counts))
    traded = layout.codecs.get(Segment.TRADE)
    if not isinstance(traded, TradeCodec):
        return scores
    summed = traded.decode(part(Segment.TRADE))
    return replace(scores, trade=trade_figures(*counts, summed, terms.budgets, terms.headline, terms.admin_cents))


def with_holdout(
    scores: RoundScores, counts: tuple[NDArray[np.float64], Counts, Counts], holdout: Scores, *, final: bool
) -> RoundScores:
    """The same, and those of the hold-out's rows, counted by the score that the model produced gives them; `holdout`
    are the figures of these counts."""
    (logits, *labels), fit = counts, scores.recalibration
    return replace(
        scores,
        holdout=holdout,
        holdout_curve=curve_from_counts(*counts) if final else (),
        holdout_log_loss=log_loss(fit.logits(logits), *labels) if fit and holdout.row_count else None,
    )
