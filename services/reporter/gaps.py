"""What a run lacks, with the reason: answers that a round waited for, and comparisons that no bank gave."""

from collections.abc import Callable, Iterator

from services.reporter.facts import RoundFacts, RunFacts
from services.reporter.reading import agreed, put

Names = Callable[[list[str]], str]
"""Seats as placeholders."""
MOST_ROUNDS = 3
"""Rounds without a result that a report tells of, the last ones; facts.json and the event log have all."""


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
            yield f"{_name(done, key)} was {done.outcome}{where}; no answer is known that was missing there."
            continue
        whom = "; ".join(f"{names(seats)}: {reason}" for reason, seats in groups.items())
        yield f"{_name(done, key)} was {done.outcome}{where}, where answers were missing ({whom})."


def _name(done: RoundFacts, key: str) -> str:
    if "train" in done.segments:
        return f"Training round {put(f'{key}.number')}"
    if "count" in done.segments:
        return "The counting round"
    return "The final round" if done.number else "The preparing round"


def not_compared(run: RunFacts, names: Names) -> str:
    """Of which banks nobody knows whether they gain, by the reason."""
    groups: dict[str, list[str]] = {}
    for bank in run.banks:
        if bank.no_uplift:
            groups.setdefault(bank.no_uplift, []).append(bank.seat)
    told = [f"whether {names(seats)} {agreed(len(seats), 'gains', 'gain')}: {why}" for why, seats in groups.items()]
    return f"Not known {'; '.join(told)}." if told else ""
