"""A bank's own figures of the trade and its threshold, on its own volume: none of it leaves."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.calibration import fitted, log_loss
from fedfraud.fixed_point import EvaluateCodec
from fedfraud.identity import write_secret
from fedfraud.logs import Log
from fedfraud.metrics import counts_of_logits
from fedfraud.trade import ADMIN_CENTS
from fedfraud.trade_codec import TradeCodec
from fedfraud.trade_metrics import TradeFigures, trade_figures
from services.bank_client.trade import Judged, first_half, trade_of

FILE = "trade.json"


@dataclass(frozen=True)
class Threshold:
    """The lowest score that is an alert. On the validation payments no more than the budget are, a day on average:
    `alerts_a_day`; `precision` and `recall` are there, None without alerts or without frauds."""

    logit: float
    probability: float
    alerts_a_day: float
    precision: float | None
    recall: float | None


def threshold(
    logits: NDArray[np.floating], fraud: NDArray[np.bool_], day_count: float, budget: int
) -> Threshold | None:
    """The one with the most alerts within `budget` a day; None where even the highest score has more.

    Payments of one score are all alerts or none: a threshold cannot tell them apart."""
    scores = np.sort(logits.astype(np.float64))[::-1]
    most = int(budget * day_count)
    kept = scores[:most]
    if len(scores) > most:
        kept = kept[kept > scores[most]]
    if not len(kept) or not np.isfinite(kept[-1]):
        return None
    alert = logits >= kept[-1]
    hits = int(fraud[alert].sum())
    return Threshold(
        logit=float(kept[-1]),
        probability=float(np.exp(-np.logaddexp(0, -kept[-1]))),
        alerts_a_day=int(alert.sum()) / day_count,
        precision=hits / int(alert.sum()),
        recall=hits / int(fraud.sum()) if fraud.any() else None,
    )


@dataclass(frozen=True)
class OwnTrade:
    """What a bank's own figures are of: a run and its final model, the judged payments of so many days, its own budget
    of alerts a day, what the replicates are drawn from, and what an alert costs by the run's terms."""

    run_id: str
    model_sha256: bytes
    judged: Judged
    day_count: int
    budget: int
    seed: bytes
    admin_cents: int = ADMIN_CENTS

    def figures(self, logits: NDArray[np.floating]) -> TradeFigures:
        """What all banks' payments are summed to, of this bank's alone and under its own budget; whoever scores, the
        same replicates."""
        codec, evaluate = TradeCodec(self.day_count, (self.budget,), self.budget), EvaluateCodec()
        counts = evaluate.decode(evaluate.encode(logits, self.judged.fraud))
        counted = trade_of(self.judged, logits, codec, self.seed)
        return trade_figures(evaluate.centres(), *counts, counted, (self.budget,), self.budget, self.admin_cents)


@dataclass(frozen=True)
class OwnCalibration:
    """A recalibration that fits the first half of the days, and the log loss of the days after it without and with it;
    None where they have no payments."""

    slope: float
    intercept: float
    fitted_payments: int
    fitted_frauds: int
    payments: int
    frauds: int
    log_loss: float | None
    recalibrated_log_loss: float | None


def own_calibration(judged: Judged, logits: NDArray[np.floating], day_count: int) -> OwnCalibration | None:
    """None where the first days define none."""
    first = first_half(judged.day, day_count)
    counts = counts_of_logits(logits[first], judged.fraud[first])
    if (fit := fitted(*counts)) is None:
        return None
    scores, *later = counts_of_logits(logits[~first], judged.fraud[~first])
    losses = (log_loss(scores, *later), log_loss(fit.logits(scores), *later)) if len(scores) else (None, None)
    sizes = (len(part) for part in (logits[first], logits[~first]))
    frauds = (int(judged.fraud[part].sum()) for part in (first, ~first))
    fitted_on, measured_on = zip(sizes, frauds, strict=True)
    return OwnCalibration(fit.slope, fit.intercept, *fitted_on, *measured_on, *losses)


def keep(folder: Path, own: OwnTrade, logits: NDArray[np.floating], alone: NDArray[np.floating] | None = None) -> None:
    """Writes the figures and the threshold beside the bank's rows, under (rows,) logits of the final model and, where
    they are known, of the bank's model without the federation; a disk that fails costs them and nothing else."""
    found = threshold(logits, own.judged.fraud, own.day_count, own.budget)
    calibrated = own_calibration(own.judged, logits, own.day_count)
    figures = own.figures(logits)
    without = None if alone is None else own.figures(alone)
    content = {
        "run_id": own.run_id,
        "model_sha256": own.model_sha256.hex(),
        "alert_budget": own.budget,
        "admin_cents": figures.admin_cents,
        "days": own.day_count,
        "payments": len(logits),
        "frauds": int(own.judged.fraud.sum()),
        "threshold": asdict(found) if found else None,
        "calibration": asdict(calibrated) if calibrated else None,
        "figures": _by_name(figures),
        "alone": _by_name(without) if without else None,
    }
    log = Log("bank")
    try:
        write_secret(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        log.warning("own figures of the trade not kept", reason=error)
        return
    names = ("card_precision", "card_recall", "value_detection_rate", "savings")
    log.info(
        "own figures of the trade",
        file=FILE,
        alert_budget=own.budget,
        threshold="-" if found is None else f"{found.probability:.4f}",
        **{name: _printed(getattr(figures.budget, name)) for name in names},
        **{f"{name}_alone": _printed(getattr(without.budget, name)) for name in names if without},
    )


def _by_name(figures: TradeFigures) -> dict[str, dict[str, float | None]]:
    """Each figure with the ends of its interval."""
    return {
        name: {"value": value, "low": low, "high": high}
        for part in ("budget", "rank")
        for (name, value), low, high in zip(
            vars(getattr(figures, part)).items(),
            vars(getattr(figures, f"{part}_low")).values(),
            vars(getattr(figures, f"{part}_high")).values(),
            strict=True,
        )
    }


def _printed(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
