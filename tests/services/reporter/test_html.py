"""The report as a page: one file that asks for nothing, whose every figure says by which key it stands there."""

import re

from services.reporter.html import render
from services.reporter.report import compose
from tests.services.reporter.figures import NUMBER, is_printed, visible
from tests.services.reporter.journals import two_banks
from tests.services.reporter.states import of_payments
from tests.services.reporter.test_fact_table import look_up

RUN = two_banks(secure=True).facts()
MADE = compose(RUN)
HTML = render(MADE)
PAGE = visible(HTML)


def test_the_page_is_one_file_that_asks_for_nothing_and_runs_nothing() -> None:
    assert {"script", "img", "link", "iframe", "object", "form"} & set(PAGE.tags) == set()
    assert not re.search(r"(?:src|href)=[\"'](?!#)|url\(|@import|https?:", HTML)
    assert "default-src 'none'" in HTML


def test_the_page_has_the_four_parts_and_leads_to_each() -> None:
    headings = ("executive-summary", "metric-interpretation", "risks", "next-steps")
    assert re.findall(r'<h2 id="([a-z-]+)">', HTML) == list(headings)
    assert re.findall(r'<a href="#([a-z-]+)">', HTML) == list(headings)


def test_a_figure_is_the_fact_of_its_key_at_its_precision() -> None:
    marked = [(key, text) for key, text in PAGE.data if not key.startswith(("derived.", "report.", "narrative."))]
    assert len(marked) > 80
    for key, text in marked:
        value = look_up(RUN, key)
        match = NUMBER.fullmatch(text)
        assert value == text or (match and is_printed(match, value)), (key, text, value)


def test_strong_and_code_are_marked_and_tables_have_their_heads() -> None:
    assert "<strong>The model ranks fraud well</strong>" in HTML
    assert "<code>" not in HTML.split("<body>")[1] or "`" not in HTML.split("<body>")[1]
    assert HTML.count("<table") == HTML.count("<thead>") == HTML.count('tabindex="0"')


def test_the_same_facts_give_the_same_page() -> None:
    assert render(compose(two_banks(secure=True).facts())) == HTML


def test_no_key_is_left_where_its_figure_belongs() -> None:
    assert "{{" not in render(compose(two_banks().facts()))


def test_numbers_and_dates_are_marked_not_to_break_and_hashes_are_not() -> None:
    page = render(compose(of_payments()))
    for key in ("release.segments.1.words", "final.trade.days.1.payments", "run.feature_plan.first_day", "run.seed"):
        assert f'<data class="number" value="{key}"' in page, key
    for key in ("run.journal_head", "run.started_time"):
        assert f'<data value="{key}"' in page, key
    assert ".number { white-space: nowrap; }" in page
