"""What the facts ask for: the recommendation, who loses, what went wrong, the steps that follow.

Each item has its cause in the facts, and figures stand in it by key.
"""

from collections import Counter

from services.reporter import gaps
from services.reporter.derived import CLIPPED, FALLEN, FEW_FRAUDS, SHIFTED, curve, headline, middle_budget, series
from services.reporter.fact_table import SEAT
from services.reporter.facts import BankFacts, RunFacts, Summary
from services.reporter.reading import plural, put, weak
from services.reporter.summary import sign

SIMULATED = frozenset({"tutorial", "cards"})
"""Populations that are made up: no result on them is a reason to deploy."""


def seat(run: RunFacts, name: str) -> str:
    """The placeholder of a seat."""
    if SEAT.fullmatch(name):
        return put(f"banks.{name}.seat")
    return put(f"banks.{[bank.seat for bank in run.banks].index(name) + 1}.seat")


def names(run: RunFacts, seats: list[str], most: int = 10) -> str:
    """bank-01, bank-02 and others."""
    return ", ".join(seat(run, name) for name in seats[:most]) + (" and others" if len(seats) > most else "")


def alone_and_federated(run: RunFacts) -> tuple[str, str, str] | None:
    """The keys of the banks' average precision alone, federated and of the difference; None if undisclosed."""
    for place in ("_holdout", ""):
        found = [f"{name}{place}" for name in ("alone", "federated", "uplift")]
        if all(getattr(run.final, name) for name in found):
            return f"final.{found[0]}", f"final.{found[1]}", f"final.{found[2]}"
    return None


def where(run: RunFacts) -> str:
    """The rows that banks compare on."""
    return "the hold-out" if run.final.uplift_holdout else "their own validation rows"


def compared(run: RunFacts) -> Summary | None:
    """Federated minus alone over the banks, on the hold-out if there is one."""
    return run.final.uplift_holdout or run.final.uplift


def gainers(run: RunFacts) -> list[BankFacts]:
    """Banks whose own validation rows the federated model ranks better than their own model does, the most first."""
    return sorted((b for b in run.banks if sign(b.uplift) > 0), key=lambda bank: -(bank.uplift or 0))


def losers(run: RunFacts) -> list[BankFacts]:
    """Banks that their own model would serve better, the worst first."""
    return sorted((b for b in run.banks if sign(b.uplift) < 0), key=lambda bank: bank.uplift or 0)


def refused(run: RunFacts) -> list[str]:
    """Reasons against use that the facts hold; empty if a pilot can be recommended."""
    head, mean = headline(run), compared(run)
    reasons = []
    if run.run.outcome != "finished":
        reasons.append(f"the run {run.run.outcome or 'goes on'}")
    if head is None:
        reasons.append("no model was measured")
    elif weak(head.scores):
        reasons.append("the model ranks fraud too weakly")
    if mean is not None and mean.mean <= 0:
        reasons.append("on average the banks do as well or better alone")
    return reasons


def conditions(run: RunFacts) -> list[str]:
    """What must hold for a pilot."""
    found = ["The model scores beside the present system and its alerts are reviewed; it blocks nothing by itself."]
    if thresholds := curve(run):
        key = f"{thresholds[0]}.budgets.{middle_budget(thresholds[1]) + 1}"
        found.append(
            f"The threshold is set by an alert budget, here {put(f'{key}.budget_per_thousand')} alerts in "
            f"{put('derived.rule.thousand')} transactions, on transactions later than those it was trained on."
        )
    else:
        found.append("The threshold is set by an alert budget on transactions later than those it was trained on.")
    real, doubtful = _losses(run)
    if real:
        keep = "keeps its own model" if len(real) == 1 else "keep their own models"
        found.append(f"{_with_uplift(run, real)} {keep} until a later run serves better.")
    if doubtful:
        found.append(
            f"A loss on own rows, {_with_uplift(run, doubtful)}, is measured on more rows: the hold-out denies it."
        )
    if run.run.aggregation == "plain":
        found.append("Aggregation is secure before real transactions are used.")
    if run.run.population in SIMULATED:
        found.append("The run is repeated on the banks' real transactions: this population is made up.")
    found.append("The run is repeated with other seeds: a single run is a single draw.")
    return found


