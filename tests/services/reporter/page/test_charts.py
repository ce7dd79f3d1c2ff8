"""The charts: what is drawn is what the facts say, and nothing in it that the page's policy forbids."""

import re
import xml.etree.ElementTree as ElementTree

from fedfraud.metrics import CurvePoint
from services.reporter.facts import BankFacts, RunFacts
from services.reporter.page import charts
from tests.services.reporter.journals import Journal, scores, two_banks

CURVE = (CurvePoint(2.0, 10, 8, 8.5), CurvePoint(-9.0, 1000, 20, 21.0))


def titles(html: str) -> list[str]:
    """What the points of the wide drawing are called."""
    return re.findall(r"<title>([^<]*)</title>", html.split('<div class="narrow"')[0])


def run() -> RunFacts:
    return two_banks(curve=CURVE).facts()


def test_every_chart_is_whole_xml_twice_without_style_or_script() -> None:
    curve = run().final.holdout_curve
    assert curve is not None
    drawn = [
        charts.convergence(run(), "a"),
        charts.seconds(run(), "b"),
        charts.size(run(), "c"),
        charts.uplift(run(), "d"),
        charts.precision_recall(curve, 0.02, "e"),
    ]
    for html in drawn:
        root = ElementTree.fromstring(html)  # noqa: S314  # our own
        assert [child.get("class") for child in root] == ["wide", "narrow"]
        assert root.get("role") == "img"
        assert not re.search(r"<style|<script|style=|href|onload|<!--", html)


def test_the_label_is_escaped() -> None:
    assert 'aria-label="&lt;b&gt; &#34;x&#34;"' in charts.convergence(run(), '<b> "x"')


def test_each_round_is_the_precision_of_the_model_that_it_left() -> None:
    assert titles(charts.convergence(run(), "")) == ["round 0: 0.020", "round 1: 0.400", "round 2: 0.700"]


def test_without_a_hold_out_the_banks_rows_are_drawn() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).committed(1, 0, ["bank-01"])
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.1))
    journal.opened(3, ["bank-01"]).committed(3, 2, ["bank-01"], pooled=scores(0.3))
    assert titles(charts.convergence(journal.finished().facts(), "")) == ["round 0: 0.100", "round 1: 0.300"]


def test_a_round_without_a_result_is_marked() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).void(1, 1, [], "nobody").finished()
    facts = journal.facts()
    drawn = ElementTree.fromstring(charts.convergence(facts, ""))  # noqa: S314  # our own
    lost = [g for g in drawn.iter() if "serie-4" in g.get("class", "") and len(list(g))]
    assert lost
    assert "serie-1" in charts.seconds(facts, "")


def test_uplift_is_drawn_with_the_largest_gain_first() -> None:
    assert [title for title in titles(charts.uplift(run(), "")) if title != "+0.000"] == ["+0.150", "-0.200"]


def with_uplifts(*uplifts: float) -> RunFacts:
    found = run()
    found.banks = [BankFacts(seat=f"bank-{n:02d}", uplift=uplift) for n, uplift in enumerate(uplifts, 1)]
    return found


def heights(html: str) -> list[float]:
    """Of the wide drawing's bars, in pixels."""
    wide = html.split('<div class="narrow"')[0]
    found = [float(height) for height in re.findall(r'<rect[^>]* height="([\d.]+)"[^>]*class="rect', wide)]
    return sorted(height for height in found if height)


def test_one_large_gain_does_not_flatten_the_others_and_each_bar_says_its_own() -> None:
    few = with_uplifts(0.996, 0.02, 0.015, 0.01, -0.012)
    assert charts.is_compressed(few)
    drawn = charts.uplift(few, "")
    shown = heights(drawn)
    assert shown[-1] / shown[0] < 12  # a hundred times as much: ten times as high
    assert [title for title in titles(drawn) if title != "+0.000"] == ["+0.996", "+0.020", "+0.015", "+0.010", "-0.012"]
    assert ">+0.25<" in drawn


def test_uplifts_of_one_size_are_drawn_as_they_are() -> None:
    alike = with_uplifts(0.2, 0.1, 0.05)
    assert not charts.is_compressed(alike)
    shown = heights(charts.uplift(alike, ""))
    assert 3.5 < shown[-1] / shown[0] < 4.5


def test_without_a_comparison_no_uplift_is_drawn() -> None:
    assert charts.uplift(Journal().started().finished().facts(), "") == ""


def test_two_hundred_rounds_are_a_line_without_dots() -> None:
    journal = Journal().started(rounds=200)
    for number in range(1, 201):
        journal.opened(number, ["bank-01"]).committed(number, number, ["bank-01"], holdout=scores(0.5))
    html = charts.convergence(journal.finished().facts(), "")
    assert titles(html) == []
    assert html.count("<text") < 40
    assert len(html) < 20_000


def test_the_seconds_of_very_many_rounds_are_a_line_and_lost_ones_are_marked_on_it() -> None:
    journal = Journal().started(rounds=200)
    for number in range(1, 200):
        journal.opened(number, ["bank-01"]).committed(number, number, ["bank-01"])
    html = charts.seconds(journal.opened(200, ["bank-01"]).void(200, 200, [], "nobody").finished().facts(), "")
    assert 'class="bars"' not in html
    assert html.count("<circle") == 2  # the void round, in the wide drawing and in the narrow one
    assert len(html) < 30_000
