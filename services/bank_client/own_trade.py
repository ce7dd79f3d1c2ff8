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


def own_figures(judged: Judged, logits: NDArray[np.floating], day_count: int, budget: int, seed: bytes) -> TradeFigures:
    """What all banks' payments are summed to, of this bank's alone and under its own budget; the same replicates."""
    codec, evaluate = TradeCodec(day_count, (budget,), budget), EvaluateCodec()
    counts = evaluate.decode(evaluate.encode(logits, judged.fraud))
    return trade_figures(evaluate.centres(), *counts, trade_of(judged, logits, codec, seed), (budget,), budget)


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


def keep(
    folder: Path,
    run_id: str,
    model_sha256: bytes,
    judged: Judged,
    logits: NDArray[np.floating],
    codec: TradeCodec,
    budget: int,
    seed: bytes,
) -> None:
    """Writes the figures and the threshold beside the bank's rows; a disk that fails costs them and nothing else."""
    found = threshold(logits, judged.fraud, codec.day_count, budget)
    calibrated = own_calibration(judged, logits, codec.day_count)
    figures = own_figures(judged, logits, codec.day_count, budget, seed)
    content = {
        "run_id": run_id,
        "model_sha256": model_sha256.hex(),
        "alert_budget": budget,
        "admin_cents": figures.admin_cents,
        "days": codec.day_count,
        "payments": len(logits),
        "frauds": int(judged.fraud.sum()),
        "threshold": asdict(found) if found else None,
        "calibration": asdict(calibrated) if calibrated else None,
        "figures": {
            name: {"value": value, "low": low, "high": high}
            for part in ("budget", "rank")
            for (name, value), low, high in zip(
                vars(getattr(figures, part)).items(),
                vars(getattr(figures, f"{part}_low")).values(),
                vars(getattr(figures, f"{part}_high")).values(),
                strict=True,
            )
        },
    }
    log = Log("bank")
    try:
        write_secret(folder / FILE, (json.dumps(content, indent=2) + "\n").encode())
    except OSError as error:
        log.warning("own figures of the trade not kept", reason=error)
        return
    log.info(
        "own figures of the trade",
        file=FILE,
        alert_budget=budget,
        threshold="-" if found is None else f"{found.probability:.4f}",
        card_precision=_printed(figures.budget.card_precision),
        card_recall=_printed(figures.budget.card_recall),
        value_detection_rate=_printed(figures.budget.value_detection_rate),
        savings=_printed(figures.budget.savings),
    )


def _printed(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
