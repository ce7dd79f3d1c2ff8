"""The live page in a browser, on a network of real processes: it follows every turn of a run by itself."""

import json
import re
import statistics
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import reading
from tests.browser.browser import PHONE, SCHEMES, WIDE, Scheme, Watched, watched
from tests.federation.networks import FINISHED, Network, network
from tests.federation.waiting import wait_for

T = TypeVar("T")
pytestmark = pytest.mark.timeout(300)
PATIENCE = 90_000
"""Milliseconds until the page must show what has happened."""

BROKEN = """[...document.querySelectorAll("data.figure:not([data-form=text])")]
  .filter((each) => each.getClientRects().length > 1).map((each) => each.textContent)"""
"""Figures that stand on more than one line."""


def state(page: Page, word: str) -> None:
    """Waits until the page says that things stand so."""
    expect(page.locator("#status .pill")).to_have_text(word, timeout=PATIENCE)


def headline(page: Page, words: str) -> None:
    expect(page.locator("#verdict h1")).to_contain_text(re.compile(words), timeout=PATIENCE)


def aside(action: Callable[..., T], *words: str) -> T:
    """Does it in another thread: playwright's loop runs in this one, and an operator's command brings its own."""
    with ThreadPoolExecutor(1) as other:
        return other.submit(action, *words).result()


def is_sound(seen: Watched) -> None:
    """Nothing was asked of another server, and the browser had nothing to complain of."""
    assert seen.foreign() == []
    assert seen.complaints == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[tuple[Network, str]]:
    """Four banks with masks after a run of three rounds, central beside it, and where their page is."""
    folder = tmp_path_factory.mktemp("finished")
    settings: dict[str, Any] = {"aggregation": "secure", "autostart": True, "rounds": 3, "central_wait": 60.0}
    with network(folder, expected_banks=4, **settings) as present:
        present.write_population()
        present.announce_central()
        present.start_central()
        present.start_aggregator()
        present.start_reporter(folder / "reports")
        for number in range(1, 5):
            present.start_bank(number)
        assert present.run_ended().outcome == FINISHED
        facts = folder / "reports" / present.events("run_started")[0].run_id / "facts.json"
        wait_for(facts.exists, "the facts are written")
        yield present, present.page_url()


def facts_of(present: Network) -> dict[str, Any]:
    folder = present.run_dir / "reports" / present.events("run_started")[0].run_id
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


def verdict(folder: Path) -> str:
    """The headline that the banks' disclosed figures ask for, over those that disclose both."""
    wait_for((folder / "facts.json").exists, "the facts are written")
    banks = json.loads((folder / "facts.json").read_text())["banks"]
    both = [(bank["alone_holdout"], bank["federated_holdout"]) for bank in banks]
    known = [pair for pair in both if None not in pair]
    alone, federated = (f"{statistics.fmean(figures):.3f}" for figures in zip(*known, strict=True))
    if alone == federated:
        return f"Federating leaves average precision as it was, {federated}"
    return f"Federating {'lifts' if alone < federated else 'lowers'} average precision from {alone} to {federated}"


def test_the_page_follows_a_run_from_an_empty_journal_to_the_verdict(tmp_path: Path, browser: Browser) -> None:
    # Three rounds are over between two looks at the page.
    with network(tmp_path, expected_banks=3, rounds=40) as present:
        present.write_population()
        present.start_aggregator()
        present.kill_aggregator()
        present.start_reporter(tmp_path / "reports")
        with watched(browser, present.page_url()) as seen:
            page = seen.page
            page.evaluate("window.stayed = true")
            state(page, "Connecting")
            headline(page, "Looking for the journal")
            present.start_aggregator()
            state(page, "Waiting for banks")
            expect(page.locator("#status .link")).to_have_text("live", timeout=PATIENCE)
            present.start_banks(1, 2, 3)
            expect(page.locator("#verdict .seat.present")).to_have_count(3, timeout=PATIENCE)
            present.pause(3)
            run_id = aside(present.start_run)
            state(page, "Running")
            headline(page, "Preparing")
            # Two have answered, the paused one has not: the page says so of each.
            expect(page.locator("#banks li.there")).to_have_count(2, timeout=PATIENCE)
            expect(page.locator("#banks li.asked")).to_contain_text(["bank-03"], timeout=PATIENCE)
            present.resume(3)
            headline(page, "Training round")
            state(page, "Finished")
            headline(page, f"^{re.escape(verdict(tmp_path / 'reports' / run_id))}$")
            expect(page.locator("#events")).to_contain_text(f"Run {run_id} finished.", timeout=PATIENCE)
            assert page.title().startswith("Finished")
            assert page.evaluate("window.stayed") is True  # all of it without loading the page again
            is_sound(seen)


