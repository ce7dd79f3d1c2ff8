"""The check of a choice: names of the list, in their section, once, and those that must stand."""

import json
import random

import pytest

from services.reporter.choice import MOST_CHARACTERS, MOST_SENTENCES, SECTIONS, faults, read, schema
from services.reporter.facts import RunFacts
from services.reporter.sentences.candidates import offered
from tests.services.reporter import responses_api
from tests.services.reporter.journals import two_banks
from tests.services.reporter.states import STATES, drawn_answer

OFFERED = offered(two_banks().facts())
RISKS = ["risks.losing", "risks.visible"]


def test_a_choice_of_the_list_has_no_fault_in_whatever_order() -> None:
    for names in (RISKS, RISKS[::-1], [*RISKS, "risks.no_noise"]):
        assert faults(names, "risks", OFFERED) == []


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ([*RISKS, "risks.kpmg"], "a sentence must be in the list, got 'risks.kpmg'"),
        ([*RISKS, "Risks.losing"], "a sentence must be in the list, got 'Risks.losing'"),
        ([*RISKS, "risks.losing "], "a sentence must be in the list, got 'risks.losing '"),
        ([*RISKS, "x" * 99], f"a sentence must be in the list, got '{'x' * 40}'"),
        ([*RISKS, "steps.seeds"], "steps.seeds must stand in next_steps"),
        ([*RISKS, "risks.losing"], "risks.losing must stand once, got 2"),
        (["risks.visible"], "risks.losing must stand"),
        ([*RISKS, *["risks.no_noise"] * 9], f"a section must have 1 to {MOST_SENTENCES} sentences, got 11"),
    ],
)
def test_anything_else_is_a_fault_that_says_what_is_wrong(names: list[str], fault: str) -> None:
    assert fault in faults(names, "risks", OFFERED)


def test_an_empty_section_lacks_what_must_stand_too() -> None:
    assert faults([], "risks", OFFERED) == [
        "a section must have 1 to 10 sentences, got 0",
        "risks.losing must stand",
        "risks.visible must stand",
    ]


def test_an_answer_is_read_by_its_shape_alone() -> None:
    good = json.dumps(responses_api.SECTIONS)
    assert read(good) is not None
    short = {**responses_api.SECTIONS, "risks": ["x" * MOST_CHARACTERS]}
    bad = ["", "null", "[]", "{}", good[:-1], json.dumps({**responses_api.SECTIONS, "more": []}), json.dumps(short)]
    bad += [json.dumps({**responses_api.SECTIONS, "risks": risks}) for risks in (3, None, "risks.losing", [1], [["a"]])]
    bad += ["[" * 10_000, good.replace("risks.losing", "\ud800")]
    assert [text for text in bad if read(text) is not None] == []


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_in_every_state_there_is_a_choice_in_each_section_and_what_must_stand_fits_into_it(run: RunFacts) -> None:
    known = offered(run)
    for section in SECTIONS:
        names = [name for name, one in known.items() if one.section == section]
        must = [name for name in names if known[name].must]
        assert faults((must + [name for name in names if name not in must])[:MOST_SENTENCES], section, known) == []


def test_the_schema_lets_a_section_have_its_own_names_alone() -> None:
    made = schema(OFFERED)
    assert list(made["properties"]) == list(made["required"]) == list(SECTIONS)
    for section, known in made["properties"].items():
        assert {OFFERED[name].section for name in known["items"]["enum"]} == {section}


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_whatever_is_answered_what_passes_is_of_the_list_and_holds_what_must_stand(run: RunFacts) -> None:
    drawn, known, passed = random.Random(7), offered(run), 0  # noqa: S311  # drawn for a test
    for _ in range(60):
        chosen = read(drawn_answer(drawn, known))
        for section in SECTIONS if chosen else ():
            names = getattr(chosen, section)
            if not faults(names, section, known):
                passed += 1
                assert len(set(names)) == len(names)
                assert {known[name].section for name in names} == {section}
                assert {one.name for one in known.values() if one.must and one.section == section} <= set(names)
    assert passed > 20
