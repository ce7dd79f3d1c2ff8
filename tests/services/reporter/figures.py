"""Reads every number of a finished report and looks for it in the facts."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

from services.reporter.facts import RunFacts
from services.reporter.grounding import PLACEHOLDER

NUMBER = re.compile(r"(?P<sign>(?<![\w-])[+-])?(?P<digits>\d[\d,]*(?:\.\d+)?)(?P<percent> ?%)?")


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.data: list[tuple[str, str]] = []
        self._hidden = False
        self._key: str | None = None

    @property
    def text(self) -> str:
        """All words, a space between any two, and none before a full stop."""
        return re.sub(r" (?=[.,;:)])", "", " ".join(" ".join(self.words).split()))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._hidden = self._hidden or tag in {"style", "script"}
        self._key = dict(attrs)["value"] if tag == "data" else None

    def handle_endtag(self, tag: str) -> None:
        self._hidden = self._hidden and tag not in {"style", "script"}
        self._key = None

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
        if self._key is not None:
            self.data.append((self._key, data))


def visible(html: str) -> _Visible:
    """What a reader of the page sees, its tags and their attributes, and each marked figure with its key."""
    parser = _Visible()
    parser.feed(html)
    return parser


def walk(value: Any) -> Iterator[Any]:  # noqa: ANN401  # any JSON
    """Every leaf."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from walk(item)
    else:
        yield value


def strays(text: str, run: RunFacts, *others: str) -> list[str]:
    """The numbers of a text that are neither in facts.json nor in `others`, at its precision."""
    leaves = list(walk(json.loads(run.to_json())))
    names = {leaf for leaf in leaves if isinstance(leaf, str) and re.search(r"\d", leaf)} | {
        other for other in others if other
    }
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(name, " ")
    numbers = [leaf for leaf in leaves if isinstance(leaf, int | float) and not isinstance(leaf, bool)]
    known: dict[str, bool] = {}  # a long report prints the same figures again and again
    for match in NUMBER.finditer(text):
        if match[0] not in known:
            known[match[0]] = any(is_printed(match, number) for number in numbers)
    return [match[0] for match in NUMBER.finditer(text) if not known[match[0]]]


def is_printed(match: re.Match[str], number: float) -> bool:
    """Whether this number, rounded as it is printed, is this one."""
    digits = match["digits"].replace(",", "")
    places = len(digits.partition(".")[2])
    scaled = 100 * number if match["percent"] else number
    return f"{scaled:{'+' if match['sign'] else ''}.{places}f}" == (match["sign"] or "") + digits


_NUMBER_WORDS = frozenset(
    """zero two three four five six seven eight nine ten eleven twelve hundred thousand million half twice double dozen
    percent""".split()  # noqa: SIM905  # a column of words is easier to read than a list of strings
)


def figures_of_its_own(text: str) -> list[str]:
    """What a text says of figures outside placeholders: it should be nothing."""
    rest = PLACEHOLDER.sub(" ", text)
    words = re.findall(r"[^\W\d_]+", rest.lower())
    marks = [c for c in rest if c.isnumeric() or c in "{}%"]
    return [*marks, *(word for word in words if word in _NUMBER_WORDS)]