def test_at_each_stage_of_a_masked_round_the_page_says_what_the_operators_status_says(
    tmp_path: Path, browser: Browser
) -> None:
    settings: dict[str, Any] = {"aggregation": "secure", "rounds": 500, "stage_deadline": 60.0}
    with network(tmp_path, expected_banks=5, **settings) as present:
        present.start_aggregator()
        present.start_reporter(tmp_path / "reports")
        present.start_banks(1, 2, 3, 4, 5)
        with watched(browser, present.page_url()) as seen:
            aside(present.start_run)
            headline(seen.page, "Training round")
            present.pause(5)
            expect(seen.page.locator("#banks li.asked")).to_have_count(1, timeout=PATIENCE)
            expect(seen.page.locator("#banks li.asked")).to_contain_text(["bank-05"])
            expect(seen.page.locator("#banks li.there")).to_have_count(4)
            status = aside(present.status)["round"]
            assert status["awaited"] == ["bank-05"]
            assert status["answered"] == [f"bank-{number:02d}" for number in range(1, 5)]
            expect(seen.page.locator("#banks .note")).to_contain_text(f"at stage {status['stage']}")
            present.resume(5)
            is_sound(seen)


def test_a_void_round_and_a_run_that_fails_are_shown_as_what_they_are(tmp_path: Path, browser: Browser) -> None:
    with network(tmp_path, expected_banks=3, quorum=3, rounds=3, round_deadline=6.0) as present:
        present.start_aggregator()
        present.start_reporter(tmp_path / "reports")
        present.start_banks(1, 2, 3)
        with watched(browser, present.page_url()) as seen:
            present.pause(3)
            aside(present.start_run)
            state(seen.page, "Round without result")
            expect(seen.page.locator("#verdict .lead strong")).to_have_text("The last round had no result.")
            expect(seen.page.locator("#events li.missing")).to_contain_text(["bank-03"], timeout=PATIENCE)
            state(seen.page, "Failed")
            headline(seen.page, "The run failed after 0 of 3 training rounds")
            expect(seen.page.locator("#verdict .lead")).to_contain_text("at most 2 rounds in a row may be void")
            expect(seen.page.locator("#cost tbody tr.void")).to_have_count(3, timeout=PATIENCE)
            is_sound(seen)


def test_a_run_that_an_operator_stops_is_shown_as_stopped_and_a_lost_reporter_is_told(
    tmp_path: Path, browser: Browser
) -> None:
    with network(tmp_path, expected_banks=3, rounds=500) as present:
        present.start_aggregator()
        present.start_reporter(tmp_path / "reports")
        present.start_banks(1, 2, 3)
        with watched(browser, present.page_url()) as seen:
            aside(present.start_run)
            headline(seen.page, r"Training round \d+ of 500")
            assert aside(present.operate, "stop")[0] == 0
            state(seen.page, "Stopped")
            headline(seen.page, r"The run was stopped after \d+ of 500 training rounds")
            is_sound(seen)
            present.kill_aggregator()
            expect(seen.page.locator("#status .link")).to_contain_text("journal out of reach", timeout=PATIENCE)
            state(seen.page, "Stopped")  # what is known stays on the page
            present.processes["reporter"].terminate()
            expect(seen.page.locator("body")).to_have_class("cut", timeout=PATIENCE)


def test_every_number_on_the_page_of_a_finished_run_is_a_fact(finished: tuple[Network, str], browser: Browser) -> None:
    present, url = finished
    facts = facts_of(present)
    with watched(browser, url) as seen:
        state(seen.page, "Finished")
        found = reading.figures(seen.page)
    assert len(found) > 300
    assert reading.strays(found) == []
    assert [fault for figure in found if figure.fact and (fault := reading.mismatch(figure, facts))] == []
    keys = {figure.fact for figure in found}
    for shown in (
        "final.compared_alone_holdout.mean",
        "final.holdout.average_precision",
        "banks.0.uplift",
        "rounds.2.seconds",
    ):
        assert shown in keys
    assert {"final.central.average_precision", "code.commit"} <= keys


