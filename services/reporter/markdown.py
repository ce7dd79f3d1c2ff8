"""Text of others in Markdown: words and list items survive; HTML, links, headings, tables and code do not."""

import re

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_BULLET = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s+(.*)")
_LEADING = re.compile(r"(?:[-+=>]|\d+[.)])")


def inline(text: str, limit: int = 300) -> str:
    """One line of text, cut after `limit` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= limit else line[: limit - 1] + "…"
    # Bare addresses become links in many renderers whatever is escaped: a space ends them.
    line = line.replace("://", ":// ").replace("@", " at ")
    line = re.sub(r"www\.", "www. ", line, flags=re.IGNORECASE)
    return _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))


def block(text: str) -> str:
    """Paragraphs and flat lists; a blank line stays one, every other line is `inline`."""
    lines = [_line(line.strip()) for line in text.splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def count(number: int, one: str, many: str = "") -> str:
    """1 round, 2 rounds."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are safe already; the first column is text, the others are numbers, to the right."""
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, rule, *rows])


def bullets(items: list[str]) -> str:
    """A flat list of items that are safe already."""
    return "\n".join(f"- {item}" for item in items)


def _line(line: str) -> str:
    bullet = _BULLET.fullmatch(line)
    if bullet:
        return f"- {_unled(inline(bullet[1], limit=2000))}"
    return _unled(inline(line, limit=4000))


def _unled(line: str) -> str:
    """Without a first character that would begin a list, quotation or heading."""
    lead = _LEADING.match(line)
    return f"{line[: lead.end() - 1]}\\{line[lead.end() - 1 :]}" if lead else line