def uplift(run: RunFacts) -> str:
    """Who gains and who loses, in a sentence or two."""
    if not run.final.banks_compared:
        return "No bank discloses how it fares alone and federated on its own rows, so nobody can say who gains."
    gain, lose = [bank.seat for bank in gainers(run)], losers(run)
    same = [bank.seat for bank in run.banks if bank.uplift is not None and not sign(bank.uplift)]
    unknown = [bank.seat for bank in run.banks if bank.uplift is None]
    text = f"Of {plural(run.final.banks_compared, 'final.banks_compared', 'bank')} that disclose both figures on own "
    text += f"rows, {plural(len(gain), 'final.banks_gaining', 'gains', 'gain')} by the federation"
    text += f" ({names(run, gain)})" if gain else ""
    if same:
        text += f"; {plural(len(same), 'final.banks_unchanged', 'is', 'are')} as before at the printed precision"
        text += f" ({names(run, same)})"
    by_it = f"**{plural(len(lose), 'final.banks_losing', 'loses', 'lose')} by it: {_with_uplift(run, lose)}**"
    text += f"; {by_it}" if lose else "; none loses"
    return text + (f"; of {put('final.banks_uncompared')} it is not known ({names(run, unknown)})." if unknown else ".")


def risks(run: RunFacts) -> list[str]:
    """What a reader has to know before using the model."""

    def seats(found: list[str]) -> str:
        return names(run, found)

    found = (_worse(run), _losing(run), _silent(run), _fallen(run), _shifted(run), _unsteady(run), _central(run))
    lacking = (gaps.not_compared(run, seats), *gaps.stuck(run, seats))
    return [text for text in (*found, *lacking, _trouble(run), _clipping(run), _visible(run)) if text]


def next_steps(run: RunFacts) -> list[str]:
    """What to do, most urgent first."""
    steps = [*_after_ending(run), *_after_quality(run)]
    steps += [*_after_losses(run), *_after_trouble(run)]
    if run.run.aggregation == "plain":
        steps.append("Before real transactions, use secure aggregation, in which the aggregator learns sums alone.")
    return [*steps, "Repeat the run with other seeds before deciding: a single run is a single draw."]


def _with_uplift(run: RunFacts, banks: list[BankFacts], most: int = 10) -> str:
    shown = [
        f"{seat(run, bank.seat)} ({seat(run, bank.seat).replace('.seat}}', '.uplift}}')})" for bank in banks[:most]
    ]
    return ", ".join(shown) + (" and others" if len(banks) > most else "")


def _worse(run: RunFacts) -> str:
    keys, mean = alone_and_federated(run), compared(run)
    if keys is None or mean is None or mean.mean >= 0:
        return ""
    return (
        f"On average the banks do better alone: mean average precision {put(f'{keys[0]}.mean')} on {where(run)}, "
        f"{put(f'{keys[1]}.mean')} with the federated model."
    )


def _losing(run: RunFacts) -> str:
    if not (lose := losers(run)):
        return ""
    return f"The federated model is worse than the bank's own, on the bank's rows, for {_with_uplift(run, lose)}."


def _silent(run: RunFacts) -> str:
    head = headline(run)
    if head is None or head.scores.flagged_count:
        return ""
    odds = put("derived.rule.even_odds")
    return f"Nothing is flagged at probability {odds}: a system that acts on that threshold would let every fraud pass."


def _fallen(run: RunFacts) -> str:
    known = series(run)
    if not known or max(one[1] for one in known) - known[-1][1] < FALLEN:
        return ""
    best = max(known, key=lambda one: one[1])[0]
    place = "holdout" if any(done.holdout for done in run.rounds) else "pooled"
    key = f"{place}.average_precision"
    return (
        f"The last model ({put(f'rounds.{known[-1][0]}.{key}')}) is worse than that of round "
        f"{put(f'rounds.{best}.number')} ({put(f'rounds.{best}.{key}')}) in average precision."
    )


def _shifted(run: RunFacts) -> str:
    held = run.final.holdout.average_precision if run.final.holdout else None
    pooled = run.final.pooled.average_precision if run.final.pooled else None
    if held is None or pooled is None or abs(held - pooled) < SHIFTED:
        return ""
    return (
        f"Average precision is {put('final.holdout.average_precision')} on the hold-out and "
        f"{put('final.pooled.average_precision')} on the banks' own rows: they differ in kind or in prevalence, and "
        "new transactions may be like either."
    )


def _unsteady(run: RunFacts) -> str:
    few = [b.seat for b in run.banks if b.rows and b.fraud_rate is not None and b.rows * b.fraud_rate < FEW_FRAUDS]
    if not few:
        return ""
    least = put("derived.rule.few_frauds")
    return f"Fewer than {least} frauds at {names(run, few)}: their own validation figures can be chance."


