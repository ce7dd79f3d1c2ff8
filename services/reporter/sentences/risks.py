"""Sentences of the risks: what a reader has to know before using the model."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from services.reporter import advice, gaps
from services.reporter.derived import (
    CLIPPED,
    FALLEN,
    FEW_FRAUDS,
    SHIFTED,
    comparable,
    curve,
    headline,
    middle_budget,
    series,
    series_place,
)
from services.reporter.facts import RunFacts
from services.reporter.reading import agreed, noise, noise_in_it, plural, put
from services.reporter.sentences.sentence import Facts, Sentence, a_budget, known, middle, printed

_say = partial(Sentence, section="risks")


def sentences(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    """All of them: what was seen in this run, then what a run of this kind leaves open."""
    yield _say("risks.worse", topic="comparison", text=_worse(run, facts), must=True, standing=True)
    yield _say("risks.losing", topic="banks", text=_losing(run), must=True, standing=True)
    yield _say("risks.silent", topic="alerts", text=_silent(run), must=True, standing=True)
    yield _say("risks.fallen", topic="rounds", text=_fallen(run), must=True, standing=True)
    yield _say("risks.shifted", topic="data", text=_shifted(run), standing=True)
    yield _say("risks.unsteady", topic="data", text=_unsteady(run), standing=True)
    yield _say("risks.central", topic="comparison", text=_central(run), standing=True)
    why = "banks of which it is not known whether they gain, and why not"
    text = gaps.not_compared(run, partial(advice.names, run))
    yield _say("risks.undisclosed", topic="banks", text=text, must=True, standing=True, about=why)
    yield _say("risks.void", topic="rounds", text=_void(run), must=True, standing=True)
    yield from _stuck(run)
    who = "how many answers were missing, and from which banks"
    yield _say("risks.missing", topic="rounds", text=_missing(run), must=True, standing=True, about=who)
    yield from _told_by_topic(run)
    yield from _left_open(run, facts)


def dropped(run: RunFacts) -> Counter[str]:
    """In how many rounds a seat did not answer, of those that failed to at all."""
    return Counter(name for done in run.rounds for name in done.dropped)


def _told_by_topic(run: RunFacts) -> Iterator[Sentence]:
    """What follows from facts that do not leave: always in the list, so that its being there tells nothing."""
    refused = "contributions that were refused, or that none was"
    yield _say("risks.refused", topic="review", text=_refused(run), standing=run.refusals.count > 0, about=refused)
    clipped = "the largest share of clipped coordinates in a round"
    yield _say("risks.clipping", topic="rounds", text=_CLIPPED, standing=_most_clipped(run) > CLIPPED, about=clipped)
    seen = "how contributions travelled, and what the aggregator could see of them"
    said = run.run.aggregation == "plain" or run.run.roster is not None
    yield _say("risks.visible", topic="privacy", text=_visible(run), must=True, standing=said, about=seen)
    made_up = "the population that the rows are of, and whether it is made up"
    yield _say("risks.population", topic="data", text=_population(run), about=made_up)


def _left_open(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    yield _say("risks.no_noise", topic="privacy", text=noise(run))
    text = "Differences between banks and between models have no intervals: with few frauds, small ones can be chance."
    yield _say("risks.no_intervals", topic="limits", text=text)
    text = "Declined transactions have no label, so what a present system stops is not in the figures."
    yield _say("risks.declined", topic="limits", text=text)
    text = "The facts of a run do not hold the period of its rows, nor how late their labels came."
    yield _say("risks.period", topic="limits", text=_period() if run.run.feature_plan else text)
    yield _say("risks.false_alarms", topic="alerts", text=_false_alarms(run))
    yield _say("risks.sizes", topic="data", text=_sizes(run, facts))


def _worse(run: RunFacts, facts: Facts) -> str:
    keys = advice.alone_and_federated(run)
    if keys is None or printed(facts, f"{keys[2]}.mean") >= 0:
        return ""
    return (
        f"On average the banks do better alone: federated minus alone is {put(f'{keys[2]}.mean')} in average precision "
        f"on {advice.where(run)}."
    )


def _losing(run: RunFacts) -> str:
    if not (lose := advice.losers(run)):
        return ""
    return f"The federated model is worse than the bank's own, on the bank's rows, for {advice.with_uplift(run, lose)}."


def _silent(run: RunFacts) -> str:
    head = headline(run)
    if head is None or head.scores.flagged_count:
        return ""
    odds = put("derived.rule.even_odds")
    return f"Nothing is flagged at probability {odds}: a system that acts on that threshold would let every fraud pass."


def _fallen(run: RunFacts) -> str:
    found = series(run)
    if not found or max(one[1] for one in found) - found[-1][1] < FALLEN:
        return ""
    best, key = max(found, key=lambda one: one[1])[0], f"{series_place(run)}.average_precision"
    return (
        f"The last model ({put(f'rounds.{found[-1][0]}.{key}')}) is worse than that of round "
        f"{put(f'rounds.{best}.number')} ({put(f'rounds.{best}.{key}')}) in average precision."
    )


def _shifted(run: RunFacts) -> str:
    held = run.final.holdout.average_precision if run.final.holdout else None
    pooled = run.final.pooled.average_precision if run.final.pooled else None
    if held is None or pooled is None or abs(held - pooled) < SHIFTED:
        return ""
    return (
        f"Average precision is {put('final.holdout.average_precision')} on the hold-out and "
        f"{put('final.pooled.average_precision')} on the banks' own rows: these may differ in kind or in "
        "prevalence, and new transactions may be like either."
    )


def unsteady(run: RunFacts) -> list[str]:
    """Seats with so few frauds that their own figures can be chance; none where these are of other days' rows."""
    if run.run.feature_plan is not None:
        return []
    return [b.seat for b in run.banks if b.rows and b.fraud_rate is not None and b.rows * b.fraud_rate < FEW_FRAUDS]


