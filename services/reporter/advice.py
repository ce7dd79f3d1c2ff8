"""What the facts ask for: who loses, what went wrong, the steps that follow. Each item has its cause in the facts."""

from collections import Counter

from services.reporter.facts import BankFacts, RunFacts
from services.reporter.markdown import count, inline
from services.reporter.reading import HARDLY_CHANCE, USEFUL, alone_and_federated, headline

FEW_FRAUDS = 50
"""Frauds of a bank below which its own validation figures swing by chance."""
FALLEN = 0.02
"""Average precision below the best round's from which the last model counts as worse."""
CLIPPED = 0.01
"""The share of clipped coordinates from which clipping shapes the model."""


def names(seats: list[str], most: int = 10) -> str:
    """bank-01, bank-02 and 3 more."""
    shown = ", ".join(inline(seat, 40) for seat in seats[:most])
    return shown + (f" and {len(seats) - most} more" if len(seats) > most else "")


def gainers(run: RunFacts) -> list[BankFacts]:
    """Banks whose own validation rows the federated model ranks better than their own model does, the most first."""
    return sorted((b for b in run.banks if (b.uplift or 0) > 0), key=lambda bank: -(bank.uplift or 0))


def losers(run: RunFacts) -> list[BankFacts]:
    """Banks that their own model would serve better, the worst first."""
    return sorted((b for b in run.banks if (b.uplift or 0) < 0), key=lambda bank: bank.uplift or 0)


def uplift(run: RunFacts) -> str:
    """Who gains and who loses, in a sentence or two."""
    gain, lose = gainers(run), losers(run)
    known = [bank for bank in run.banks if bank.uplift is not None]
    if not known:
        return "No bank discloses how it fares alone and federated, so nobody can say who gains."
    text = f"Of {count(len(known), 'bank')} with both figures, {count(len(gain), 'gains', 'gain')} by the federation"
    text += f" ({names([bank.seat for bank in gain])})" if gain else ""
    if not lose:
        return text + " and none loses."
    return text + f"; **{count(len(lose), 'loses', 'lose')} by it: {_with_uplift(lose)}**."


def risks(run: RunFacts) -> list[str]:
    """What a reader has to know before using the model."""
    found = (_worse(run), _losing(run), _silent(run), _fallen(run), _shifted(run), _unsteady(run), _undisclosed(run))
    return [text for text in (*found, _trouble(run), _clipping(run), _visible(run)) if text]


def next_steps(run: RunFacts) -> list[str]:
    """What to do, most urgent first."""
    steps = [*_after_ending(run), *_after_quality(run)]
    steps += [*_after_losses(run), *_after_trouble(run)]
    if run.run.aggregation == "plain":
        steps.append("Before real transactions, use secure aggregation, in which the aggregator learns sums alone.")
    return steps or ["Repeat the run with other seeds before deciding: one run is one draw."]


def _with_uplift(banks: list[BankFacts], most: int = 10) -> str:
    shown = ", ".join(f"{inline(bank.seat, 40)} ({bank.uplift:+.3f})" for bank in banks[:most])
    return shown + (f" and {len(banks) - most} more" if len(banks) > most else "")


def _worse(run: RunFacts) -> str:
    both = alone_and_federated(run)
    if both is None or both[1].mean >= both[0].mean:
        return ""
    alone, federated, where = both
    return (
        f"On average the banks do better alone: mean average precision {alone.mean:.3f} on {where}, "
        f"{federated.mean:.3f} with the federated model."
    )


def _losing(run: RunFacts) -> str:
    lose = losers(run)
    return (
        f"The federated model is worse than the bank's own, on the bank's rows, for {_with_uplift(lose)}."
        if lose
        else ""
    )


def _silent(run: RunFacts) -> str:
    head = headline(run)
    if head is None or head[1].flagged_count:
        return ""
    return "Nothing is flagged at probability 0.5: a system that acts on that threshold would let every fraud pass."


def _fallen(run: RunFacts) -> str:
    known = [
        (scores.average_precision, r.number)
        for r in run.rounds
        if (scores := r.holdout or r.pooled) and scores.average_precision is not None
    ]
    if not known or max(known)[0] - known[-1][0] < FALLEN:
        return ""
    best, number = max(known)
    return (
        f"The last model ({known[-1][0]:.3f}) is worse than that of round {number} ({best:.3f}) in average precision."
    )


def _shifted(run: RunFacts) -> str:
    held = run.final.holdout.average_precision if run.final.holdout else None
    pooled = run.final.pooled.average_precision if run.final.pooled else None
    if held is None or pooled is None or abs(held - pooled) < 0.1:
        return ""
    return (
        f"Average precision is {held:.3f} on the hold-out and {pooled:.3f} on the banks' own rows: the two differ in "
        "kind or in prevalence, and new transactions may be like either."
    )