def _central(run: RunFacts) -> str:
    against = run.final.against_central
    if against is None:
        return ""
    if against.ahead == "central":
        return (
            f"A model of all rows in one place ranks better by {put('final.against_central.by')} in average precision "
            "on the hold-out: the price of leaving the rows where they are, in this run."
        )
    return (
        f"Central, with {put('final.central.average_precision')} no better here, is no bound: it has the same recipe, "
        "and another may suit pooled rows better."
    )


def _trouble(run: RunFacts) -> str:
    void = run.totals.rounds_void + run.totals.rounds_abandoned
    dropped = _dropped(run)
    parts = []
    if void:
        parts.append(f"{plural(void, 'derived.rounds_without_result', 'round')} had no result")
    if dropped:
        missing = plural(run.totals.answers_missing, "totals.answers_missing", "answer was", "answers were")
        parts.append(f"{missing} missing (from {names(run, sorted(dropped))})")
    if run.refusals.count:
        key = f"refusals.last.{len(run.refusals.last)}"
        counted = plural(run.refusals.count, "refusals.count", "contribution was", "contributions were")
        said = ", ".join(put(f"{key}.{name}") for name in ("seat", "status", "reason"))
        parts.append(f"{counted} refused (the last: {said})")
    return f"{'; '.join(parts)}." if parts else ""


def _clipping(run: RunFacts) -> str:
    worst = max((r.clipped_share or 0 for r in run.rounds), default=0)
    return (
        f"Up to {put('derived.most_clipped')} of update coordinates were clipped in a round." if worst > CLIPPED else ""
    )


def _visible(run: RunFacts) -> str:
    if run.run.aggregation == "plain":
        return "Aggregation is plain: single banks' updates are visible to the aggregator and may tell of rows."
    if run.run.roster is None:
        return ""
    return (
        f"Aggregation is secure: the aggregator learned sums alone. Roster: {put('run.roster')}. Banks believe a "
        "signing key that they have never seen before, so an aggregator that lied from the beginning could have "
        "invented banks; a bank that sets ROSTER_FILE, given out of band, rules that out."
    )


def _dropped(run: RunFacts) -> Counter[str]:
    return Counter(name for r in run.rounds for name in r.dropped)


def _after_ending(run: RunFacts) -> list[str]:
    if run.run.outcome == "failed":
        return ["Mend what made the run fail, then start another: `start` of the operator."]
    if run.run.outcome == "stopped":
        return ["Start another run if the stop was no verdict on this one: it did fewer rounds than it aimed at."]
    return []


def _after_quality(run: RunFacts) -> list[str]:
    head = headline(run)
    if head is None:
        return []
    steps = []
    if head.scores.flagged_count == 0:
        better = " recipe `default` corrects each bank's scores for rare fraud;" if run.run.recipe != "default" else ""
        steps.append(
            f"Do not act on probability {put('derived.rule.even_odds')}:{better} set the threshold by an alert budget."
        )
    if head.scores.average_precision is not None and weak(head.scores):
        steps.append("Do not deploy: train longer or by another recipe until average precision is well above chance.")
    return steps


def _losses(run: RunFacts) -> tuple[list[BankFacts], list[BankFacts]]:
    """A bank's own rows are few: losses to be acted on, and those of which the hold-out says the opposite."""
    lose = losers(run)
    doubtful = [bank for bank in lose if (bank.uplift_holdout or 0) > 0]
    return [bank for bank in lose if bank not in doubtful], doubtful


def _after_losses(run: RunFacts) -> list[str]:
    real, doubtful = ([bank.seat for bank in banks] for banks in _losses(run))
    steps = []
    if real:
        steps.append(
            f"Let {names(run, real)} use the bank's own model until a run serves better, and look at how the "
            "transactions there differ."
        )
    if doubtful:
        steps.append(f"Measure {names(run, doubtful)} on more rows: a loss on its own rows, a gain on the hold-out.")
    return steps


def _after_trouble(run: RunFacts) -> list[str]:
    steps = []
    if any(r.outcome != "committed" for r in run.rounds):
        steps.append("Look at why rounds had no result: banks absent, or a deadline too short for the slowest.")
    if dropped := _dropped(run):
        steps.append(f"Ask {names(run, [name for name, _ in dropped.most_common()])} why answers were missing.")
    if run.refusals.count:
        seats = {refusal.seat: number for number, refusal in enumerate(run.refusals.last, 1)}
        shown = ", ".join(put(f"refusals.last.{number}.seat") for _, number in sorted(seats.items())[:10])
        steps.append(f"Check the clients of {shown}: contributions were refused.")
    return steps
