"""The report of a run as text, whole and by section, and as it is when a model chose sentences."""

from services.reporter import markdown
from services.reporter.facts import RunFacts
from services.reporter.report import Written, compose
from services.reporter.sentences.candidates import offered


def render(run: RunFacts, written: Written | None = None, note: str = "") -> str:
    return markdown.render(compose(run, written, note))


def sections(text: str) -> dict[str, str]:
    """Each section by its heading."""
    parts = text.split("\n## ")[1:]
    return {part.split("\n")[0]: part for part in parts}


def chosen(run: RunFacts, **names: list[str]) -> Written:
    """What comes of a choice that passed the check."""
    known = offered(run)
    sections = {section: tuple(known[name] for name in found) for section, found in names.items()}
    return Written(sections, "gpt-5.2", "" if len(sections) == 4 else "the model would not", len(known))
