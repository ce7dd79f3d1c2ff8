"""Small figures of the trade for tests: three days of two banks' payments at random, under scores at random."""

import numpy as np

from fedfraud.fixed_point import EvaluateCodec
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import TradeFigures, trade_figures
from services.bank_client.trade import Judged, trade_of

CODEC = TradeCodec(3)


def payments(seed: int, rows: int = 600, cards: int = 200) -> tuple[Judged, np.ndarray]:
    """A bank's, sorted by day, and their (rows,) scores."""
    draws = np.random.RandomState(seed)
    fraud = draws.random_sample(rows) < 0.05
    scores = draws.normal(size=rows) - 3 + 2 * fraud
    day = np.sort(draws.randint(0, 3, rows))
    return Judged(day, draws.randint(0, cards, rows), draws.randint(0, 30_000, rows), fraud), scores


def sums(seeds: tuple[int, ...] = (7, 8)) -> np.ndarray:
    """Words of an evaluate and a trade segment, summed over banks."""
    evaluate = EvaluateCodec()
    total = np.zeros(evaluate.length + CODEC.length, np.uint64)
    for seed in seeds:
        judged, scores = payments(seed)
        trade = trade_of(judged, scores, CODEC, bytes([seed]) * 32)
        total += np.concatenate([evaluate.encode(scores, judged.fraud), CODEC.encode(trade)])
    return total


def figures(total: np.ndarray | None = None) -> TradeFigures:
    """What a sum says, of two banks without one."""
    evaluate, total = EvaluateCodec(), sums() if total is None else total
    counts = evaluate.decode(total[: evaluate.length])
    return trade_figures(evaluate.centres(), *counts, CODEC.decode(total[evaluate.length :]))
