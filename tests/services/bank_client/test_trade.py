"""What a bank counts in the trade's terms, against the definitions written out a payment and a card at a time."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import handbook
from fedfraud.fixed_point import EvaluateCodec
from fedfraud.trade import BudgetField, DayField, Trade
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import budget_figures
from services.bank_client.dataset import Rows
from services.bank_client.trade import PAYMENT_CAP, Judged, replicate_seed, trade_of

SEED = bytes(32)


def judged(*rows: tuple[int, int, int, bool]) -> Judged:
    """Day, card, cents, fraud."""
    day, card, cents, fraud = (np.array(column) for column in zip(*rows, strict=True))
    return Judged(day, card, cents, fraud.astype(np.bool_))


def at_random(seed: int, rows: int = 400, days: int = 3, cards: int = 40) -> tuple[Judged, np.ndarray]:
    """Sorted by day; many payments score alike."""
    draws = np.random.RandomState(seed)
    fraud = draws.random_sample(rows) < 0.1
    scores = np.round(draws.normal(size=rows) + 1.5 * fraud, 1)
    day = np.sort(draws.randint(0, days, rows))
    return Judged(day, draws.randint(0, cards, rows), draws.randint(0, 30_000, rows), fraud), scores


def slow_days(rows: Judged, times: np.ndarray, day_count: int) -> list[list[int]]:
    """Every card as so many cards of its own."""
    found = []
    for day in range(day_count):
        sums = [0, 0, 0, 0]
        cards: dict[int, bool] = {}
        for when, card, cents, fraud in zip(*(column.tolist() for column in rows), strict=True):
            if when == day:
                for _ in range(times[card]):
                    sums = [a + b for a, b in zip(sums, (1, fraud, cents, fraud * cents), strict=True)]
                cards[card] = cards.get(card, False) or fraud
        found.append([*sums, sum(times[c] for c in cards), sum(times[c] for c, bad in cards.items() if bad)])
    return found


def slow_budget(rows: Judged, scores: np.ndarray, times: np.ndarray, day_count: int, budget: int) -> list[list[int]]:
    """By sorting lists of single payments, and of single copies of cards."""
    found: set[tuple[int, int]] = set()
    result = []
    for day in range(day_count):
        payments: list[tuple[float, int, bool, int]] = []
        cards: dict[tuple[int, int], list[tuple[float, int, bool]]] = defaultdict(list)
        everything = zip(scores.tolist(), *(column.tolist() for column in rows), strict=True)
        for place, (score, when, card, cents, fraud) in enumerate(everything):
            if when == day:
                for copy in range(times[card]):
                    payments.append((-score, place, fraud, cents))
                    if (card, copy) not in found:
                        cards[card, copy].append((-score, place, fraud))
        alerts = sorted(payments)[:budget]
        # Which of a card's copies was found is one: the copies differ in nothing else.
        ranked = sorted((min(paid)[:2], key, any(bad for *_, bad in paid)) for key, paid in cards.items())
        caught = [key for _, key, bad in ranked[:budget] if bad]
        hits = [cents for *_, bad, cents in alerts if bad]
        left = sum(bad for *_, bad in ranked)
        result.append([len(alerts), len(hits), sum(hits), len(ranked[:budget]), len(caught), left])
        found |= set(caught)
    return result


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_definitions(seed: int) -> None:
    rows, scores = at_random(seed)
    codec = TradeCodec(3, replicates=2)
    trade = trade_of(rows, scores, codec, SEED)
    once = np.ones(40, np.int64)
    assert trade.counts.days.tolist() == slow_days(rows, once, 3)
    for place, budget in enumerate(codec.budgets):
        assert trade.counts.budgets[:, place].tolist() == slow_budget(rows, scores, once, 3, budget)


@given(st.integers(0, 2**31), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_a_replicate_is_the_same_payments_with_each_card_as_many_cards(seed: int, budget: int) -> None:
    rows, scores = at_random(seed, rows=150, cards=12)
    codec = TradeCodec(3, (budget,), budget, replicates=3, bins=16)
    trade = trade_of(rows, scores, codec, SEED)
    draws = np.random.Generator(np.random.PCG64(int.from_bytes(SEED, "little")))
    for number in range(3):
        times = draws.poisson(1.0, int(rows.card.max()) + 1)
        assert trade.replicates.days[number].tolist() == slow_days(rows, times, 3)
        assert trade.replicates.budgets[number, :, 0].tolist() == slow_budget(rows, scores, times, 3, budget)
        copies = np.repeat(np.arange(len(scores)), times[rows.card])
        expected = EvaluateCodec(16).encode(scores[copies], rows.fraud[copies]).astype(np.int64)
        assert trade.histograms[number].reshape(-1).tolist() == expected.tolist()


@pytest.mark.parametrize("seed", range(5))
def test_card_precision_is_the_handbooks_benchmarks(seed: int) -> None:
    rows, scores = at_random(seed)
    scores = scores + np.linspace(0, 1e-6, len(scores))  # none alike: the two break ties each in its own way
    expected = handbook.card_precision(
        handbook.Judged(Rows(np.zeros((len(scores), 0)), rows.fraud), rows.day, rows.card), scores, budget=10
    )
    trade = trade_of(rows, scores, TradeCodec(3, (10,), 10, 1, 8), SEED)
    assert budget_figures(trade.counts.days, trade.counts.budgets[:, 0]).card_precision == pytest.approx(expected)


def test_a_card_that_was_found_is_not_alerted_again_and_its_payments_are() -> None:
    rows = judged((0, 0, 500, True), (0, 1, 100, False), (1, 0, 700, True), (1, 1, 100, False))
    trade = trade_of(rows, np.array([3.0, 1.0, 3.0, 1.0]), TradeCodec(2, (1,), 1, 1, 8), SEED)
    first, second = trade.counts.budgets[:, 0]
    assert first.tolist() == [1, 1, 500, 1, 1, 1]
    assert second.tolist() == [1, 1, 700, 1, 0, 0]
    assert trade.counts.days[1].tolist() == [2, 1, 800, 700, 2, 1]


def test_an_alert_stops_its_own_payment_and_no_other() -> None:
    rows = judged((0, 0, 500, True), (0, 0, 9_000, True))
    trade = trade_of(rows, np.array([3.0, 2.0]), TradeCodec(1, (1,), 1, 1, 8), SEED)
    assert trade.counts.budgets[0, 0, BudgetField.STOPPED_CENTS] == 500
    assert trade.counts.days[0, DayField.FRAUD_CENTS] == 9_500


def test_scores_that_are_no_numbers_come_last_and_a_day_may_be_empty() -> None:
    rows = judged((1, 0, 500, True), (1, 1, 2**60, False))
    trade = trade_of(rows, np.array([np.nan, -50.0]), TradeCodec(2, (1,), 1, 1, 8), SEED)
    assert trade.counts.days.tolist() == [[0] * 6, [2, 1, 500 + PAYMENT_CAP, 500, 2, 1]]
    assert trade.counts.budgets[:, 0].tolist() == [[0] * 6, [1, 0, 0, 1, 0, 1]]
    none = np.empty(0, np.int64)
    empty = Judged(none, none, none, np.empty(0, np.bool_))
    assert not trade_of(empty, np.empty(0), TradeCodec(2), SEED).counts.days.any()


def test_replicates_follow_from_the_rows_and_the_model_alone() -> None:
    rows, scores = at_random(7)
    codec = TradeCodec(3, replicates=2)

    def drawn(data: bytes, model: bytes) -> bytes:
        trade: Trade = trade_of(rows, scores, codec, replicate_seed(data, model))
        return codec.encode(trade).tobytes()

    assert drawn(b"a", b"m") == drawn(b"a", b"m")
    assert len({drawn(data, model) for data in (b"a", b"b") for model in (b"m", b"n")}) == 4


def test_replicates_of_a_sum_scatter_around_it() -> None:
    rows, scores = at_random(7, rows=3_000, cards=1_000)
    trade = trade_of(rows, scores, TradeCodec(3), SEED)
    drawn = trade.replicates.days[:, :, DayField.PAYMENTS].sum(axis=1)
    assert abs(drawn.mean() - 3_000) < 5 * drawn.std() / np.sqrt(len(drawn))
    assert 0.7 < drawn.std() / np.sqrt((np.bincount(rows.card) ** 2).sum()) < 1.3
