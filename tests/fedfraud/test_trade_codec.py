"""The trade segment: what banks count adds up, within bounds that no sum over all seats can wrap."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import PLANS
from fedfraud.fixed_point import MAX_SEATS, ROW_CAP, Segment
from fedfraud.layout import Layout, codec_for
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe
from fedfraud.trade import ALERT_BUDGETS, HEADLINE_BUDGET, BudgetField, DayField, Trade, TradeCounts, TradeTerms
from fedfraud.trade_codec import CENTS_CAP, TradeCodec
from fedfraud.transactions import SCHEMAS

CODEC = TradeCodec(2, (1, 3), 3, replicates=2, bins=4)
RECIPE = Recipe("r", 0.1, 16)


def figures(codec: TradeCodec = CODEC, times: int = 1) -> Trade:
    """100 payments a day of 40 cards, 5 frauds of 4 cards; of three alerts two hit, of three cards two are found."""
    day = [100, 5, 90_000, 8_000, 40, 4]
    budgets = {1: [1, 1, 2_000, 1, 1, 4], 3: [3, 2, 3_000, 3, 2, 4]}
    days = np.tile(np.array(day, np.int64), (codec.day_count, 1)) * times
    spent = np.tile(np.array([budgets[k] for k in codec.budgets], np.int64), (codec.day_count, 1, 1)) * times
    drawn = TradeCounts(np.stack([days] * codec.replicates), np.stack([spent[:, 1:]] * codec.replicates))
    histograms = np.ones((codec.replicates, 2, codec.bins), np.int64)
    return Trade(TradeCounts(days, spent), histograms, drawn)


def test_what_banks_count_adds_up() -> None:
    words = CODEC.encode(figures())
    total = words + words + CODEC.encode(figures(times=0))
    CODEC.check(words)
    CODEC.check_sum(total, 3)
    opened = CODEC.decode(total)
    assert opened.counts.days.tolist() == [[200, 10, 180_000, 16_000, 80, 8]] * 2
    assert opened.counts.budgets.tolist() == [[[2, 2, 4_000, 2, 2, 8], [6, 4, 6_000, 6, 4, 8]]] * 2
    assert opened.replicates.budgets.tolist() == [[[[6, 4, 6_000, 6, 4, 8]]] * 2] * 2
    assert opened.histograms.sum() == 3 * 2 * 2 * 4
    assert CODEC.length == len(words) == 2 * 6 + 2 * 2 * 6 + 2 * 2 * 4 + 2 * 2 * 6 + 2 * 2 * 6


def test_what_is_more_than_a_cap_counts_as_the_cap_and_all_seats_cannot_wrap() -> None:
    most = figures()
    full = CODEC.encode(
        Trade(
            TradeCounts(most.counts.days + 2**61, most.counts.budgets + 2**61),
            most.histograms + 2**61,
            TradeCounts(most.replicates.days + 2**61, most.replicates.budgets + 2**61),
        )
    )
    CODEC.check(full)
    total = full * np.uint64(MAX_SEATS)
    assert CENTS_CAP * MAX_SEATS < 2**63
    assert CODEC.decode(total).counts.days[0, DayField.CENTS] == CENTS_CAP * MAX_SEATS
    assert CODEC.decode(total).histograms[0, 0, 0] == ROW_CAP * MAX_SEATS
    assert CODEC.decode(total).counts.budgets[0, :, BudgetField.ALERTS].tolist() == [MAX_SEATS, 3 * MAX_SEATS]
    CODEC.check_sum(total, MAX_SEATS)
    with pytest.raises(Invalid, match=r"^figures of the trade of 4095 banks must be 0 to their caps, got "):
        CODEC.check_sum(total, MAX_SEATS - 1)


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        (DayField.FRAUDS, "frauds must be at most payments, got more"),
        (DayField.FRAUD_CENTS, "fraud cents must be at most cents, got more"),
        (DayField.CARDS, "cards must be at most payments, got more"),
        (DayField.FRAUD_CARDS, "fraud cards must be at most "),
    ],
)
def test_a_part_of_a_day_that_is_more_than_the_day_is_refused(place: DayField, sentence: str) -> None:
    for part in ("counts", "replicates"):
        wrong = figures()
        getattr(wrong, part).days[..., place] = 95_000
        with pytest.raises(Invalid, match=f"^{sentence}"):
            CODEC.check(CODEC.encode(wrong))


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        (BudgetField.ALERTS, 0, "hits must be at most alerts, got more"),
        (BudgetField.STOPPED_CENTS, 8_001, "stopped cents must be at most fraud cents, got more"),
        (BudgetField.CARDS_FOUND, 4, "cards found must be at most cards alerted, got more"),
        (BudgetField.FRAUD_CARDS_LEFT, 1, "cards found must be at most fraud cards left, got more"),
        (BudgetField.FRAUD_CARDS_LEFT, 5, "fraud cards left must be at most fraud cards, got more"),
    ],
)
def test_a_part_of_a_budget_that_is_more_than_the_whole_is_refused(
    place: BudgetField, value: int, sentence: str
) -> None:
    words = CODEC.encode(figures())
    opened = CODEC.decode(words.copy())
    opened.replicates.budgets[1, 1, 0, place] = value
    parts = (opened.counts.days, opened.counts.budgets, opened.histograms)
    drawn = (opened.replicates.days, opened.replicates.budgets)
    wrong = np.concatenate([part.reshape(-1) for part in (*parts, *drawn)]).astype(np.uint64)
    if place is BudgetField.CARDS_FOUND:
        sentence = "figures of the trade of 1 banks must be 0 to their caps, got "  # the budget is three cards
    with pytest.raises(Invalid, match=f"^{sentence}"):
        CODEC.check(wrong)


def test_a_negative_count_and_another_length_are_refused() -> None:
    words = CODEC.encode(figures())
    with pytest.raises(Invalid, match=r"^a trade segment must have 100 words, got 99$"):
        CODEC.check(words[:-1])
    words.view(np.int64)[0] = -1
    with pytest.raises(Invalid, match=r"^figures of the trade of 1 banks must be 0 to their caps, got "):
        CODEC.check(words)
    wrong = figures()
    with pytest.raises(Invalid, match=r"^figures of the trade must have shape \(2, 2, 4\), got \(2, 2, 3\)$"):
        CODEC.encode(replace(wrong, histograms=wrong.histograms[..., 1:]))


def test_a_trade_segment_belongs_to_the_test_days_of_transactions() -> None:
    manifest = Manifest("cards", SCHEMAS["cards"], feature_plan=PLANS["cards"])
    codec = codec_for(Segment.TRADE, manifest, RECIPE)
    assert codec == TradeCodec(7)
    assert HEADLINE_BUDGET in ALERT_BUDGETS
    assert codec.length == 7 * 6 + 7 * 5 * 6 + 200 * (2 * 512 + 7 * 6 + 7 * 6) == 221_852
    other = codec_for(Segment.TRADE, manifest, RECIPE, TradeTerms((5, 25), 25))
    assert other == TradeCodec(7, (5, 25), 25)
    layout = Layout((Segment.EVALUATE, Segment.TRADE), manifest, RECIPE)
    assert layout.part(np.arange(layout.length, dtype=np.uint64), Segment.TRADE)[0] == 2 * 8192
    with pytest.raises(Invalid, match=r"^a trade segment must be of transactions, the population 'tutorial' has none$"):
        codec_for(Segment.TRADE, Manifest("tutorial", SCHEMAS["cards"]), RECIPE)
