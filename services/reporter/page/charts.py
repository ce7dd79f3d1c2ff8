"""The page's charts: SVG that pygal draws and the page's own style sheet colours. Each twice, for wide and narrow."""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from typing import Any

import pygal
from markupsafe import Markup

from services.reporter.derived import comparable
from services.reporter.facts import RunFacts
from services.reporter.page.figures import byte_size
from services.reporter.score_facts import CurveFacts, ScoreFacts

_WIDE, _HALF, _THIRD, _NARROW = (740, 350), (520, 300), (360, 200), (340, 240)
"""Width and height of a drawing in a wide card, in half a row, in half a wide card, on a phone: about its pixels."""
_DOTS_UP_TO = 30
"""Points of a line up to which each is a dot."""
_BARS_UP_TO = 60
"""Rounds up to which each is a bar; more are a line, which is drawn in a tenth of the time."""
_COMPRESSED_FROM = 5
"""Times the middle bank's uplift from which the largest flattens the others."""
_TICKS = (0.01, 0.1, 0.25, 0.5, 1.0)
_LABELS_UP_TO = {"wide": 20, "narrow": 10}
_Point = tuple[float, float | None]
_Chart = Any
"""One of pygal's, which has no types."""


def convergence(run: RunFacts, label: str) -> Markup:
    """Average precision of the model that each training round left, with alone, central and no skill as lines."""
    measured = [(done.number, scores) for done in run.rounds if (scores := _scores(run, done.number))]
    learned: list[_Point] = sorted({n: s.average_precision for n, s in measured if n <= run.run.round_count}.items())
    last = max(run.run.round_count, 1)
    skill = measured[-1][1].prevalence if measured else None
    on_holdout = any(done.holdout for done in run.rounds)
    final = run.final
    alone = (final.compared_alone_holdout or final.alone_holdout) if on_holdout else final.compared_alone or final.alone
    central = run.final.central.average_precision if run.final.central and comparable(run) else None
    void = [done.number for done in run.rounds if done.outcome != "committed"]

    def draw(size: tuple[int, int], name: str) -> _Chart:
        chart = _chart(pygal.XY, size, range=(0, 1), xrange=(0, last), dots_size=3, show_dots=last <= _DOTS_UP_TO)
        chart.x_labels = _ticks(last, 10 if name == "wide" else 5)
        chart.y_labels = [0, 0.2, 0.4, 0.6, 0.8, 1]
        chart.add("federated", learned, formatter=lambda xy: f"round {xy[0]:g}: {xy[1]:.3f}")
        for title, level in (
            ("alone", alone.mean if alone else None),
            ("central", central),
            ("no skill", skill),
        ):
            line = [(0, level), (last, level)] if level is not None else []
            chart.add(title, line, show_dots=False)
        chart.add("without result", [(n, 0.0) for n in void], stroke=False, show_dots=True, dots_size=5)
        return chart

    return _both(draw, "convergence", label)


def seconds(run: RunFacts, label: str) -> Markup:
    """How long each round took."""
    return _rounds(run, [done.seconds for done in run.rounds], "seconds", label, lambda value: f"{value:g}")


def size(run: RunFacts, label: str) -> Markup:
    """What banks sent in each round."""
    return _rounds(run, [done.bytes for done in run.rounds], "bytes", label, byte_size)


def precision_recall(curve: CurveFacts, prevalence: float | None, label: str) -> Markup:
    """Precision against recall; one dot a threshold, in their order."""

    def draw(size: tuple[int, int], name: str) -> _Chart:
        chart = _chart(pygal.XY, size, range=(0, 1), xrange=(0, 1), dots_size=2.5)
        chart.x_labels = chart.y_labels = [0, 0.2, 0.4, 0.6, 0.8, 1]
        chart.add(
            "federated",
            [(point.recall, point.precision) for point in curve.points],
            formatter=lambda xy: f"recall {100 * xy[0]:.1f} %, precision {100 * xy[1]:.1f} %",
        )
        chart.add("no skill", [(0, prevalence), (1, prevalence)] if prevalence is not None else [], show_dots=False)
        return chart

    return _both(draw, "precision-recall", label, (_HALF, _NARROW))


