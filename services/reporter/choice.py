"""A model's choice, and the check that it passes before any of it is in a report.

Why nothing false about the run can come of it: a model writes no text. It is offered a closed list of sentences that
code has made of the facts, label, figure and direction together, each true by itself whatever stands beside it; what it
answers is names. A name that is in the list under its section becomes this code's own sentence, looked up and never
copied from the answer; any other answer is a fault. So whatever a server sends (a wrong figure, a true one under
another's label, a bank that there is not, mark-up, an instruction), a section of the report is made of sentences of the
list, or it is the template's. (Prose of a model's own, held to the facts by a filter of words, was not sound: it named
true figures for the wrong thing, and said directions in words that the filter did not know.)

What is left to a model is which of them stand and in which order. So that leaving out cannot mislead, what speaks
against the model's use must stand where it is known; and verdict, recommendation, tables and the lists of what was seen
and what to do are there whoever chooses. That sentences are true is not checked here: it is what `sentences/` is tested
for, in every state of a run.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from services.reporter.sentences.sentence import Sentence

SECTIONS = {
    "executive_summary": "Executive summary",
    "metric_interpretation": "Metric interpretation",
    "risks": "Risks",
    "next_steps": "Next steps",
}
"""The four parts of a report: by the names that a model's answer has, and as headings."""
MOST_SENTENCES = 10
"""Of one section."""
MOST_CHARACTERS = 20_000
"""Of an answer; ten names for each section have a tenth of it."""

Offered = Mapping[str, Sentence]


class Choice(BaseModel):
    """The names that a model answered, by section: untrusted text."""

    model_config = ConfigDict(extra="forbid", strict=True)

    executive_summary: list[str]
    metric_interpretation: list[str]
    risks: list[str]
    next_steps: list[str]


def read(text: str) -> Choice | None:
    """The choice in an answer, None if it is not of this shape."""
    if len(text) > MOST_CHARACTERS:
        return None
    try:
        return Choice.model_validate_json(text)
    except (ValidationError, ValueError):  # ValueError: text that is no Unicode
        return None


def faults(names: list[str], section: str, offered: Offered) -> list[str]:
    """Everything that keeps a section's choice out of the report, in sentences for the model's one retry."""
    found = []
    if not 1 <= len(names) <= MOST_SENTENCES:
        found.append(f"a section must have 1 to {MOST_SENTENCES} sentences, got {len(names)}")
    for name in dict.fromkeys(names):
        if name not in offered:
            found.append(f"a sentence must be in the list, got {name[:40]!r}")
        elif offered[name].section != section:
            found.append(f"{name} must stand in {offered[name].section}")
        elif names.count(name) > 1:
            found.append(f"{name} must stand once, got {names.count(name)}")
    missing = [one.name for one in offered.values() if one.must and one.section == section and one.name not in names]
    return found + [f"{name} must stand" for name in missing]


def schema(offered: Offered) -> dict[str, Any]:
    """The JSON schema of an answer: in each section, names of its own sentences alone.

    No bound on lengths: compatible servers do not all know it, and the check has it.
    """
    properties = {
        section: {
            "type": "array",
            "items": {"type": "string", "enum": [name for name, one in offered.items() if one.section == section]},
        }
        for section in SECTIONS
    }
    return {"type": "object", "properties": properties, "required": list(SECTIONS), "additionalProperties": False}