def _unsteady(run: RunFacts) -> str:
    few = [b.seat for b in run.banks if b.rows and b.fraud_rate is not None and b.rows * b.fraud_rate < FEW_FRAUDS]
    return f"Fewer than {FEW_FRAUDS} frauds at {names(few)}: their own validation figures can be chance." if few else ""


def _undisclosed(run: RunFacts) -> str:
    unknown = [bank.seat for bank in run.banks if bank.uplift is None]
    return f"Not known whether {names(unknown)} gain: {_why_unknown(run, unknown)}." if unknown else ""


def _why_unknown(run: RunFacts, unknown: list[str]) -> str:
    """What the facts say of it: a bank compares itself in the final round, which evaluates only, if it gets there."""
    last = run.rounds[-1] if run.rounds else None
    if last is None or "evaluate" not in last.segments or "train" in last.segments:
        return "the run ended before the final round, in which banks compare"
    missing = [seat for seat in unknown if seat in last.dropped]
    before = [seat for seat in unknown if seat not in last.dropped and seat in _dropped(run)]
    silent = [seat for seat in unknown if seat not in _dropped(run)]
    parts = (
        ("answers were missing in the last round (from {})", missing),
        ("answers were missing in earlier rounds (from {})", before),
        ("no comparison disclosed, no time for one, or validation rows that define none ({})", silent),
    )
    return "; ".join(text.format(names(seats)) for text, seats in parts if seats)


def _trouble(run: RunFacts) -> str:
    void = sum(1 for r in run.rounds if r.outcome != "committed")
    dropped = _dropped(run)
    parts = []
    if void:
        parts.append(f"{count(void, 'round')} had no result")
    if dropped:
        missing = count(sum(dropped.values()), "answer was", "answers were")
        parts.append(f"{missing} missing (from {names(sorted(dropped))})")
    if run.refusals.count:
        last = run.refusals.last[-1]
        refused = count(run.refusals.count, "contribution was", "contributions were")
        said = f"{inline(last.seat, 40)}, {inline(last.status, 40)}, {inline(last.reason)}"
        parts.append(f"{refused} refused (the last: {said})")
    return f"{'; '.join(parts)}." if parts else ""


def _clipping(run: RunFacts) -> str:
    worst = max((r.clipped_share or 0 for r in run.rounds), default=0)
    return f"Up to {100 * worst:.1f} % of update coordinates were clipped in a round." if worst > CLIPPED else ""


def _visible(run: RunFacts) -> str:
    if run.run.aggregation == "plain":
        return "Aggregation is plain: single banks' updates are visible to the aggregator and may tell of their rows."
    return (
        "Aggregation is secure: the aggregator learned sums alone. Roster: first use. Banks believe a signing key when "
        "they first see it, so an aggregator that lied from the beginning could have invented banks; a bank that sets "
        "ROSTER_FILE, given out of band, rules that out."
    )


def _dropped(run: RunFacts) -> Counter[str]:
    return Counter(seat for r in run.rounds for seat in r.dropped)


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
    scores, steps = head[1], []
    if scores.flagged_count == 0:
        better = " recipe `default` corrects each bank's scores for rare fraud;" if run.run.recipe != "default" else ""
        steps.append(f"Do not act on probability 0.5:{better} set the threshold by an alert budget.")
    weak = scores.average_precision is not None and scores.prevalence is not None
    if weak and (scores.average_precision or 0) < max(USEFUL, HARDLY_CHANCE * (scores.prevalence or 0)):
        steps.append("Do not deploy: train longer or by another recipe until average precision is well above chance.")
    return steps


def _after_losses(run: RunFacts) -> list[str]:
    """A bank's own rows are few; only where the hold-out does not say the opposite is a loss to be acted on."""
    lose = losers(run)
    real = [bank.seat for bank in lose if (bank.uplift_holdout or 0) <= 0]
    doubtful = [bank.seat for bank in lose if (bank.uplift_holdout or 0) > 0]
    steps = []
    if real:
        steps.append(
            f"Let {names(real)} use the bank's own model until a run serves better, and look at how the transactions "
            "there differ."
        )
    if doubtful:
        steps.append(f"Measure {names(doubtful)} on more rows: a loss on its own rows, a gain on the hold-out.")
    return steps


def _after_trouble(run: RunFacts) -> list[str]:
    steps = []
    if any(r.outcome != "committed" for r in run.rounds):
        steps.append("Look at why rounds had no result: banks absent, or a deadline too short for the slowest.")
    if dropped := _dropped(run):
        steps.append(f"Ask {names([seat for seat, _ in dropped.most_common()])} why answers were missing.")
    if run.refusals.count:
        seats = sorted({refusal.seat for refusal in run.refusals.last})
        steps.append(f"Check the clients of {names(seats)}: contributions were refused.")
    return steps
