"""What the report computes of the facts: differences, ratios, sums, and the bounds that it recommends. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from fedfraud.thresholds import LEAST_BANKS
from services.reporter.facts import RunFacts
from services.reporter.round_facts import RoundFacts
from services.reporter.rounding import difference
from services.reporter.score_facts import CurveFacts, ScoreFacts

STRONG, USEFUL, HARDLY_CHANCE = 0.6, 0.3, 2.0
"""Average precision from which a verdict is given, and times the prevalence below which a ranking is hardly chance."""
FEW_FRAUDS = 50
"""Frauds of a bank below which its own validation figures swing by chance."""
FALLEN = 0.02
"""Average precision below the best round's from which the last model counts as worse."""
CLIPPED = 0.01
"""The share of clipped coordinates from which clipping shapes the model."""
SHIFTED = 0.1
"""A difference in average precision between two sets of rows from which they count as unlike."""
STABILITY_INDEX, ALERT_SWING, PRECISION_LOSS = 0.25, 0.3, 0.1
"""When to look again: population stability index of the score, and shares of alert volume and average precision."""


@dataclass(frozen=True)
class Derived:
    """A figure, how it is formatted, what it is."""

    name: str
    value: float | int
    form: str
    label: str


@dataclass(frozen=True)
class Headline:
    """The scores that the verdict rests on, their key, and the rows that they were measured on."""

    key: str
    where: str
    scores: ScoreFacts


def headline(run: RunFacts) -> Headline | None:
    """The hold-out's scores, else the banks' rows'; of a run that ended early, of the last model that was measured."""
    if run.final.holdout is not None:
        return Headline("final.holdout", "the public hold-out", run.final.holdout)
    if run.final.pooled is not None:
        return Headline("final.pooled", "all banks' validation rows", run.final.pooled)
    for number, done in reversed(list(enumerate(run.rounds, 1))):
        for place in ("holdout", "pooled"):
            if scores := getattr(done, place):
                model = f"the model of round {{{{rounds.{number}.number}}}}" if done.number else "the initial model"
                where = f"the rows that scored {model}, the last that was scored"
                return Headline(f"rounds.{number}.{place}", where, scores)
    return None


def comparable(run: RunFacts) -> bool:
    """Whether the model of all rows in one place was judged, and on as many rows and frauds as the federated one."""
    federated, central = run.final.holdout or run.final.pooled, run.final.central
    return federated is not None and central is not None and federated.same_rows(central)


def curve(run: RunFacts) -> tuple[str, CurveFacts] | None:
    """The thresholds that the report shows, and their key: the hold-out's, else the banks' rows'."""
    for place in ("holdout", "pooled"):
        if (found := getattr(run.final, f"{place}_curve")) and found.budgets:
            return f"final.{place}_curve", found
    return None


def series(run: RunFacts) -> list[tuple[int, float]]:
    """The rounds' places and their models' average precision, on the hold-out if there is one, else on banks' rows."""
    for place in ("holdout", "pooled"):
        found = [
            (number, scores.average_precision)
            for number, done in enumerate(run.rounds, 1)
            if (scores := getattr(done, place)) and scores.average_precision is not None
        ]
        if found:
            return found
    return []


def series_place(run: RunFacts) -> str:
    """Where `series` was measured: holdout or pooled."""
    held = any(done.holdout and done.holdout.average_precision is not None for done in run.rounds)
    return "holdout" if held else "pooled"


