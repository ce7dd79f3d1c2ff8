"""Who wrote the report: what a model chose stands first, and whoever chose, every figure is a fact's."""

import pytest

from services.reporter import grounding, html, markdown
from services.reporter.choice import SECTIONS
from services.reporter.facts import RunFacts
from services.reporter.report import Written, compose
from services.reporter.sentences.candidates import offered
from tests.services.reporter.figures import figures_of_its_own, strays, visible
from tests.services.reporter.journals import two_banks
from tests.services.reporter.reports import chosen, render, sections
from tests.services.reporter.states import STATES


def test_the_last_line_says_who_wrote() -> None:
    text = render(two_banks().facts())
    assert text.splitlines()[-1].startswith("Narrative by template. Every figure ")
    noted = render(two_banks().facts(), note="the API could not be reached")
    assert "Narrative by template: the API could not be reached." in noted


RISKS = ["risks.no_noise", "risks.losing", "risks.visible"]


def test_what_a_model_chose_stands_first_and_the_rest_of_what_was_seen_after_it() -> None:
    run = two_banks(precisions=(0.02, 0.7, 0.5)).facts()
    made = render(run, chosen(run, risks=RISKS))
    lines = sections(made)["Risks"].splitlines()[2:7]
    assert [line[:30] for line in lines] == [
        "- No noise was added to what b",
        "- The federated model is worse",
        "- Aggregation is plain: single",
        "",
        "Seen in this run besides:",
    ]
    assert made.count("is worse than the bank's own, on the bank's rows, for bank-02") == 1, "nothing is said twice"
    assert "is worse than that of round 1" in sections(made)["Risks"], "and nothing that was seen is lost"


def test_the_page_says_which_sections_a_model_chose_and_what_the_check_found() -> None:
    run = two_banks().facts()
    text = render(run, chosen(run, risks=RISKS, executive_summary=["summary.losing", "summary.chance"]))
    assert "1 loses by the federation: bank-02 (-0.200). By average precision on the public hold-out, the" in text
    assert "times as good as chance" in sections(text)["Metric interpretation"], "the template writes the others"
    assert "Chosen by the model gpt-5.2: sentences under Executive summary, Risks." in text
    assert f"its 5 sentences, with 7 figures, are among the {len(offered(run))} that code made of the facts" in text
    assert "By template: Metric interpretation, Next steps: the model would not." in text


def everything(run: RunFacts) -> Written:
    """A choice of all that is offered."""
    names = offered(run)
    return chosen(run, **{section: [n for n, one in names.items() if one.section == section] for section in SECTIONS})


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_every_text_of_every_report_has_its_figures_by_key_alone(run: RunFacts) -> None:
    for made in (compose(run), compose(run, everything(run))):
        assert [(text, found) for text in made.document.texts() if (found := figures_of_its_own(text))] == []
        assert {key for text in made.document.texts() for key in grounding.keys(text)} <= set(made.facts)


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_every_number_of_the_report_is_found_in_the_facts_at_its_precision(run: RunFacts) -> None:
    for written in (Written(), everything(run)):
        made = compose(run, written)
        counted = {name: made.facts[f"narrative.{name}"].text for name in ("sentences", "figures", "offered")}
        others = (
            written.model,
            f"its {counted['sentences']} sentences, with {counted['figures']} figures",
            f"among the {counted['offered']} that code made",
        )
        assert strays(markdown.render(made), run, *others) == []
        page = visible(html.render(made))
        assert strays(page.text, run, *others) == []


def test_a_number_that_is_in_no_fact_would_be_found() -> None:
    run = two_banks().facts()
    assert strays("It reaches 0.700 and 0.701, 98.50 % and 98.51 %, +0.150 and -0.150.", run) == [
        "0.701",
        "98.51 %",
        "-0.150",
    ]


def test_no_fact_can_inject_mark_up_into_either_form() -> None:
    evil = "x <img src=x onerror=alert(1)> [a](javascript:1) https://x.y | # **b** {{run.seed}} </p><script>"
    journal = two_banks().refused("bank-02", evil)
    journal.entries.insert(-2, journal.entries.pop())
    journal.entries[-1].run_finished.reason = evil
    made = compose(journal.facts())
    text = markdown.render(made)
    assert not [mark for mark in ("<img", "<script", "[a](", "https://x", "**b**") if mark in text]
    page = visible(html.render(made))
    assert {"img", "script"} & set(page.tags) == set()
    assert evil in "".join(page.words)


def test_the_report_is_the_same_from_facts_that_were_read_again() -> None:
    facts = two_banks().facts()
    assert render(RunFacts.from_json(facts.to_json())) == render(facts)
