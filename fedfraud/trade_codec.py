"""Figures of the trade to integers and back: the codec of the trade segment, and its bounds.

As in fixed_point.py the sum over MAX_SEATS banks cannot wrap.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import ROW_CAP, Words
from fedfraud.trade import (
    ALERT_BUDGETS,
    HEADLINE_BUDGET,
    REPLICATE_BINS,
    REPLICATES,
    BudgetField,
    DayField,
    Trade,
    TradeCounts,
)

CENTS_CAP = 2**50
_MOST_OF_A_DAY = np.array([ROW_CAP, ROW_CAP, CENTS_CAP, CENTS_CAP, ROW_CAP, ROW_CAP])
_Rules = tuple[tuple[DayField | BudgetField, DayField | BudgetField], ...]
_AT_MOST: _Rules = (  # of a day: the former at most the latter
    (DayField.FRAUDS, DayField.PAYMENTS),
    (DayField.FRAUD_CENTS, DayField.CENTS),
    (DayField.CARDS, DayField.PAYMENTS),
    (DayField.FRAUD_CARDS, DayField.CARDS),
    (DayField.FRAUD_CARDS, DayField.FRAUDS),
)
_AT_MOST_OF_A_BUDGET: _Rules = (
    (BudgetField.HITS, BudgetField.ALERTS),
    (BudgetField.CARDS_FOUND, BudgetField.CARDS_ALERTED),
    (BudgetField.CARDS_FOUND, BudgetField.FRAUD_CARDS_LEFT),
)
_AT_MOST_OF_ITS_DAY: _Rules = (
    (BudgetField.ALERTS, DayField.PAYMENTS),
    (BudgetField.HITS, DayField.FRAUDS),
    (BudgetField.STOPPED_CENTS, DayField.FRAUD_CENTS),
    (BudgetField.CARDS_ALERTED, DayField.CARDS),
    (BudgetField.FRAUD_CARDS_LEFT, DayField.FRAUD_CARDS),
)


@dataclass(frozen=True)
class TradeCodec:
    """The integers of fedfraud/trade.py, a word each: days, then days by budgets, the replicates' histograms, their
    days, their days under the headline budget.

    Of one bank a payment or a card counts at most ROW_CAP times, a day's cents at most CENTS_CAP: 2**62 over MAX_SEATS.
    More is counted as that much: whether a bank answers must not follow from its rows.
    """

    day_count: int
    budgets: tuple[int, ...] = ALERT_BUDGETS
    headline: int = HEADLINE_BUDGET
    replicates: int = REPLICATES
    bins: int = REPLICATE_BINS

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        days, drawn = (self.day_count, len(DayField)), self.replicates
        spent = (self.day_count, len(self.budgets), len(BudgetField))
        return days, spent, (drawn, 2, self.bins), (drawn, *days), (drawn, self.day_count, 1, len(BudgetField))

    @property
    def length(self) -> int:
        """Words in the segment."""
        return sum(math.prod(shape) for shape in self._shapes)

    def encode(self, trade: Trade) -> Words:
        """One bank's figures to words, each held to its cap."""
        parts = _parts(trade)
        for part, shape in zip(parts, self._shapes, strict=True):
            if part.shape != shape:
                raise Invalid(f"figures of the trade must have shape {shape}, got {part.shape}")
        held = [np.clip(part, 0, most) for part, most in zip(parts, self._most(1), strict=True)]
        return np.concatenate([part.reshape(-1) for part in held]).astype(np.uint64)

    def check(self, words: Words) -> None:
        """Holds one bank's segment to its bounds."""
        self.check_sum(words, 1)

    def check_sum(self, words: Words, contributions: int) -> None:
        """Holds an opened sum to what so many contributions within their bounds can add up to."""
        trade = self.decode(words)
        for part, most in zip(_parts(trade), self._most(contributions), strict=True):
            if ((part < 0) | (part > most)).any():
                raise Invalid(
                    f"figures of the trade of {contributions} banks must be 0 to their caps, got {part.max()}"
                )
        for counts in (trade.counts, trade.replicates):
            self._check_order(counts)

    def decode(self, words: Words) -> Trade:
        """The summed figures."""
        if len(words) != self.length:
            raise Invalid(f"a trade segment must have {self.length} words, got {len(words)}")
        ends = np.cumsum([math.prod(shape) for shape in self._shapes])
        parts = np.split(words.astype(np.uint64).view(np.int64), ends[:-1])
        days, budgets, histograms, drawn_days, drawn_budgets = (
            part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True)
        )
        return Trade(TradeCounts(days, budgets), histograms, TradeCounts(drawn_days, drawn_budgets))

    def _most(self, contributions: int) -> tuple[NDArray[np.int64], ...]:
        """What so many banks can add up to, in the shape of each part or one that it has the last axes of."""
        spent = np.array([[k, k, CENTS_CAP, k, k, ROW_CAP] for k in (*self.budgets, self.headline)])
        most = (_MOST_OF_A_DAY, spent[:-1], np.array(ROW_CAP), _MOST_OF_A_DAY, spent[-1:])
        return tuple(np.asarray(part * contributions) for part in most)

    @staticmethod
    def _check_order(counts: TradeCounts) -> None:
        """What is a part of something is not more than it; sums keep that."""
        days, budgets = counts.days, counts.budgets
        for rules, parts, wholes in (
            (_AT_MOST, days, days),
            (_AT_MOST_OF_A_BUDGET, budgets, budgets),
            (_AT_MOST_OF_ITS_DAY, budgets, days[..., None, :]),
        ):
            for part, whole in rules:
                if (parts[..., part] > wholes[..., whole]).any():
                    raise Invalid(f"{_plain(part)} must be at most {_plain(whole)}, got more")


def _parts(trade: Trade) -> tuple[NDArray[np.int64], ...]:
    counts, drawn = trade.counts, trade.replicates
    return counts.days, counts.budgets, trade.histograms, drawn.days, drawn.budgets


def _plain(field: DayField | BudgetField) -> str:
    return field.name.lower().replace("_", " ")
