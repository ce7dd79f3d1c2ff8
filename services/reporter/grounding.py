"""Placeholders: a text of a report names facts by key, `{{run.seed}}`, and holds no figure of its own."""

import re

from services.reporter.fact_table import Table

PLACEHOLDER = re.compile(r"\{\{([A-Za-z0-9_.-]{1,120})\}\}")


def keys(text: str) -> list[str]:
    """The keys that a text names, in order."""
    return PLACEHOLDER.findall(text)


def fill(text: str, table: Table) -> str:
    """The text with its figures; KeyError for an unknown key."""
    return PLACEHOLDER.sub(lambda match: table[match[1]].text, text)
