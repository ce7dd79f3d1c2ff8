"""What a report is made of before it is Markdown or HTML: headings, paragraphs, lists, tables.

Texts hold placeholders for facts, `**strong**` and `` `code` ``, and no figure of their own; see grounding.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Heading:
    """`level` is 2 for the four parts and 3 beneath them."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Paragraph:
    """One paragraph; `kind` is "", "lead" for what decides, or "note" for what is said of the text itself."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Bullets:
    """A flat list; empty, it is nothing."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The first column is text; the others are figures, to the right, unless `prose`."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    prose: bool = False


Block = Heading | Paragraph | Bullets | Table


@dataclass(frozen=True)
class Document:
    """A report before it is rendered."""

    title: str
    blocks: tuple[Block, ...]

    def texts(self) -> Iterator[str]:
        """Every text in it, the order of the page."""
        yield self.title
        for block in self.blocks:
            match block:
                case Heading(text) | Paragraph(text):
                    yield text
                case Bullets(items):
                    yield from items
                case Table(header, rows):
                    yield from (*header, *(cell for row in rows for cell in row))