def test_the_verdict_says_which_of_federated_and_central_is_ahead(
    finished: tuple[Network, str], browser: Browser
) -> None:
    against = facts_of(finished[0])["final"]["against_central"]
    words = {
        "federated": f"and the federated model is ahead by {against['by']:.3f}",
        "central": f"and central is ahead by {against['by']:.3f}",
        "neither": "and neither side is ahead",
    }
    with watched(browser, finished[1]) as seen:
        expect(seen.page.locator("#verdict .lead")).to_contain_text(words[against["ahead"]])


def test_a_wrong_figure_would_be_found(finished: tuple[Network, str], browser: Browser) -> None:
    present, url = finished
    facts = facts_of(present)
    facts["final"]["holdout"]["average_precision"] -= 0.001
    with watched(browser, url) as seen:
        seen.page.evaluate("document.querySelector('footer p').append(' 41 banks')")
        found = reading.figures(seen.page)
    wrong = [reading.mismatch(figure, facts) for figure in found if figure.fact]
    assert any(fault.startswith("final.holdout.average_precision: ") for fault in wrong)
    assert [text for text in reading.strays(found) if "41 banks" in text]


def test_the_facts_behind_the_page_are_the_file_and_keep_to_the_schema(finished: tuple[Network, str]) -> None:
    present, url = finished
    with urllib.request.urlopen(f"{url}/facts.json", timeout=10) as response:  # noqa: S310  # loopback
        served = response.read().decode()
    folder = present.run_dir / "reports" / present.events("run_started")[0].run_id
    assert served == (folder / "facts.json").read_text()
    published = json.loads((Path(__file__).parents[2] / "docs" / "facts.schema.json").read_text())
    jsonschema.validate(json.loads(served), published, cls=jsonschema.Draft202012Validator)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_fits_a_phone(finished: tuple[Network, str], browser: Browser, scheme: Scheme) -> None:
    with watched(browser, finished[1], PHONE, scheme, phone=True) as seen:
        assert seen.page.evaluate("document.documentElement.scrollWidth") == PHONE[0]
        assert seen.page.evaluate(BROKEN) == []
        assert seen.page.locator(".chart-convergence .narrow").is_visible()
        assert not seen.page.locator(".chart-convergence .wide").is_visible()
        assert seen.page.evaluate(TOO_WIDE) == []
        is_sound(seen)


def test_a_table_that_does_not_fit_a_phone_says_on_which_side_there_is_more(
    finished: tuple[Network, str], browser: Browser
) -> None:
    with watched(browser, finished[1], PHONE, phone=True) as seen:
        for name in ("Release record of each bank", "Banks, the largest gain first", "Three budgets"):
            box = seen.page.get_by_role("region", name=name)
            expect(box).to_have_attribute("data-more", re.compile("right"))
            hint = box.locator("xpath=following-sibling::*[1]")
            assert "sideways" in hint.evaluate("each => getComputedStyle(each, '::before').content")
            assert hint.is_visible()
            box.evaluate("each => { each.scrollLeft = each.scrollWidth; }")
            expect(box).not_to_have_attribute("data-more", re.compile("right"))
        seen.page.locator("#rounds-table summary").click()
        expect(seen.page.get_by_role("region", name="Every round")).to_have_attribute("data-more", re.compile("right"))
        is_sound(seen)
    with watched(browser, finished[1]) as seen:  # where it fits there is nothing to say
        box = seen.page.get_by_role("region", name="Banks, the largest gain first")
        expect(box).not_to_have_attribute("data-more", re.compile("."))
        assert not box.locator("xpath=following-sibling::*[1]").is_visible()


def test_no_tile_stands_beside_an_empty_place(finished: tuple[Network, str], browser: Browser) -> None:
    with watched(browser, finished[1], PHONE, phone=True) as seen:
        tiles = [tile.bounding_box() for tile in seen.page.locator(".tile").all()]
        whole = seen.page.locator(".tiles").bounding_box()
    assert len(tiles) == 5
    assert tiles[-1]
    assert whole
    assert abs(tiles[-1]["width"] - whole["width"]) < 1
    assert tiles[0]
    assert tiles[0]["width"] < whole["width"] / 2


TOO_WIDE = """() => [...document.querySelectorAll("main *")]
  .filter((each) => !each.closest(".scroll, svg, .hidden") && each.getBoundingClientRect().right > innerWidth + 1)
  .map((each) => each.outerHTML.slice(0, 80))"""
