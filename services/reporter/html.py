"""The report as a page: `report.html`, a single file without a script, that asks for nothing and prints well."""

import functools
import re

import jinja2
from markupsafe import Markup, escape

from services.reporter import grounding
from services.reporter.fact_table import Fact
from services.reporter.report import Report

_STRONG = re.compile(r"\*\*(.+?)\*\*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_CODE = re.compile(r"`([^`]+)`")


def render(report: Report) -> str:
    """The content of `report.html`."""
    shown = {key: _shown(fact) for key, fact in report.facts.items()}

    def words(text: str) -> Markup:
        safe = _CODE.sub(r"<code>\1</code>", _STRONG.sub(r"<strong>\1</strong>", str(escape(text))))
        return Markup(grounding.PLACEHOLDER.sub(lambda match: shown[match[1]], safe))  # noqa: S704  # all is escaped

    title = grounding.fill(report.document.title, report.facts)
    kinds = [(type(block).__name__, block) for block in report.document.blocks]
    plain = functools.partial(grounding.fill, table=report.facts)
    return _template().render(title=title, blocks=kinds, words=words, plain=plain)


def _shown(fact: Fact) -> Markup:
    """A fact with its key, for whoever points at it."""
    text = " ".join("".join(c if c.isprintable() else " " for c in fact.text).split())
    text = text if len(text) <= 300 else text[:299] + "…"
    if not any(c.isdigit() for c in text) or fact.key.endswith(".seat"):
        return escape(text)
    number = Markup(' class="number"') if _DATE.fullmatch(text) or not isinstance(fact.value, str) else ""
    label = f"{fact.label} ({fact.key})".strip()
    return Markup('<data{} value="{}" title="{}">{}</data>').format(number, fact.key, label, text)


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("services.reporter"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