def is_compressed(run: RunFacts) -> bool:
    """Whether one bank's uplift is so much larger than most banks' that theirs would not be seen beside it."""
    sizes = sorted(abs(bank.uplift) for bank in run.banks if bank.uplift is not None)
    return bool(sizes) and sizes[-1] > _COMPRESSED_FROM * sizes[(len(sizes) - 1) // 2]


def uplift(run: RunFacts, label: str) -> Markup:
    """Federated minus alone of each bank that discloses both, the largest gain first; heights by the square root where
    a few banks would flatten all others."""
    known = sorted(((b.uplift, b.seat) for b in run.banks if b.uplift is not None), reverse=True)
    height = _root if is_compressed(run) else float
    limit = max((abs(value) for value, _ in known), default=0.0)

    def bar(value: float, seat: str) -> dict[str, object]:
        return {"value": height(value), "label": seat, "formatter": lambda _: _signed(value)}

    def draw(size: tuple[int, int], name: str) -> _Chart:
        chart = _chart(pygal.StackedBar, (size[0], 240), spacing=4, rounded_bars=2)
        numbers = [seat.removeprefix("bank-") for _, seat in known]
        chart.x_labels = _few(numbers, _LABELS_UP_TO[name])
        chart.add("gain", [bar(u, seat) if u >= 0 else None for u, seat in known], formatter=_signed)
        chart.add("loss", [bar(u, seat) if u < 0 else None for u, seat in known], formatter=_signed)
        if is_compressed(run):
            ticks = [0.0, *(sign * size for size in _TICKS if size <= limit for sign in (1, -1))]
            ticks = [tick for tick in ticks if known[-1][0] <= tick <= known[0][0]]
            chart.y_labels = [{"value": _root(tick), "label": f"{tick:+g}" if tick else "0"} for tick in sorted(ticks)]
        return chart

    return _both(draw, "uplift", label) if known else Markup()


def _root(value: float) -> float:
    return math.copysign(math.sqrt(abs(value)), value)


def _signed(value: float) -> str:
    return f"{value:+z.3f}"


def _scores(run: RunFacts, number: int) -> ScoreFacts | None:
    on_holdout = any(done.holdout for done in run.rounds)
    for done in run.rounds:
        if done.number == number and done.outcome == "committed":
            return done.holdout if on_holdout else done.pooled
    return None


def _rounds(
    run: RunFacts, values: Sequence[float | None], css: str, label: str, formatter: Callable[[float], str]
) -> Markup:
    names = [_round_name(run, done.number, done.segments) for done in run.rounds]
    lost = [done.outcome != "committed" for done in run.rounds]

    def bars(size: tuple[int, int], name: str) -> _Chart:
        chart = _chart(pygal.StackedBar, (size[0], 200), spacing=2, rounded_bars=2)
        chart.x_labels = _few(names, _LABELS_UP_TO[name])
        chart.add("committed", [None if gone else v for v, gone in zip(values, lost, strict=True)], formatter=formatter)
        chart.add(
            "without result", [v if gone else None for v, gone in zip(values, lost, strict=True)], formatter=formatter
        )
        chart.value_formatter = formatter
        return chart

    def lines(size: tuple[int, int], name: str) -> _Chart:
        most = max((value or 0 for value in values), default=0) or 1
        chart = _chart(pygal.XY, (size[0], 200), range=(0, most), xrange=(0, len(values)), show_dots=False)
        chart.x_labels = _ticks(len(values), 5)
        chart.value_formatter = formatter
        chart.x_value_formatter = str
        places = list(enumerate(values, start=1))
        chart.add("all", places)
        marked = [place for place, gone in zip(places, lost, strict=True) if gone]
        chart.add("without result", marked, stroke=False, show_dots=True, dots_size=3)
        return chart

    draw = bars if len(values) <= _BARS_UP_TO else lines
    return _both(draw, css, label, (_THIRD, _NARROW))


def _round_name(run: RunFacts, number: int, segments: list[str]) -> str:
    if "count" in segments:
        return "count"
    return "prep" if number == 0 else str(number) if "train" in segments else "final"


def _few(labels: list[str], most: int) -> list[str]:
    """Every label, or every so many-th so that at most `most` are written."""
    step = -(-len(labels) // most) if labels else 1
    return [label if place % step == 0 else "" for place, label in enumerate(labels)]


def _ticks(last: int, most: int) -> list[int]:
    """Round numbers from 0 to the last, at most about so many."""
    step = next(s for s in (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000, 10**6) if last / s <= most)
    return list(range(0, last + 1, step))


def _chart(kind: Callable[..., _Chart], size: tuple[int, int], **options: object) -> _Chart:
    width, height = size
    return kind(
        width=width,
        height=height,
        show_legend=False,
        js=[],
        css=[],
        show_x_guides=False,
        disable_xml_declaration=True,
        margin_top=8,
        margin_right=12,
        margin_bottom=4,
        margin_left=4,
        truncate_label=-1,
        no_data_text="",
        max_scale=6,
        **options,
    )


def _both(
    draw: Callable[[tuple[int, int], str], _Chart],
    css: str,
    label: str,
    sizes: tuple[tuple[int, int], tuple[int, int]] = (_WIDE, _NARROW),
) -> Markup:
    wide, narrow = (_svg(draw(size, name)) for size, name in zip(sizes, ("wide", "narrow"), strict=True))
    return Markup(
        '<div class="chart chart-{css}" role="img" aria-label="{label}">'
        '<div class="wide" aria-hidden="true">{wide}</div><div class="narrow" aria-hidden="true">{narrow}</div></div>'
    ).format(css=css, label=label, wide=wide, narrow=narrow)


def _svg(chart: _Chart) -> Markup:
    """The drawing without pygal's style and script; what a point stands for is its title."""
    root = chart.render_tree()
    for parent in list(root.iter()):
        for child in list(parent):
            tag = child.tag if isinstance(child.tag, str) else "comment"
            name = tag.rpartition("}")[2]
            needless = name == "title" and (parent is root or "guides" in parent.get("class", ""))
            if needless or name in ("defs", "comment"):
                parent.remove(child)
            elif name == "desc" and child.get("class") == "value":
                child.tag, child.attrib = "title", {}
            elif name == "desc":
                parent.remove(child)
    root.attrib.pop("id", None)
    for element in root.iter():
        element.attrib.pop("style", None)  # the page's policy allows no style outside its own sheet
    return Markup(ElementTree.tostring(root, encoding="unicode"))  # noqa: S704  # pygal escapes what it is given
