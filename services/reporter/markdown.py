"""The report as Markdown; facts come through as words: their HTML, links, headings, tables and code do not."""

import re
from collections.abc import Sequence

from services.reporter import grounding
from services.reporter.document import Block, Bullets, Heading, Paragraph, Table
from services.reporter.reading import agreed
from services.reporter.report import Report

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")


def render(report: Report) -> str:
    """The content of `report.md`."""
    parts = [f"# {report.document.title}", *(_block(block) for block in report.document.blocks)]
    shown = {key: inline(fact.text) for key, fact in report.facts.items()}
    return grounding.PLACEHOLDER.sub(lambda match: shown[match[1]], "\n\n".join(part for part in parts if part)) + "\n"


def _block(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Bullets(items):
            return bullets(items)
        case Table(header, rows, prose):
            return table(header, rows, prose=prose)


def count(number: int, one: str, many: str = "") -> str:
    """1 round, 2 rounds."""
    return f"{number:,} {agreed(number, one, many)}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, prose: bool = False) -> str:
    """A table of cells that are safe already; the first column is text, the others numbers to the right, or `prose`."""
    rule = ["---", *("---" if prose else "---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def bullets(items: Sequence[str]) -> str:
    """A flat list of items that are safe already."""
    return "\n".join(f"- {item}" for item in items)


def inline(text: str, limit: int = 300) -> str:
    """One line of text, cut after `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    # Bare addresses become links in many renderers whatever is escaped: a space ends them.
    line = line.replace("://", ":// ").replace("@", " at ")
    line = re.sub(r"www\.", "www. ", line, flags=re.IGNORECASE)
    return _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))
