"""Sentences of the metric interpretation: each metric read in words, alert budgets, calibration, single banks."""

from collections.abc import Iterator
from functools import partial

from services.reporter import advice, reading
from services.reporter.derived import curve, headline
from services.reporter.facts import RunFacts
from services.reporter.reading import put
from services.reporter.score_facts import CurveFacts
from services.reporter.sentences.sentence import Facts, Sentence, a_budget, by_side, known, printed

MOST_BANKS = 6
"""Banks that are offered one by one; the table has all."""

_say = partial(Sentence, section="metric_interpretation")
_TOPICS = {"flagged": "alerts", "loss": "calibration", "central": "comparison"}


def sentences(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    """All of them."""
    head = headline(run)
    read = reading.named_metrics(run)
    silent = head is not None and head.scores.flagged_count == 0
    for name, text in read.items():
        must = name == "precision" or (name == "flagged" and silent)
        yield _say(f"metrics.{name}", topic=_TOPICS.get(name, "ranking"), text=text, must=must)
    if head is None:
        text = "No model was measured, so there is no metric to read."
        yield _say("metrics.none", topic="ranking", text=text, must=True)
    elif "precision" not in read:
        text = f"On {head.where} average precision is not defined: there is a single class only, or no row."
        yield _say("metrics.undefined", topic="ranking", text=text, must=True)
    yield _say("metrics.best_alone", topic="comparison", text=_best_alone(facts))
    yield _say("metrics.places", topic="data", text=_places(facts))
    yield _say("metrics.since_best", topic="rounds", text=_since_best(facts))
    if found := curve(run):
        yield from _budgets(found)
        yield from _calibration(found, facts)
    yield from _banks(run)


def _best_alone(facts: Facts) -> str:
    alone, held = "final.alone_holdout.best", "final.holdout.average_precision"
    if not known(facts, alone, held):
        return ""
    side = by_side(
        printed(facts, held) - printed(facts, alone),
        "better than any of them",
        "behind the best of them",
        "level with the best of them at this precision",
    )
    return (
        f"On the hold-out the best of the banks' own models, as disclosed, has an average precision of {put(alone)}, "
        f"the federated model {put(held)}: {side}."
    )


def _places(facts: Facts) -> str:
    held, pooled, change = (
        "final.holdout.average_precision",
        "final.pooled.average_precision",
        "derived.change.holdout_pooled",
    )
    if not known(facts, held, pooled, change):
        return ""
    return (
        f"Average precision is {put(held)} on the hold-out and {put(pooled)} on all banks' validation rows, a "
        f"difference of {put(change)}; where prevalences differ, these cannot be held against each other as they are."
    )


def _since_best(facts: Facts) -> str:
    key = "derived.change.since_best"
    if not known(facts, key):
        return ""
    side = by_side(printed(facts, key), "", "an earlier model was better", "none was better at this precision")
    return (
        f"Against the best measured model of the run, the last has {put(key)} in average precision: {side}."
        if side
        else ""
    )


def _budgets(found: tuple[str, CurveFacts]) -> Iterator[Sentence]:
    for number in range(1, len(found[1].budgets) + 1):
        key = f"{found[0]}.budgets.{number}"
        alerts, hits, false, precision, recall = (
            put(f"{key}.{name}") for name in ("alerts", "hits", "false_alerts", "precision", "recall")
        )
        budget = found[1].budgets[number - 1]
        day = budget.alerts_per_day
        daily = f" ({put(f'{key}.alerts_per_day')} a day over all banks)" if day is not None else ""
        text = (
            f"Within {a_budget(key, budget.budget_per_thousand)}: alerts {alerts}{daily}, "
            f"frauds among them {hits}, false alarms {false}; precision {precision}, recall {recall}."
        )
        yield _say(f"metrics.budget.{number}", topic="alerts", text=text)


def _calibration(found: tuple[str, CurveFacts], facts: Facts) -> Iterator[Sentence]:
    bands = len(found[1].calibration)
    for name, number in (("highest", 1), ("lowest", bands)) if bands > 1 else ():
        key = f"{found[0]}.calibration.{number}"
        rows, expected, observed = f"{key}.rows", f"{key}.expected_rate", f"{key}.observed_rate"
        if not known(facts, rows, expected, observed):
            continue
        side = by_side(
            printed(facts, expected) - printed(facts, observed),
            "there the model expects more fraud than there is",
            "there the model expects less fraud than there is",
            "there expected and observed agree at this precision",
        )
        where = "the public hold-out" if "holdout" in key else "all banks' validation rows"
        text = (
            f"Among the {name} scores on {where} (transactions: {put(rows)}) the model expects a share of "
            f"{put(expected)} to be fraud, and {put(observed)} are: {side}."
        )
        yield _say(f"metrics.calibration.{name}", topic="calibration", text=text)


def _banks(run: RunFacts) -> Iterator[Sentence]:
    known_banks = [bank for bank in run.banks if bank.uplift is not None]
    ranked = sorted(known_banks, key=lambda bank: -abs(bank.uplift or 0.0))
    for number, bank in enumerate(ranked[:MOST_BANKS], 1):
        seat = advice.seat(run, bank.seat)
        text = f"At {seat}, on own rows, {_pair(seat, '')}"
        held = f"; on the hold-out, {_pair(seat, '_holdout')}" if bank.uplift_holdout is not None else ""
        yield _say(f"metrics.bank.{number}", topic="banks", text=f"{text}{held}.")


def _pair(seat: str, place: str) -> str:
    alone, federated, uplift = (
        seat.replace(".seat}}", f".{name}{place}}}}}") for name in ("alone", "federated", "uplift")
    )
    return f"average precision is {alone} alone and {federated} with the federated model, a difference of {uplift}"
