"""What a round tells of its sum is held to the sum: scores, curve and figures of the trade."""

from collections.abc import Callable

import numpy as np
import pytest

from fedfraud.calibration import Recalibration, fitted
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import EvaluateCodec, Segment
from fedfraud.layout import Layout
from fedfraud.manifest import Manifest
from fedfraud.metrics import curve_from_counts, scores_from_counts
from fedfraud.recipe import Recipe
from fedfraud.trade_wire import trade_to_proto
from fedfraud.transactions import SCHEMAS
from fedfraud.v1 import history_pb2
from fedfraud.wire import RoundKey, curve_to_proto, recalibration_to_proto, scores_to_proto
from services.aggregator.score_check import check_scores
from tests.fedfraud.trades import figures, sums

KEY = RoundKey("run", 5, 1)
MANIFEST = Manifest("cards", SCHEMAS["cards"], feature_plan=FeaturePlan("2018-04-01", test_days=3))
LAYOUT = Layout((Segment.EVALUATE, Segment.TRADE), MANIFEST, Recipe("r", 0.1, 16))
WORDS = sums()
COUNTS = EvaluateCodec().centres(), *EvaluateCodec().decode(LAYOUT.part(WORDS, Segment.EVALUATE))
FIT = fitted(*COUNTS) or Recalibration(0, 0, 0)


@pytest.fixture
def committed() -> history_pb2.RoundCommitted:
    return history_pb2.RoundCommitted(
        pooled=scores_to_proto(scores_from_counts(*COUNTS)),
        pooled_curve=curve_to_proto(curve_from_counts(*COUNTS)),
        trade=trade_to_proto(figures()),
        recalibration=recalibration_to_proto(FIT, None),
    )


def test_what_the_sum_gives_is_found_right(committed: history_pb2.RoundCommitted) -> None:
    check_scores(KEY, committed, LAYOUT, WORDS)


def _another_slope(told: history_pb2.RoundCommitted) -> str:
    told.recalibration.slope *= 1.001
    return "a recalibration must be what its sum gives, "


def _a_lower_log_loss(told: history_pb2.RoundCommitted) -> str:
    told.recalibration.log_loss -= 1e-4
    return "a recalibration must be what its sum gives, "


def _better_precision(told: history_pb2.RoundCommitted) -> str:
    told.trade.budget.card_precision += 1e-6
    return "the trade's budget card_precision must be what its sum gives, "


def _a_narrower_interval(told: history_pb2.RoundCommitted) -> str:
    told.trade.rank_low.average_precision = told.trade.rank.average_precision
    return "the trade's rank_low average_precision must be what its sum gives, "


def _more_money(told: history_pb2.RoundCommitted) -> str:
    told.trade.days[1].budgets[2].stopped_cents += 1
    return "the counts of the trade's budgets must be what their sum gives, run/5/1 has others"


def _another_day(told: history_pb2.RoundCommitted) -> str:
    told.trade.days[0].fraud_cents += 1
    return "the counts of the trade's days must be what their sum gives, run/5/1 has others"


def _a_cheaper_alert(told: history_pb2.RoundCommitted) -> str:
    told.trade.admin_cents = 100
    return "the trade's admin_cents must be 250, run/5/1 has 100"


def _nothing(told: history_pb2.RoundCommitted) -> str:
    told.ClearField("trade")
    return "figures of the trade must be told where there is a trade segment and nowhere else, not in run/5/1"


def _a_better_score(told: history_pb2.RoundCommitted) -> str:
    told.pooled.roc_auc = 0.99
    return "a round's pooled roc_auc must be what its sum gives, "


def _a_point_less(told: history_pb2.RoundCommitted) -> str:
    del told.pooled_curve[0]
    return "the thresholds of run/5/1's curve must be "


@pytest.mark.parametrize(
    "tamper",
    [
        _another_slope,
        _a_lower_log_loss,
        _better_precision,
        _a_narrower_interval,
        _more_money,
        _another_day,
        _a_cheaper_alert,
        _nothing,
        _a_better_score,
        _a_point_less,
    ],
)
def test_what_the_sum_does_not_give_is_named(
    committed: history_pb2.RoundCommitted, tamper: Callable[[history_pb2.RoundCommitted], str]
) -> None:
    sentence = tamper(committed)
    with pytest.raises(Invalid) as found:
        check_scores(KEY, committed, LAYOUT, WORDS)
    assert str(found.value).startswith(sentence)


def test_figures_without_a_segment_are_named(committed: history_pb2.RoundCommitted) -> None:
    alone = Layout((Segment.EVALUATE,), MANIFEST, Recipe("r", 0.1, 16))
    with pytest.raises(Invalid, match=r"^figures of the trade must be told where "):
        check_scores(KEY, committed, alone, np.array(WORDS[: alone.length]))


def test_a_recalibration_that_the_sum_does_not_define_is_refused_and_a_journal_before_it_is_not() -> None:
    legitimate = np.zeros(EvaluateCodec().length, np.uint64)
    legitimate[100] = 5
    layout = Layout((Segment.EVALUATE,), MANIFEST, Recipe("r", 0.1, 16))
    counts = EvaluateCodec().centres(), *EvaluateCodec().decode(legitimate)
    told = history_pb2.RoundCommitted(pooled=scores_to_proto(scores_from_counts(*counts)))
    check_scores(KEY, told, layout, legitimate)
    told.recalibration.slope = 1.0
    with pytest.raises(Invalid, match=r"^a recalibration must be what its sum gives, None, "):
        check_scores(KEY, told, layout, legitimate)
