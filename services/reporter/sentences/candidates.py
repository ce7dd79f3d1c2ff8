"""The closed list of sentences of a run, over all four sections; what is not known is not in it."""

from services.reporter import grounding
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from services.reporter.sentences import metrics, risks, steps, summary
from services.reporter.sentences.sentence import Facts, Sentence


def candidates(run: RunFacts, facts: Facts | None = None) -> tuple[Sentence, ...]:
    """All sentences that the facts allow, each under a name of its own; `facts` are `table(run)`, if at hand."""
    facts = table(run) if facts is None else facts
    made = [one for part in (summary, metrics, risks, steps) for one in part.sentences(run, facts)]
    return tuple(one for one in made if one.text and all(key in facts for key in grounding.keys(one.text)))


def offered(run: RunFacts) -> dict[str, Sentence]:
    """What a model may choose from, by name."""
    return {one.name: one for one in candidates(run) if one.offered}
