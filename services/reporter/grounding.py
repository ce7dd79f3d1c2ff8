"""Placeholders and the check: a text names facts by key, `{{run.seed}}`, and prints no other figure.

`figure_faults` holds for every text, the template's and a model's; `claim_faults` for a model's alone, whose words no
code has chosen. A fault is a sentence that the model gets for its one retry.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from services.reporter import wording
from services.reporter.fact_table import Fact, Table

PLACEHOLDER = re.compile(r"\{\{ *([A-Za-z0-9_.-]{1,120}) *\}\}")
MOST_CHARACTERS = 1200
"""Of one paragraph or item of a model's."""

_WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")
_MARK = "\x00"  # stands for a placeholder while sentences are told apart: keys have full stops
_ALLOWED = re.compile(r"[A-Za-z ,.;:!?()'’\"“”–—\x00-]*")
_GLUED = re.compile(r"(?<=[^\s(\"“])\x00|\x00(?![\s)\"”,.;:!?]|$)|\x00[,.;:!?][^\s)\"”]|\x00\s*\x00")
_SIGNED = re.compile(r"\b(?:minus|plus|negative)\s+\x00|[-–—]\s*\x00", re.IGNORECASE)
_BESIDE = re.compile(r"\s*(?:(?:in|of|as|an|a|the|for)\s+)*")  # 0.700 in average precision
_SENTENCE = re.compile(r"(?<=[.!?;])[\"”)]*\s+|\n+")


def keys(text: str) -> list[str]:
    """The keys that a text names, in order."""
    return PLACEHOLDER.findall(text)


def fill(text: str, table: Table) -> str:
    """The text with its figures; KeyError for an unknown key, which the check finds first."""
    return PLACEHOLDER.sub(lambda match: table[match[1]].text, text)


def figure_faults(text: str, table: Table) -> list[str]:
    """Every figure must come from a fact: an unknown key, a digit or a number word is a fault."""
    rest = PLACEHOLDER.sub(_MARK, text)
    faults = [f"there is no fact {key}" for key in keys(text) if key not in table]
    if "{" in rest or "}" in rest:
        faults.append("a brace that belongs to no placeholder")
    faults += [f"a figure outside a placeholder: {one}" for one in re.findall(r"\S*\d\S*", rest)]
    faults += [f"a figure outside a placeholder: {c}" for c in rest if c.isnumeric() and not c.isdecimal()]
    faults += [f"a number word: {word}" for word in _words(rest) if wording.is_number_word(word)]
    faults += [f"words for a quantity: {match[0]}" for match in wording.NUMBER_PHRASE.finditer(rest)]
    return faults


def claim_faults(text: str, table: Table) -> list[str]:
    """What only a model's prose may get wrong: marks, invented names, judgements, and directions against the facts."""
    rest = PLACEHOLDER.sub(_MARK, text)
    if _MARK in text:
        return ["only letters and plain punctuation may be used, got U+0000"]
    faults = [] if _ALLOWED.fullmatch(rest) else [f"only letters and plain punctuation may be used, got {_odd(rest)}"]
    if _GLUED.search(rest) or _SIGNED.search(rest):
        faults.append("a placeholder must stand alone between spaces: no sign, unit or other figure at it")
    if len(text) > MOST_CHARACTERS:
        faults.append(f"a paragraph must have at most {MOST_CHARACTERS} characters, got {len(text)}")
    facts = iter([table.get(key) for key in keys(text)])
    for sentence in _SENTENCE.split(rest):
        marks = [match.start() for match in re.finditer(_MARK, sentence)]
        cited = [_Place(start, fact) for start in marks if (fact := next(facts))]
        faults += [*_names(sentence), *_phrases(sentence), *_topics(sentence, cited), *_directions(sentence, cited)]
    return faults


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _odd(text: str) -> str:
    return " ".join(sorted({f"U+{ord(c):04X}" for c in text if not _ALLOWED.fullmatch(c)})[:5])


