"""The report as a document, from the facts of a run: four parts, and beneath them what a decision needs, in order.

Sentences are all this code's; a model may have chosen which stand first, where its choice passed the check. Verdict,
recommendation and tables are never a model's to choose. Figures stand in it by key.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.reporter import grounding, parts, reading, risk_parts, trade_parts
from services.reporter.choice import SECTIONS
from services.reporter.derived import took_part
from services.reporter.document import Block, Bullets, Document, Heading, Paragraph
from services.reporter.fact_table import Fact, table
from services.reporter.facts import RunFacts
from services.reporter.origin import Origin
from services.reporter.reading import put
from services.reporter.sentences.candidates import candidates
from services.reporter.sentences.sentence import Sentence

PENDING = "A model was asked for the narrative; this page is replaced when it arrives."
"""Stands in a report whose narrative is still on its way."""


@dataclass(frozen=True)
class Written:
    """The sentences that a model chose and the check let through, by section; some sections may be missing.

    `reason` says why sections are missing: a sentence of this code's own, nothing that was received. `offered` counts
    the sentences that there were to choose from.
    """

    sections: Mapping[str, tuple[Sentence, ...]] = field(default_factory=dict)
    model: str = ""
    reason: str = ""
    offered: int = 0


@dataclass(frozen=True)
class Report:
    """A document, all facts that its placeholders name, and who made its narrative."""

    document: Document
    facts: Mapping[str, Fact]
    origin: Origin


def compose(run: RunFacts, written: Written | None = None, note: str = "") -> Report:
    """The report; `written` is a model's part of it, `note` is said in its place where none was asked for or came."""
    written = written or Written(reason=note)
    facts = dict(table(run))
    facts |= {fact.key: fact for fact in _of_the_text(written)}
    body: list[Block] = []
    for name, heading in SECTIONS.items():
        prose = tuple(one.text for one in written.sections.get(name, ())) or None
        body += [Heading(heading), *_PARTS[name](run, facts, prose)]
    title = f"Fraud-risk report: {put('run.id')}"
    origin = _origin(written)
    body += [Heading("How this text was written", 3), _told(origin)]
    return Report(Document(title, tuple(body)), facts, origin)


Prose = tuple[str, ...] | None


def _summary(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    who = f"{_took_part(run)}; population {put('run.population')}"
    return [
        Paragraph(reading.verdict(run), "lead"),
        Paragraph(f"{reading.ending(run)} {who}, recipe {put('run.recipe')}."),
        Paragraph(" ".join(prose) if prose else parts.compared(run)),
        *map(Paragraph, _standing(run, facts, "executive_summary", prose)),
        *parts.decision(run),
        *parts.at_a_budget(run, facts),
        *parts.banks(run, facts, said=prose is None),
    ]


def _took_part(run: RunFacts) -> str:
    """Of the banks that were expected, where more were than those that rounds asked, and else of these."""
    answered, asked = put("derived.banks_answering"), reading.plural(len(run.banks), "derived.banks", "bank")
    if run.run.expected_bank_count <= len(run.banks):
        return f"{answered} of {asked} took part"
    were = reading.agreed(len(run.banks), "was", "were")
    of_them = "" if took_part(run) == len(run.banks) else f", {put('derived.banks')} {were} asked"
    return f"{answered} of {put('run.expected_bank_count')} expected banks took part{of_them}"


def _metrics(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    read = reading.metrics(run)
    none = Paragraph("No model was measured, so there is no metric to read.")
    return [
        Bullets(prose or tuple(read)) if prose or read else none,
        *parts.thresholds(run, facts),
        *trade_parts.trade(run, facts),
        *parts.calibration(run, facts),
        *parts.rounds(run, facts),
    ]


def _risks(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    found = _standing(run, facts, "risks", prose)
    return [
        *_before(prose, "Seen in this run besides:", found),
        Bullets(found) if found or prose else Paragraph("None seen in this run's facts."),
        *risk_parts.privacy(run, facts),
        *risk_parts.data(run, facts),
        *risk_parts.limits(run),
        *risk_parts.monitoring(run),
    ]


def _next_steps(run: RunFacts, facts: Mapping[str, Fact], prose: Prose) -> list[Block]:
    found = _standing(run, facts, "next_steps", prose)
    return [
        *_before(prose, "From this run's facts besides:", found),
        Bullets(found),
        *parts.sign_off(),
        *parts.lineage(run, facts),
    ]


def _standing(run: RunFacts, facts: Mapping[str, Fact], section: str, prose: Prose) -> tuple[str, ...]:
    """What stands in a section whoever writes, and was not chosen already."""
    said = candidates(run, facts)
    return tuple(one.text for one in said if one.section == section and one.standing and one.text not in (prose or ()))


def _before(prose: Prose, lead: str, rest: tuple[str, ...]) -> list[Block]:
    """What a model chose, and what leads to the rest."""
    return [Bullets(prose), *([Paragraph(lead)] if rest else [])] if prose else []


_PARTS = {
    "executive_summary": _summary,
    "metric_interpretation": _metrics,
    "risks": _risks,
    "next_steps": _next_steps,
}


def _of_the_text(written: Written) -> list[Fact]:
    texts = [one.text for chosen in written.sections.values() for one in chosen]
    known = {"narrative.model": written.model, "narrative.reason": written.reason.rstrip(".")}
    counts = {
        "narrative.sentences": len(texts),
        "narrative.offered": written.offered,
        "narrative.figures": sum(len(grounding.keys(text)) for text in texts),
    }
    return [
        *(Fact(key, text, text) for key, text in known.items() if text),
        *(Fact(key, number, f"{number:,}") for key, number in counts.items()),
    ]


def _origin(written: Written) -> Origin:
    return Origin(
        model=written.model if written.sections else "",
        chosen=[heading for name, heading in SECTIONS.items() if name in written.sections],
        template=[heading for name, heading in SECTIONS.items() if name not in written.sections],
        reason=written.reason.rstrip("."),
    )


def _told(origin: Origin) -> Paragraph:
    """Who chose what, and what the check found. This narrative is words over checked figures, and no model of risk."""
    because = f": {put('narrative.reason')}" if origin.reason else ""
    if origin.chosen:
        text = (
            f"Chosen by the model {put('narrative.model')}: sentences under {', '.join(origin.chosen)}. It wrote no "
            f"text: checked was that its {put('narrative.sentences')} sentences, with {put('narrative.figures')} "
            f"figures, are among the {put('narrative.offered')} that code made of the facts, and that those stand "
            "which must. "
        )
        text += f"By template: {', '.join(origin.template)}{because}. " if origin.template else ""
        text += "Verdict, recommendation and tables are the template's."
    else:
        text = f"Narrative by template{because}."
    text += " Every figure of the sections above stands in facts.json, under the key that it is printed by."
    return Paragraph(text, "note")
