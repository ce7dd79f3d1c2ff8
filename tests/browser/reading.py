"""Reads a rendered page: every number on it, and the facts that it must be one of."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from playwright.sync_api import Page

_NUMBER = re.compile(r"\d")
_NO_FIGURES = re.compile(r"SHA-256")
"""What has a digit and is a name."""
_SCALES = {"%": 0.01, "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "s": 1.0, "": 1.0}
_SHOWN = re.compile(r"([+-]?[\d,]+(?:\.(\d+))?)(?: (%|B|kB|MB|GB|s))?")
_TEXTS = """() => {
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (node.parentElement.closest("svg, script, noscript") || !/[0-9]/.test(node.data)) continue;
    const figure = node.parentElement.closest("[data-fact]");
    const data = figure ? figure.dataset : {};
    found.push({text: node.data.trim(), fact: data.fact ?? "", form: data.form ?? "", run: data.run ?? ""});
  }
  for (const element of document.querySelectorAll("[aria-label], [aria-valuetext]")) {
    for (const name of ["aria-label", "aria-valuetext"]) {
      const text = element.getAttribute(name) ?? "";
      if (/[0-9]/.test(text)) found.push({text, fact: "", form: "spoken", run: ""});
    }
  }
  return found;
}"""


@dataclass(frozen=True)
class Figure:
    """A piece of text with a digit in it: `fact` is the key that it claims to print, of this run unless `run` names
    another; `form` is "spoken" for a label that only a screen reader reads."""

    text: str
    fact: str
    form: str
    run: str


def figures(page: Page) -> list[Figure]:
    """Every text with a digit, shown or folded away; the ticks of charts are no figures."""
    return [Figure(**found) for found in page.evaluate(_TEXTS)]


def strays(found: list[Figure]) -> list[str]:
    """Texts with a digit that claim no fact, or speak of a figure that is not printed."""
    printed = " ".join(figure.text for figure in found if figure.fact)
    loose = [figure for figure in found if not figure.fact and _NUMBER.search(_NO_FIGURES.sub("", figure.text))]
    return [figure.text for figure in loose if figure.form != "spoken" or not _is_printed(figure.text, printed)]


def mismatch(figure: Figure, facts: dict[str, Any]) -> str:
    """Why the figure is not the fact that it claims to be, at the precision that it is printed with; empty if it is."""
    value: Any = facts
    for part in figure.fact.split("."):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return f"{figure.fact}: there is no such fact"
    return "" if _same(figure.text, value) else f"{figure.fact}: {value!r} is shown as {figure.text!r}"


def _same(text: str, value: object) -> bool:
    if isinstance(value, str):
        return text == value or _same_time(text, value)
    shown = _SHOWN.fullmatch(text)
    if shown is None or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    scale = _SCALES[shown[3] or ""]
    half = 0.5 * 10.0 ** -len(shown[2] or "")
    exact = figure_is_whole(text) and isinstance(value, int)
    return abs(float(shown[1].replace(",", "")) - value / scale) <= (0 if exact else half * (1 + 1e-9))


def figure_is_whole(text: str) -> bool:
    """Whether a figure is printed with neither decimals nor a unit: then it must be the fact itself."""
    return "." not in text and " " not in text


def _same_time(text: str, value: str) -> bool:
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return False
    return text in (f"{time:%H:%M:%S}", f"{time:%Y-%m-%d %H:%M:%S}")


def _is_printed(text: str, printed: str) -> bool:
    return all(number in printed for number in re.findall(r"[\d.,]*\d", text))
