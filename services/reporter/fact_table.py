"""Every fact that a report may print, by key: its path in `facts.json`.

The printed text is made here and nowhere else, so that a sentence, a table and a check mean the same figure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from services.reporter.derived import Derived, derived
from services.reporter.facts import RunFacts

Value = bool | int | float | str

SEAT = re.compile(r"[A-Za-z0-9_-]{1,32}")
"""A seat that can stand in a key, and in what a model gets."""
_LEFT_OUT = {"events", "open", "points"}
"""Lists that no report prints."""

_OF_A_FIGURE = {"best", "mean", "worst", "least", "most", "value", "low", "high"}
"""What follows a figure's name in a path."""

_FORMATS = {
    **dict.fromkeys(("recall", "precision", "recall_at_half_percent", "recall_at_one_percent"), "{:z.1%}"),
    **dict.fromkeys(("clipped_share",), "{:z.1%}"),
    **dict.fromkeys(("accuracy", "accuracy_always_legitimate", "fraud_rate"), "{:z.2%}"),
    **dict.fromkeys(("expected_rate", "observed_rate", "probability"), "{:z.2%}"),
    **dict.fromkeys(("prevalence", "log_loss", "pooled_log_loss", "holdout_log_loss"), "{:z.4f}"),
    **dict.fromkeys(("uplift", "uplift_holdout"), "{:+z.3f}"),
    **dict.fromkeys(("seconds", "expected_hits"), "{:z.2f}"),
    **dict.fromkeys(("ratio", "alerts_per_thousand", "alerts_per_day"), "{:z.1f}"),
    **dict.fromkeys(("budget_per_thousand", "round_deadline_seconds", "weight_scale"), "{:g}"),
    **dict.fromkeys(("logit", "intercept"), "{:+z.3f}"),
    **dict.fromkeys(("seed",), "{:d}"),
    **dict.fromkeys(("card_precision", "card_recall", "value_detection_rate", "savings", "rate"), "{:z.1%}"),
    **dict.fromkeys(("euro", "fraud_euro", "stopped_euro", "admin_euro"), "{:z,.2f}"),
    **dict.fromkeys(("false_alarms_per_hit", "calibration"), "{:z.2f}"),
    **dict.fromkeys(("brier",), "{:z.5f}"),
    **dict.fromkeys(("interval_share",), "{:z.0%}"),
}
_NAMES = {
    "average_precision": "AP",
    "roc_auc": "AUROC",
    "log_loss": "log loss",
    "slope": "slope of a recalibration of the log-odds",
    "intercept": "intercept of a recalibration of the log-odds",
    "pooled_log_loss": "log loss recalibrated, pooled",
    "holdout_log_loss": "log loss recalibrated, hold-out",
    "accuracy_always_legitimate": "accuracy of calling all legitimate",
    "recall_at_half_percent": "recall at the smaller alert rate",
    "recall_at_one_percent": "recall at the larger alert rate",
    "count": "banks that disclose it",
    "hits": "frauds among the alerts",
    "row_count": "transactions",
    "fraud_count": "frauds",
    "flagged_count": "flagged at even odds",
    "fraud_rate": "fraud rate",
    "alone": "AP alone, own rows",
    "federated": "AP federated, own rows",
    "alone_holdout": "AP alone, hold-out",
    "federated_holdout": "AP federated, hold-out",
    "compared_alone": "AP alone, own rows, of banks that disclose both",
    "compared_federated": "AP federated, own rows, of banks that disclose both",
    "compared_alone_holdout": "AP alone, hold-out, of banks that disclose both",
    "compared_federated_holdout": "AP federated, hold-out, of banks that disclose both",
    "uplift": "federated minus alone in AP, own rows",
    "uplift_holdout": "federated minus alone in AP, hold-out",
    "banks_gaining": "banks that gain",
    "banks_losing": "banks that lose",
    "banks_compared": "banks that disclose both figures",
    "banks_unchanged": "banks that neither gain nor lose at the printed precision",
    "banks_uncompared": "banks of which it is not known",
    "by": "difference in AP between federated and central",
    "alerts_per_thousand": "alerts a thousand rows",
    "alerts_per_day": "alerts a day over all banks",
    "budget_per_thousand": "budget in alerts a thousand rows",
    "brier": "Brier score",
    "calibration": "frauds expected for each there is",
    "admin_euro": "euro that an alert costs",
}
_PLACES = {"holdout": "hold-out", "pooled": "pooled", "holdout_curve": "hold-out", "pooled_curve": "pooled"}
_PLACES |= {"central": "central", "central_trade": "central"}


@dataclass(frozen=True)
class Fact:
    """One fact: its value, how it is printed, and in a few words what it is."""

    key: str
    value: Value
    text: str
    label: str = ""


Table = Mapping[str, Fact]
"""Facts by key."""


def table(run: RunFacts) -> Table:
    """All facts of the run that are known."""
    forms = {f"derived.{one.name}": one for one in derived(run)}
    found = [_fact(path, value, forms.get(".".join(path))) for path, value in _walk((), run.model_dump(mode="json"))]
    return {fact.key: fact for fact in found}


def _walk(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Value]]:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        for name, item in value.items():
            if name not in _LEFT_OUT:
                yield from _walk((*path, name), item)
    elif isinstance(value, list):
        for number, item in enumerate(value, 1):
            yield from _walk((*path, _name(item) or str(number)), item)
    elif value is not None:
        yield path, value


def _name(item: object) -> str:
    """A bank's item is known by its seat, others by their place from 1. A refusal names a seat too, and has no key."""
    seat = item.get("seat") if isinstance(item, dict) and "status" not in item else None
    return seat if isinstance(seat, str) and SEAT.fullmatch(seat) else ""


def _fact(path: tuple[str, ...], value: Value, form: Derived | None = None) -> Fact:
    if form is not None:
        return Fact(".".join(path), value, form.form.format(value).replace("%", " %"), form.label)
    name = path[-2] if path[-1] in _OF_A_FIGURE and len(path) > 1 else path[-1]
    return Fact(".".join(path), value, _text(path, name, value), _label(path, name))


def _text(path: tuple[str, ...], name: str, value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if path[-1] == "count" or (isinstance(value, int) and name not in _FORMATS):
        return f"{value:,}"
    if path[0] == "heterogeneity" and name == "rows":
        return f"{value:,.0f}"
    fallback = "{:g}" if path[:2] == ("run", "hyperparameters") else "{:z.3f}"
    return _FORMATS.get(name, fallback).format(value).replace("%", " %")


def _label(path: tuple[str, ...], name: str) -> str:
    if path[-1] in {"seat", "outcome"} or isinstance(path[-1], int):
        return ""
    words = _NAMES.get(name, name.replace("_", " "))
    words = words if path[-1] == name else f"{path[-1]} {words}"
    places = [_PLACES[part] for part in path if part in _PLACES]
    if path[0] == "rounds":
        places.append("in a round")
    return ", ".join([words, *places])
