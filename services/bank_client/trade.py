"""Counts a bank's scored validation payments in the trade's terms, once as they are and once a bootstrap replicate."""

import hashlib
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedfraud.fixed_point import EvaluateCodec
from fedfraud.trade import Trade, TradeCounts
from fedfraud.trade_codec import TradeCodec
from services.bank_client.transactions import Integers

PAYMENT_CAP = 2**32
"""More cents than this count as this many: sums of all rows stay whole numbers of 64 bits."""


class Judged(NamedTuple):
    """(rows,) validation payments in their order: the test's day from 0, the card, the amount in cents, the label."""

    day: Integers
    card: Integers
    cents: Integers
    fraud: NDArray[np.bool_]


class _Day(NamedTuple):
    """One day, the highest scores first: the card, cents and fraud of each payment; each card once, by its best
    payment, and whether it has a fraud."""

    card: Integers
    cents: Integers
    fraud: Integers
    cards: Integers
    compromised: Integers


def trade_of(judged: Judged, logits: NDArray[np.floating], codec: TradeCodec, seed: bytes) -> Trade:
    """All that a trade segment holds, under (rows,) logits. In a replicate each card counts Poisson(1) times."""
    days, card_count = _ranked(judged, logits, codec.day_count), int(judged.card.max(initial=-1)) + 1
    every = np.ones(card_count, np.int64)
    places = EvaluateCodec(codec.bins).places(logits) + codec.bins * judged.fraud
    draws = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))
    histograms, counts = [], []
    for _ in range(codec.replicates):
        times = draws.poisson(1.0, card_count)
        counted = np.bincount(places, weights=times[judged.card], minlength=2 * codec.bins)
        histograms.append(counted.astype(np.int64).reshape(2, codec.bins))
        counts.append(_counted(days, times, (codec.headline,)))
    drawn = TradeCounts(np.array([one.days for one in counts]), np.array([one.budgets for one in counts]))
    return Trade(_counted(days, every, codec.budgets), np.array(histograms), drawn)


def first_half(day: Integers, day_count: int) -> NDArray[np.bool_]:
    """(rows,) whether each is of the first half of the days, the middle one with it: what is chosen or fitted there is
    measured on the days after."""
    return np.asarray(day < (day_count + 1) // 2)


def replicate_seed(data_sha256: bytes, model_sha256: bytes) -> bytes:
    """What a bank's replicates are drawn from, 32 bytes: the same for the same rows and model, known to it alone."""
    return hashlib.sha256(b"fedfraud/v1/trade" + data_sha256 + model_sha256).digest()


def _ranked(judged: Judged, logits: NDArray[np.floating], day_count: int) -> list[_Day]:
    """Payments with equal scores stay in their order; NaN comes last."""
    scores = np.where(np.isnan(logits), -np.inf, logits.astype(np.float64))
    order = np.lexsort((-scores, judged.day))
    ends = np.searchsorted(judged.day[order], np.arange(day_count + 1))
    days = []
    for start, end in itertools.pairwise(ends):
        rows = order[start:end]
        card, fraud = judged.card[rows], judged.fraud[rows].astype(np.int64)
        cards, first, place = np.unique(card, return_index=True, return_inverse=True)
        found = np.bincount(place, weights=fraud, minlength=len(cards)) > 0
        best = np.argsort(first)
        cents = np.minimum(judged.cents[rows], PAYMENT_CAP)
        days.append(_Day(card, cents, fraud, cards[best], found[best].astype(np.int64)))
    return days


def _counted(days: list[_Day], times: Integers, budgets: tuple[int, ...]) -> TradeCounts:
    """Each card counts as (cards,) `times` says: copies of one rank next to each other, and are found one by one."""
    of_days, of_budgets = [], []
    left = np.tile(times, (len(budgets), 1))  # copies that were not found yet, by budget
    for day in days:
        weight, held = times[day.card], times[day.cards]
        frauds = weight * day.fraud
        sums = (weight, frauds, weight * day.cents, frauds * day.cents, held, held * day.compromised)
        of_days.append([int(part.sum()) for part in sums])
        of_budgets.append([_spent(day, weight, copies, budget) for copies, budget in zip(left, budgets, strict=True)])
    return TradeCounts(np.array(of_days, np.int64), np.array(of_budgets, np.int64))


def _spent(day: _Day, weight: Integers, left: Integers, budget: int) -> list[int]:
    """The budget fields of one day; takes the cards that are found out of `left`."""
    alerts, copies = _first(weight, budget), left[day.cards]
    hits, alerted = alerts * day.fraud, _first(copies, budget)
    found = alerted * day.compromised
    left[day.cards] -= found
    sums = (alerts, hits, hits * day.cents, alerted, found, copies * day.compromised)
    return [int(part.sum()) for part in sums]


def _first(weight: Integers, budget: int) -> Integers:
    """How much of each weight is among the first `budget`."""
    return np.asarray(np.clip(budget - (np.cumsum(weight) - weight), 0, weight), np.int64)