CONTRAST = """() => {
  const light = (colour) => {
    const linear = (c) => c <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => linear(c / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = getComputedStyle(each).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const texts = "h1, h2, h3, p, dt, dd, li, td, th, a, summary, label, .pill, .link";
  for (const element of document.querySelectorAll(texts)) {
    if (!element.innerText?.trim() || element.closest(".skip")) continue;
    const pair = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => b - a);
    if ((pair[0] + .05) / (pair[1] + .05) < 4.5) faint.push(element.outerHTML.slice(0, 80));
  }
  return faint;
}"""


def test_text_can_be_read_in_light_and_in_dark(finished: tuple[Network, str], browser: Browser) -> None:
    grounds = []
    for scheme in SCHEMES:
        with watched(browser, finished[1], WIDE, scheme) as seen:
            assert seen.page.evaluate(CONTRAST) == []
            grounds.append(seen.page.evaluate("getComputedStyle(document.body).backgroundColor"))
            is_sound(seen)
    assert grounds[0] != grounds[1]


def test_the_page_works_by_keyboard(finished: tuple[Network, str], browser: Browser) -> None:
    with watched(browser, finished[1]) as seen:
        page = seen.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["x"] >= 0  # type: ignore[index]  # it has a box
        reached = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            reached.add(page.evaluate("document.activeElement.id || document.activeElement.getAttribute('aria-label')"))
            outlined = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outlined != "none" or page.evaluate("document.activeElement === document.body")
        assert reached >= {"budget", "Three budgets", "Banks, the largest gain first", "Each bank’s state and uplift"}
        page.locator("#budget").focus()
        reading_before = page.locator("#budget-reading").inner_text()
        page.keyboard.press("ArrowRight")
        assert page.locator("#budget-reading").inner_text() != reading_before
        page.keyboard.press("End")
        # Everything is an alert: precision is the prevalence, recall is whole.
        assert page.locator("#budget-reading [data-cell='5']").inner_text() == "100.0 %"
        assert "Recall 100.0 %" in (page.locator("#budget").get_attribute("aria-valuetext") or "")
        page.locator("#rounds-table summary").press("Enter")
        expect(page.locator("#rounds-table table")).to_be_visible()
        is_sound(seen)


def test_the_slider_reads_the_thresholds_of_the_facts(finished: tuple[Network, str], browser: Browser) -> None:
    points = facts_of(finished[0])["final"]["holdout_curve"]["points"]
    with watched(browser, finished[1]) as seen:
        slider = seen.page.locator("#budget")
        for place in (0, len(points) // 2, len(points) - 1):
            slider.fill(str(place))
            cells = [seen.page.locator(f"#budget-reading [data-cell='{cell}'] data") for cell in (1, 2, 4, 5)]
            shown = [float(cell.get_attribute("value") or "nan") for cell in cells]
            point = points[place]
            assert shown == [point["alerts"], point["hits"], point["precision"], point["recall"]]
            marked = seen.page.locator(".chart-precision-recall .wide .chosen title").text_content()
            assert marked == f"recall {100 * point['recall']:.1f} %, precision {100 * point['precision']:.1f} %"


def test_an_earlier_run_has_a_page_and_files(finished: tuple[Network, str], browser: Browser) -> None:
    present, url = finished
    first = present.events("run_started")[0].run_id
    present.run_ended(aside(present.start_run, "--rounds", "1"))
    with watched(browser, url) as seen:
        state(seen.page, "Finished")
        expect(seen.page.locator("#runs tbody tr")).to_have_count(1, timeout=PATIENCE)
        assert seen.page.locator("#runs a").first.inner_text() == first
        seen.page.locator("#runs a").first.click()
        expect(seen.page.locator("#status")).to_contain_text("an earlier run")
        assert first in seen.page.title()
        found = reading.figures(seen.page)
        facts = facts_of(present)
        assert reading.strays(found) == []
        assert [fault for figure in found if figure.fact and (fault := reading.mismatch(figure, facts))] == []
        is_sound(seen)
    with urllib.request.urlopen(f"{url}/runs/{first}/report.md", timeout=10) as response:  # noqa: S310  # loopback
        assert response.read().decode().startswith("# Fraud-risk report")


def test_without_javascript_the_page_shows_how_things_stand(finished: tuple[Network, str], browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(finished[1])
    expect(page.locator("#status .pill")).to_have_text("Finished")
    assert "Without JavaScript" in page.locator("noscript").inner_text()
    context.close()
