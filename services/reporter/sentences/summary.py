"""Sentences of the executive summary: what the federation brought, to whom, and at which price in alerts."""

from collections.abc import Iterator
from functools import partial

from services.reporter import advice, gaps
from services.reporter.derived import curve, headline, series, series_place
from services.reporter.facts import RunFacts
from services.reporter.reading import central, plural, put
from services.reporter.sentences.sentence import Facts, Sentence, a_budget, by_side, known, middle, printed

_say = partial(Sentence, section="executive_summary")


def sentences(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    """All of them."""
    yield from _comparison(run, facts)
    yield from _who(run, facts)
    yield from _ranking(run, facts)
    yield _say("summary.budget", topic="alerts", text=_budget(run))
    yield _say("summary.rounds", topic="rounds", text=_rounds(run))
    yield _say("summary.sizes", topic="data", text=_sizes(run))


def _comparison(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    keys = advice.alone_and_federated(run)
    if keys is not None:
        alone, federated, uplift = keys
        where, change = advice.where(run), printed(facts, f"{uplift}.mean")
        side = by_side(
            change,
            "on average the banks do better with it",
            "on average the banks do better alone",
            "on average it makes no difference at this precision",
        )
        text = (
            f"On {where}, over the banks that disclose both, mean average precision is {put(f'{alone}.mean')} alone "
            f"and {put(f'{federated}.mean')} with the federated model; the mean difference is {put(f'{uplift}.mean')}: "
            f"{side}."
        )
        yield _say("summary.mean", topic="comparison", text=text, must=change <= 0)
        text = (
            f"Alone, the average precisions of the banks that disclose both figures on {where} lie between "
            f"{put(f'{alone}.worst')} and {put(f'{alone}.best')}; with the federated model, between "
            f"{put(f'{federated}.worst')} and {put(f'{federated}.best')}."
        )
        yield _say("summary.range", topic="comparison", text=text)
        change = printed(facts, f"{federated}.worst") - printed(facts, f"{alone}.worst")
        side = by_side(
            change,
            "the lowest is higher with it",
            "the lowest is lower with it",
            "the same at this precision",
        )
        text = (
            f"The lowest average precision of the banks that disclose both figures on {where} is "
            f"{put(f'{alone}.worst')} alone and {put(f'{federated}.worst')} with the federated model: {side}."
        )
        yield _say("summary.weakest", topic="comparison", text=text)
    yield _say("summary.central", topic="comparison", text=central(run), standing=True)


def _who(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    gain, lose = advice.gainers(run), advice.losers(run)
    compared = plural(run.final.banks_compared, "final.banks_compared", "bank")
    lead = f"Of {compared} with both figures disclosed on own rows,"
    if not run.final.banks_compared:
        text = gaps.nobody_compared(run, partial(advice.names, run))
        why = "that nobody can say of any bank whether it gains, and why not"
        yield _say("summary.undisclosed", topic="banks", text=text, must=True, about=why)
        return
    named = f": {advice.names(run, [bank.seat for bank in gain])}" if gain else ""
    gained = plural(len(gain), "final.banks_gaining", "gains", "gain")
    yield _say("summary.gaining", topic="banks", text=f"{lead} {gained} by the federation{named}.")
    if lose:
        lost = plural(len(lose), "final.banks_losing", "loses", "lose")
        text = f"{lead} {lost} by the federation: {advice.with_uplift(run, lose)}."
        yield _say("summary.losing", topic="banks", text=text, must=True)
    else:
        yield _say("summary.none_loses", topic="banks", text=f"{lead} none loses by the federation.")
    yield from _who_else(run, lead)
    if gain:
        yield _say("summary.most", topic="banks", text=_most(run, facts))


def _who_else(run: RunFacts, lead: str) -> Iterator[Sentence]:
    """Who neither gains nor loses, and of whom it is not known: with the others, all banks."""
    if same := advice.unchanged(run):
        counted = plural(len(same), "final.banks_unchanged", "is", "are")
        text = f"{lead} {counted} as before at the printed precision: {advice.names(run, same)}."
        yield _say("summary.unchanged", topic="banks", text=text)
    if unknown := advice.uncompared(run):
        counted = plural(len(unknown), "final.banks_uncompared", "bank")
        seats = advice.names(run, unknown)
        text = f"Of {counted} it is not known whether the federation serves better on own rows: {seats}."
        yield _say("summary.uncompared", topic="banks", text=text)


def _most(run: RunFacts, facts: Facts) -> str:
    seat = advice.seat(run, advice.gainers(run)[0].seat)
    alone, federated, uplift = (seat.replace(".seat}}", f".{name}}}}}") for name in ("alone", "federated", "uplift"))
    if printed(facts, uplift.strip("{}")) <= 0:
        return ""
    lead = "Of the banks that compare, none" if advice.uncompared(run) else "No bank"
    return (
        f"{lead} gains more by the federation than {seat}: average precision {alone} alone and {federated} with the "
        f"federated model on its own rows, a difference of {uplift}."
    )


def _ranking(run: RunFacts, facts: Facts) -> Iterator[Sentence]:
    head, known_rounds = headline(run), series(run)
    if head is not None and known(facts, "derived.chance_multiple"):
        text = (
            f"By average precision on {head.where}, the ranking is {put('derived.chance_multiple')} as good as chance."
        )
        yield _say("summary.chance", topic="ranking", text=text)
    if len(known_rounds) > 1:
        first, last = (f"rounds.{known_rounds[end][0]}.{series_place(run)}.average_precision" for end in (0, -1))
        change = printed(facts, last) - printed(facts, first)
        side = by_side(
            change, "the last ranks fraud better", "the last ranks fraud worse", "the same at this precision"
        )
        text = f"Average precision was {put(first)} for the first measured model and {put(last)} for the last: {side}."
        yield _say("summary.training", topic="ranking", text=text, must=change < 0)


def _budget(run: RunFacts) -> str:
    if (found := curve(run)) is None:
        return ""
    key = middle(found)
    return (
        f"Within {a_budget(key)}, the model finds {put(f'{key}.recall')} of the frauds, and {put(f'{key}.precision')} "
        "of the alerts are fraud."
    )


def _rounds(run: RunFacts) -> str:
    done = f"{put('totals.training_rounds')} of {put('run.round_count')} training rounds were committed"
    return f"{done}; {plural(len(run.banks), 'derived.banks', 'bank was', 'banks were')} asked to take part."


def _sizes(run: RunFacts) -> str:
    spread = run.heterogeneity.rows
    if spread is None or spread.count < 2:
        return ""
    counted, least, most = (put(f"heterogeneity.rows.{name}") for name in ("count", "least", "most"))
    what = "payments each over all days of the plan" if run.run.feature_plan else "rows each"
    return f"The {counted} banks that disclose their size have from {least} to {most} {what}."