def shared_frauds(run: RunFacts) -> bool:
    """Whether banks with a feature plan, who do not tell their validation frauds, share so few that figures of single
    banks can be chance."""
    scored = [done.banks for done in run.rounds if done.outcome == "committed" and "evaluate" in done.segments]
    if run.run.feature_plan is None or run.final.pooled is None or not scored:
        return False
    return run.final.pooled.fraud_count < FEW_FRAUDS * scored[-1]


def _unsteady(run: RunFacts) -> str:
    least = put("derived.rule.few_frauds")
    if shared_frauds(run):
        frauds = plural(run.final.pooled.fraud_count if run.final.pooled else 0, "final.pooled.fraud_count", "fraud")
        return (
            f"All banks' validation rows hold {frauds}, on average fewer than {least} a bank: a bank's own validation "
            "figures can be chance."
        )
    if not (few := unsteady(run)):
        return ""
    whose = agreed(len(few), "its", "their")
    return f"Fewer than {least} frauds at {advice.names(run, few)}: {whose} own validation figures can be chance."


def _central(run: RunFacts) -> str:
    against, head = run.final.against_central, headline(run)
    # facts.json of an older version may have `against_central` of other rows too
    if against is None or head is None or not comparable(run):
        return ""
    if against.ahead == "central":
        return (
            f"A model of all rows in one place ranks better by {put('final.against_central.by')} in average precision "
            f"on {head.where}: the price of leaving the rows where they are, in this run{noise_in_it(run)}."
        )
    return (
        f"Central, with {put('final.central.average_precision')} no better here, is no bound: it has the same recipe, "
        "and another may suit pooled rows better."
    )


def _stuck(run: RunFacts) -> Iterator[Sentence]:
    """The newest must stand; the others do, whoever writes."""
    told = list(gaps.stuck(run, partial(advice.names, run)))
    about = "a round without a result: where it stopped, whom it waited for there, and why"
    for number, text in enumerate(told, 1):
        newest = number == len(told)
        yield _say(f"risks.stuck.{number}", topic="rounds", text=text, must=newest, standing=True, about=about)


def _void(run: RunFacts) -> str:
    void = run.totals.rounds_void + run.totals.rounds_abandoned
    return f"{plural(void, 'derived.rounds_without_result', 'round')} had no result." if void else ""


def _missing(run: RunFacts) -> str:
    if not (seats := dropped(run)):
        return ""
    missing = plural(run.totals.answers_missing, "totals.answers_missing", "answer was", "answers were")
    return f"{missing} missing (from {advice.names(run, sorted(seats))})."


def _refused(run: RunFacts) -> str:
    if not run.refusals.count:
        return "No contribution was refused."
    key = f"refusals.last.{len(run.refusals.last)}"
    counted = plural(run.refusals.count, "refusals.count", "contribution was", "contributions were")
    said = ", ".join(put(f"{key}.{name}") for name in ("seat", "status", "reason"))
    return f"{counted} refused (the last: {said})."


_CLIPPED = f"Up to {put('derived.most_clipped')} of update coordinates were clipped in a round."


def _most_clipped(run: RunFacts) -> float:
    return max((done.clipped_share or 0.0 for done in run.rounds), default=0.0)


def _visible(run: RunFacts) -> str:
    if run.run.aggregation == "plain":
        return "Aggregation is plain: single banks' updates are visible to the aggregator and may tell of rows."
    if run.run.roster is None:
        return "How contributions travelled is not in the journal, so what the aggregator saw of them is not known."
    return (
        f"Aggregation is secure: the aggregator learned sums alone. Roster: {put('run.roster')}. Banks believe a "
        "signing key that they have never seen before, so an aggregator that lied from the beginning could have "
        "invented banks; a bank that sets ROSTER_FILE, given out of band, rules that out."
    )


def _population(run: RunFacts) -> str:
    if run.run.population in advice.SIMULATED:
        return f"The population {put('run.population')} is made up; it stands for no bank's customers."
    return f"The rows are of the population {put('run.population')}; other transactions may be of another kind."


def _false_alarms(run: RunFacts) -> str:
    if (found := curve(run)) is None:
        return ""
    key = middle(found)
    alerts = plural(found[1].budgets[middle_budget(found[1])].alerts, f"{key}.alerts", "alert")
    return (
        f"Within {a_budget(key)}, false alarms are {put(f'{key}.false_alerts')} of {alerts}: each "
        "takes a reviewer's time and finds no fraud."
    )


def _period() -> str:
    first, last = put("run.feature_plan.test_first_day"), put("run.feature_plan.last_day")
    return f"Validation rows are of {first} to {last} alone: other days may have more fraud, less or another kind."


def _sizes(run: RunFacts, facts: Facts) -> str:
    least, most = (f"heterogeneity.fraud_rate.{name}" for name in ("least", "most"))
    if not known(facts, least, most) or facts[least].text == facts[most].text:
        return ""
    of = " of the payments of all days of the plan" if run.run.feature_plan else ""
    return f"The banks that disclose their fraud rate{of} differ in it: from {put(least)} to {put(most)}."