def shown(rounds: list[RoundFacts], most: int) -> list[int]:
    """Places from 1: all of a short run; of a long one every so many, the ends, and the last without a result."""
    step = max(1, -(-len(rounds) // most))
    odd = [number for number, done in enumerate(rounds, 1) if done.outcome != "committed"][-most:]
    return sorted({1, len(rounds), *range(step, len(rounds) + 1, step), *odd} - {0}) if rounds else []


def took_part(run: RunFacts) -> int:
    """Banks that answered at all; of the others nothing is in the model."""
    return sum(bank.rounds_answered > 0 for bank in run.banks)


def derived(run: RunFacts) -> Iterator[Derived]:
    """All that can be computed of this run's facts."""
    yield Derived("banks", len(run.banks), "{:,}", "banks that were asked")
    yield Derived("banks_answering", took_part(run), "{:,}", "banks that took part")
    yield Derived("rounds_without_result", run.totals.rounds_void + run.totals.rounds_abandoned, "{:,}", "rounds")
    yield Derived("megabytes", run.totals.bytes / 1e6, "{:.2f}", "megabytes of contributions")
    masks = sum(bank.mask_bytes for bank in run.release.banks)
    yield Derived("mask_megabytes", masks / 1e6, "{:.2f}", "megabytes of messages that keep the masks")
    clipped = max((done.clipped_share or 0.0 for done in run.rounds), default=0.0)
    yield Derived("most_clipped", clipped, "{:.1%}", "the largest share of clipped coordinates in a round")
    yield from _of_the_headline(run)
    yield from _changes(run)
    yield from _triggers(run)
    yield from _rules()


def _of_the_headline(run: RunFacts) -> Iterator[Derived]:
    head = headline(run)
    if head is None or not (p := head.scores.prevalence) or p >= 1:
        return
    constant = -p * math.log(p) - (1 - p) * math.log(1 - p)
    yield Derived("constant_log_loss", constant, "{:.4f}", "log loss of always answering the prevalence")
    if head.scores.log_loss is not None:
        change = difference(head.scores.log_loss, constant, 4) or 0.0
        label = "log loss minus that of always answering the prevalence"
        yield Derived("change.log_loss", change, "{:+z.4f}", label)
    if head.scores.average_precision is not None:
        times = head.scores.average_precision / p
        yield Derived("chance_multiple", times, "{:.1f} times", "AP by prevalence")


def _changes(run: RunFacts) -> Iterator[Derived]:
    """Differences of figures as they are printed."""
    known = series(run)
    first, last, best = (known[0][1], known[-1][1], max(one[1] for one in known)) if len(known) > 1 else (None,) * 3
    held, pooled, central = (_precision(one) for one in (run.final.holdout, run.final.pooled, run.final.central))
    place = "hold-out" if series_place(run) == "holdout" else "pooled"
    where = "pooled" if run.final.holdout is None else "hold-out"
    scored = (pooled if run.final.holdout is None else held) if comparable(run) else None
    changes = (
        ("training", difference(last, first), f"AP of the last model minus that of the first measured, {place}"),
        ("since_best", difference(last, best), f"AP of the last model minus that of the best round, {place}"),
        ("central", difference(scored, central), f"AP federated minus central, {where}"),
        ("holdout_pooled", difference(held, pooled), "AP on the hold-out minus AP on the banks' rows"),
    )
    for name, change, label in changes:
        if change is not None:
            yield Derived(f"change.{name}", change, "{:+z.3f}", label)


def _triggers(run: RunFacts) -> Iterator[Derived]:
    head, thresholds = headline(run), curve(run)
    if head is not None and (precision := head.scores.average_precision) is not None:
        least = (1 - PRECISION_LOSS) * precision
        yield Derived("trigger.average_precision", least, "{:.3f}", "AP below which to look again")
    if thresholds is not None:
        middle = middle_budget(thresholds[1])
        rate = thresholds[1].budgets[middle].alerts_per_thousand or 0.0
        for name, factor in (("fewest", 1 - ALERT_SWING), ("most", 1 + ALERT_SWING)):
            label = f"{name} alerts a thousand rows before a look"
            yield Derived(f"trigger.{name}_alerts", factor * rate, "{:.1f}", label)


def middle_budget(found: CurveFacts) -> int:
    """The place, from 0, of the budget that the report speaks of."""
    return len(found.budgets) // 2


def _rules() -> Iterator[Derived]:
    yield Derived("rule.even_odds", 0.5, "{:.1f}", "probability from which a transaction counts as flagged")
    yield Derived("rule.thousand", 1000, "{:,}", "transactions that a budget of alerts is for")
    yield Derived("rule.few_frauds", FEW_FRAUDS, "{:d}", "frauds below which a bank's own figures can be chance")
    yield Derived("rule.least_masked", LEAST_BANKS, "{:d}", "banks that a masked round begins with at least")
    yield Derived("rule.stability_index", STABILITY_INDEX, "{:.2f}", "population stability index of the score")
    yield Derived("rule.alert_swing", ALERT_SWING, "{:.0%}", "swing of the alert volume")
    yield Derived("rule.precision_loss", PRECISION_LOSS, "{:.0%}", "loss of average precision")


def _precision(scores: ScoreFacts | None) -> float | None:
    return scores.average_precision if scores else None
