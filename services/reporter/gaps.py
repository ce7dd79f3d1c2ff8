"""What a run lacks, with the reason: answers that a round waited for, and comparisons that no bank gave."""

from collections.abc import Callable, Iterator

from services.reporter.facts import RunFacts
from services.reporter.reading import agreed, put
from services.reporter.round_facts import RoundFacts
from services.reporter.summary import NOT_DISCLOSED

Names = Callable[[list[str]], str]
"""Seats as placeholders."""
MOST_ROUNDS = 3
"""Rounds without a result that a report tells of, the last ones; facts.json and the event log have all."""

MOST_SEATS = 10
"""Absent seats that are named of one round."""


def stuck(run: RunFacts, names: Names) -> Iterator[str]:
    """Of each of the last rounds without a result: where it stopped, whom it waited for there, and why.

    There is a text of each, so that how many there are follows from the number of such rounds alone.
    """
    lost = [number for number, done in enumerate(run.rounds, 1) if done.outcome != "committed"]
    for number in lost[-MOST_ROUNDS:]:
        done, key = run.rounds[number - 1], f"rounds.{number}"
        groups: dict[str, list[str]] = {}
        for one in done.missing:
            if one.stage == done.stage:
                groups.setdefault(one.reason, []).append(one.seat)
        where = f" at stage {put(f'{key}.stage')}" if done.stage else ""
        if not groups:
            why = put(f"{key}.reason") if done.reason.strip(" .") else "why is not known"
            yield f"{_name(done, key)} was {done.outcome}{where}: {why}{_away(done, key)}."
            continue
        whom = "; ".join(f"{names(seats)}: {reason}" for reason, seats in groups.items())
        yield f"{_name(done, key)} was {done.outcome}{where}, where answers were missing ({whom})."


def _away(done: RoundFacts, key: str) -> str:
    """The seats that were not there; they may be of banks that never took part."""
    seats = ", ".join(put(f"{key}.absent.{number}") for number in range(1, min(len(done.absent), MOST_SEATS) + 1))
    return f" (absent: {seats}{' and others' if len(done.absent) > MOST_SEATS else ''})" if seats else ""


def _name(done: RoundFacts, key: str) -> str:
    if "train" in done.segments:
        return f"Training round {put(f'{key}.number')}"
    if "count" in done.segments:
        return "The counting round"
    return "The final round" if done.number else "The preparing round"


def nobody_compared(run: RunFacts, names: Names) -> str:
    """Why nobody can say of any bank whether it gains."""
    reasons = {bank.no_uplift for bank in run.banks}
    if not run.banks:
        return "No bank took part, so nobody can say who gains."
    if run.run.outcome is None:
        return "Banks compare in the final round; before it nobody can say who gains."
    if reasons == {NOT_DISCLOSED}:
        return "No bank discloses how it fares alone and federated on its own rows, so nobody can say who gains."
    if len(reasons) == 1:
        return f"Nobody can say of any bank whether it gains on its own rows: {reasons.pop()}."
    return f"Nobody can say of any bank whether it gains on its own rows. {not_compared(run, names)}"


def may_disclose(run: RunFacts) -> list[str]:
    """Seats whose comparison is not known because they may have kept it to themselves."""
    return [bank.seat for bank in run.banks if NOT_DISCLOSED in (bank.no_uplift or "")]


def not_compared(run: RunFacts, names: Names) -> str:
    """Of which banks nobody knows whether they gain, by the reason."""
    groups: dict[str, list[str]] = {}
    for bank in run.banks:
        if bank.no_uplift:
            groups.setdefault(bank.no_uplift, []).append(bank.seat)
    told = [f"whether {names(seats)} {agreed(len(seats), 'gains', 'gain')}: {why}" for why, seats in groups.items()]
    return f"Not known {'; '.join(told)}." if told else ""