def _names(sentence: str) -> Iterator[str]:
    """A capital inside a sentence is a name, and so may be an unknown first word: only what facts name may be named."""
    first = True
    for match in re.finditer(rf"{_WORD.pattern}|{_MARK}", sentence):
        word, opens = match[0], first or sentence[: match.start()].rstrip().endswith((":", "“", '"', "("))
        first = False
        if word == _MARK or word.islower() or word.removesuffix("s") in wording.NAMES:
            continue
        if opens and wording.may_open(word):
            continue
        if word.lower() not in {"i", "a"} or not opens:
            yield f"a name that no fact has: {word}"


def _phrases(sentence: str) -> Iterator[str]:
    yield from (f"words for a quantity: {found[0]}" for found in wording.QUANTITY.finditer(sentence))
    yield from (f"a judgement that is not yours: {found[0]}" for found in wording.JUDGEMENTS.finditer(sentence))
    yield from (f"no part of a report: {found[0]}" for found in wording.INSTRUCTIONS.finditer(sentence))


@dataclass(frozen=True)
class _Place:
    """A cited fact and where it stands in its sentence."""

    start: int
    fact: Fact


def _topics(sentence: str, cited: list[_Place]) -> Iterator[str]:
    """In a sentence with figures, what is named must be what is cited: a metric by the figure that belongs to it."""
    figures = [place for place in cited if place.fact.label]
    for name, words in wording.TOPICS.items() if figures else ():
        for found in words.finditer(sentence):
            meant = figures if name in wording.PLACES else [_belonging(found, sentence, figures)]
            if not any(name in place.fact.topics for place in meant):
                yield f"{found[0]} is named, and the figure beside it is another"


def _belonging(found: re.Match[str], sentence: str, figures: list[_Place]) -> _Place:
    """The figure right before a word, else the next one after it, else the last before it."""
    before = [place for place in figures if place.start < found.start()]
    after = [place for place in figures if place.start >= found.end()]
    if before and _BESIDE.fullmatch(sentence[before[-1].start + 1 : found.start()]):
        return before[-1]
    return (after or before[::-1])[0]


def _directions(sentence: str, cited: list[_Place]) -> Iterator[str]:
    """Up, down, better and worse must be the sign of a change cited beside them; a bank that is named needs its own."""
    plain = wording.TOPICS["log loss"].sub(lambda found: "_" * len(found[0]), sentence)
    keys = [place.fact.key for place in cited]
    for words, name in ((wording.BEST, "best"), (wording.WORST, "worst")):
        if (found := words.search(plain)) and not any(key.endswith(f".{name}") for key in keys):
            yield f"{found[0]} needs a figure whose key ends in .{name}"
    said = [(found, sign, judged) for words, sign, judged in wording.DIRECTIONS for found in words.finditer(plain)]
    changes = [place for place in cited if place.fact.better]
    seats = {key.split(".")[1] for key in keys if key.startswith("banks.")}
    if not said:
        return
    if not changes:
        yield f"{said[0][0][0]} needs a figure of a change in the same sentence"
    elif found := wording.UNCHECKABLE.search(plain):
        yield f"{said[0][0][0]} with {found[0]} cannot be held to a figure"
    for seat in seats - {place.fact.key.split(".")[1] for place in changes if place.fact.key.startswith("banks.")}:
        yield f"{said[0][0][0]} needs the uplift of {seat}, which the sentence names"
    for found, sign, judged in said if changes else ():
        if sign not in {_sign(place.fact, judged) for place in _neighbours(found, changes)}:
            facts = ", ".join(f"{place.fact.key} ({place.fact.text})" for place in changes)
            yield f"{found[0]} contradicts {facts}"


def _neighbours(found: re.Match[str], changes: list[_Place]) -> list[_Place]:
    before = [place for place in changes if place.start < found.start()]
    return [*before[-1:], *[place for place in changes if place.start >= found.end()][:1]]


def _sign(fact: Fact, judged: bool) -> int:
    return fact.direction * (fact.better if judged else 1)
