"""What the facts ask for: the recommendation, its reasons and conditions, who gains and who loses.

Each text has its cause in the facts, and figures stand in it by key.
"""

from functools import partial

from services.reporter import gaps
from services.reporter.derived import curve, headline, middle_budget
from services.reporter.fact_table import SEAT
from services.reporter.facts import BankFacts, RunFacts, Summary
from services.reporter.reading import plural, put, weak
from services.reporter.rounding import sign

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
    """The keys of average precision alone, federated and of the difference, over the banks that disclose both; None if
    no bank does."""
    for place in ("_holdout", ""):
        found = [f"{name}{place}" for name in ("compared_alone", "compared_federated", "uplift")]
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


def unchanged(run: RunFacts) -> list[str]:
    """Seats that are as before at the printed precision."""
    return [bank.seat for bank in run.banks if bank.uplift is not None and not sign(bank.uplift)]


def uncompared(run: RunFacts) -> list[str]:
    """Seats of which nobody knows whether they gain."""
    return [bank.seat for bank in run.banks if bank.uplift is None]


def refused(run: RunFacts) -> list[str]:
    """Reasons against use that the facts hold; empty if a pilot can be recommended."""
    head, mean = headline(run), compared(run)
    reasons = []
    if run.run.outcome != "finished":
        reasons.append(f"the run {run.run.outcome or 'goes on'}")
    if head is None:
        reasons.append("no model was measured")
    elif head.scores.average_precision is None or head.scores.prevalence is None:
        reasons.append("the model cannot be judged")
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
    real, doubtful = losses(run)
    if real:
        keep = "keeps its own model" if len(real) == 1 else "keep their own models"
        found.append(f"{with_uplift(run, real)} {keep} until a later run serves better.")
    if doubtful:
        found.append(
            f"A loss on own rows, {with_uplift(run, doubtful)}, is measured on more rows: the hold-out denies it."
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
        return gaps.nobody_compared(run, partial(names, run))
    gain, lose = [bank.seat for bank in gainers(run)], losers(run)
    same, unknown = unchanged(run), uncompared(run)
    disclosing = plural(run.final.banks_compared, "final.banks_compared", "bank that discloses", "banks that disclose")
    text = f"Of {disclosing} both figures on own "
    text += f"rows, {plural(len(gain), 'final.banks_gaining', 'gains', 'gain')} by the federation"
    text += f" ({names(run, gain)})" if gain else ""
    if same:
        text += f"; {plural(len(same), 'final.banks_unchanged', 'is', 'are')} as before at the printed precision"
        text += f" ({names(run, same)})"
    by_it = f"**{plural(len(lose), 'final.banks_losing', 'loses', 'lose')} by it: {with_uplift(run, lose)}**"
    text += f"; {by_it}" if lose else "; none loses"
    return text + (f"; of {put('final.banks_uncompared')} it is not known ({names(run, unknown)})." if unknown else ".")


def with_uplift(run: RunFacts, banks: list[BankFacts], most: int = 10) -> str:
    """bank-02 (-0.200), bank-03 (-0.100) and others."""
    shown = [
        f"{seat(run, bank.seat)} ({seat(run, bank.seat).replace('.seat}}', '.uplift}}')})" for bank in banks[:most]
    ]
    return ", ".join(shown) + (" and others" if len(banks) > most else "")


def losses(run: RunFacts) -> tuple[list[BankFacts], list[BankFacts]]:
    """A bank's own rows are few: losses to be acted on, and those of which the hold-out says the opposite."""
    lose = losers(run)
    doubtful = [bank for bank in lose if (bank.uplift_holdout or 0) > 0]
    return [bank for bank in lose if bank not in doubtful], doubtful
