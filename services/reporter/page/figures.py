"""Prints a fact by its key, marked with that key: nothing else on the page prints a figure."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from markupsafe import Markup

from services.reporter.facts import RunFacts

NONE = "–"
"""Stands for a figure that is not known."""


def byte_size(value: float) -> str:
    """812 B, 12.3 kB, 4.56 MB, 1.46 GB: powers of ten."""
    if value < 1000:
        return f"{value:.0f} B"
    if value < 1e6:
        return f"{value / 1e3:.1f} kB"
    return f"{value / 1e6:.2f} MB" if value < 1e9 else f"{value / 1e9:.2f} GB"


FORMS: dict[str, Callable[[Any], str]] = {
    "text": lambda value: str(value) if not isinstance(value, bool) else "yes" if value else "no",
    "score": lambda value: f"{value:z.3f}",
    "prevalence": lambda value: f"{value:z.4f}",
    "logit": lambda value: f"{value:+z.3f}",
    "signed": lambda value: f"{value:+z.3f}",
    "percent": lambda value: f"{100 * value:z.1f} %",
    "rate": lambda value: f"{100 * value:z.2f} %",
    "count": lambda value: f"{value:z,.0f}",
    "whole": lambda value: f"{100 * value:z.0f} %",
    "two": lambda value: f"{value:z,.2f}",
    "five": lambda value: f"{value:z.5f}",
    "euro": lambda value: f"{value:z,.2f}",
    "one": lambda value: f"{value:z,.1f}",
    "seconds": lambda value: f"{value:z,.2f} s",
    "general": lambda value: f"{value:g}",
    "bytes": byte_size,
    "date": str,
    "time": lambda value: f"{datetime.fromisoformat(value):%H:%M:%S}",
    "moment": lambda value: f"{datetime.fromisoformat(value):%Y-%m-%d %H:%M:%S}",
}
"""How a fact may be printed."""


class Figures:
    """The facts of one run by key: `figures("final.holdout.average_precision", "score")` is HTML."""

    def __init__(self, run: RunFacts, marked: str = "") -> None:
        """`marked` names the run in the HTML, where a page shows more than one."""
        self._document = run.model_dump(mode="json")
        self._marked = marked

    def value(self, key: str) -> Any:  # noqa: ANN401  # whatever the facts hold
        """The fact itself; KeyError for a key that the facts do not have, None below something that is not known."""
        found: Any = self._document
        for part in key.split("."):
            if found is None:
                return None
            found = found[int(part)] if isinstance(found, list) else found[part]
        return found

    def __call__(self, key: str, form: str = "text") -> Markup:
        """The fact as escaped HTML that names its key."""
        value = self.value(key)
        run = Markup(' data-run="{}"').format(self._marked) if self._marked else ""
        if value is None or value == "":
            return Markup('<span class="none" title="not known">{}</span>').format(NONE)
        text = FORMS[form](value)
        return Markup('<data class="figure" data-fact="{}" data-form="{}"{} value="{}">{}</data>').format(
            key, form, run, value, text
        )

    def text(self, key: str, form: str = "text") -> str:
        """The fact as plain text, for places where no element can stand."""
        value = self.value(key)
        return NONE if value is None or value == "" else FORMS[form](value)
