"""The report as a document, from the facts of a run: four parts, and beneath them what a decision needs, in order.

Prose is the template's, or a model's where it passed the check; verdict, recommendation, lists and tables are never
a model's. Figures stand in it by key.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.reporter import advice, grounding, parts, reading
from services.reporter.document import Block, Bullets, Document, Heading, Paragraph
from services.reporter.fact_table import Fact, table
from services.reporter.facts import RunFacts
from services.reporter.reading import put

PENDING = "A model was asked for the narrative; this page is replaced when it arrives."
"""Stands in a report whose narrative is still on its way."""
SECTIONS = {
    "executive_summary": "Executive summary",
    "metric_interpretation": "Metric interpretation",
    "risks": "Risks",
    "next_steps": "Next steps",
}
"""The four parts: by the names that a model's answer has, and as headings."""


@dataclass(frozen=True)
class Written:
    """What a model wrote and the check let through: texts with placeholders, by section; some may be missing.

    `reason` says why sections are missing: a sentence of this code's own, nothing that was received.
    """

    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """A document and all facts that its placeholders name."""

    document: Document
    facts: Mapping[str, Fact]


def compose(run: RunFacts, written: Written | None = None, note: str = "") -> Report:
    """The report; `written` is a model's part of it, `note` is said in its place where none was asked for or came."""
    written = written or Written(reason=note)
    facts = dict(table(run))
    facts |= {fact.key: fact for fact in _of_the_text(written)}
    body: list[Block] = []
    for name, heading in SECTIONS.items():
        body += [Heading(heading), *_PARTS[name](run, facts, written.sections.get(name))]
    title = f"Fraud-risk report: {put('run.id')}"
    printed = sum(len(grounding.keys(text)) for text in Document(title, tuple(body)).texts())
    facts["report.figures"] = Fact("report.figures", printed, f"{printed:,}")
    return Report(Document(title, (*body, *_origin(written, facts))), facts)


def figures_of(texts: Sequence[str]) -> int:
    """How many figures these texts name."""
    return sum(len(grounding.keys(text)) for text in texts)


Prose = tuple[str, ...] | None


def _summary(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    who = f"{reading.plural(len(run.banks), 'derived.banks', 'bank')}, population {put('run.population')}"
    return [
        Paragraph(reading.verdict(run), "lead"),
        Paragraph(f"{reading.ending(run)} {who}, recipe {put('run.recipe')}."),
        *map(Paragraph, prose or (parts.compared(run),)),
        *([Paragraph(beside)] if (beside := reading.central(run)) else []),
        *parts.decision(run),
        *parts.at_a_budget(run, facts),
        *parts.banks(run, facts, said=prose is None),
    ]


def _metrics(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    read = reading.metrics(run)
    none = Paragraph("No model was measured, so there is no metric to read.")
    return [
        *(map(Paragraph, prose) if prose else [Bullets(tuple(read)) if read else none]),
        *parts.thresholds(run, facts),
        *parts.calibration(run, facts),
        *parts.rounds(run, facts),
    ]


def _risks(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    found = tuple(advice.risks(run))
    return [
        *_beside(prose, "Seen in this run:"),
        Bullets(found) if found else Paragraph("None seen in this run's facts."),
        *parts.privacy(run, facts),
        *parts.data(run, facts),
        *parts.limits(run),
        *parts.monitoring(run),
    ]


def _next_steps(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    return [
        *_beside(prose, "From this run's facts:"),
        Bullets(tuple(advice.next_steps(run))),
        *parts.sign_off(),
        *parts.lineage(run, facts),
    ]


def _beside(prose: Prose, lead: str) -> list[Block]:
    """A model's items and what leads to the template's, which stay whoever writes."""
    return [Bullets(prose), Paragraph(lead)] if prose else []


_PARTS = {
    "executive_summary": _summary,
    "metric_interpretation": _metrics,
    "risks": _risks,
    "next_steps": _next_steps,
}


def _of_the_text(written: Written) -> list[Fact]:
    checked = sum(figures_of(texts) for texts in written.sections.values())
    known = {"narrative.model": written.model, "narrative.reason": written.reason.rstrip(".")}
    return [
        *(Fact(key, text, text) for key, text in known.items() if text),
        Fact("narrative.figures", checked, f"{checked:,}"),
    ]


def _origin(written: Written, facts: Mapping[str, Fact]) -> list[Block]:
    """Who wrote what, and what the check found. This narrative is words over checked figures, and no model of risk."""
    because = f": {put('narrative.reason')}" if written.reason else ""
    if written.sections:
        by = ", ".join(heading for name, heading in SECTIONS.items() if name in written.sections)
        rest = [heading for name, heading in SECTIONS.items() if name not in written.sections]
        text = f"Written by the model {put('narrative.model')}: prose under {by}. "
        text += (
            f"{put('narrative.figures')} figures in it stand in the facts as they are; whether its words say the right "
            "thing of them is for a reader to judge: lists and tables are the reference. "
        )
        text += f"By template: {', '.join(rest)}{because}. " if rest else ""
        text += "Verdict, recommendation, lists and tables are the template's."
    else:
        text = f"Narrative by template{because}."
    text += f" All {put('report.figures')} figures of this report stand in it by their key in facts.json."
    note: list[Block] = [Heading("How this text was written", 3), Paragraph(text, "note")]
    for name, texts in written.sections.items():
        named = dict.fromkeys(key for one in texts for key in grounding.keys(one))
        if named:
            cited = "; ".join(_named(key, facts[key].label) for key in named)
            note.append(Paragraph(f"Figures in the model's {SECTIONS[name].lower()}: {cited}.", "note"))
    return note


def _named(key: str, label: str) -> str:
    """A figure and what it is: 0.700 AP, hold-out."""
    whose = f", {put('.'.join([*key.split('.')[:2], 'seat']))}" if key.startswith("banks.") and label else ""
    return f"{put(key)} {label}{whose}".rstrip()
