"""The closed list: in every state of a run each sentence has known figures, a name of its own, and says what is so."""

import re
from collections.abc import Callable

import pytest

from services.reporter import grounding
from services.reporter.choice import SECTIONS
from services.reporter.fact_table import table
from services.reporter.facts import RunFacts
from services.reporter.rounding import sign
from services.reporter.sentences.candidates import candidates, offered
from services.reporter.sentences.sentence import TOPICS
from tests.services.reporter.figures import figures_of_its_own, strays
from tests.services.reporter.states import STATES, texts, whole

EVERY = pytest.mark.parametrize("run", STATES.values(), ids=STATES)
_N = r"([-+]?[\d,]+(?:\.\d+)?)(?: %)?"


@EVERY
def test_a_sentence_has_a_name_of_its_own_a_section_a_topic_and_figures_by_key_alone(run: RunFacts) -> None:
    made, facts = candidates(run), table(run)
    assert len({one.name for one in made}) == len(made)
    for one in made:
        assert re.fullmatch(r"(summary|metrics|risks|steps)\.[a-z_]+(\.([a-z]+|\d+))?", one.name)
        assert (one.section in SECTIONS, one.topic in TOPICS) == (True, True)
        assert figures_of_its_own(one.text) == []
        assert set(grounding.keys(one.text)) <= set(facts)
        assert not any(c.isdigit() for c in one.about)


@EVERY
def test_every_number_of_a_sentence_is_found_in_the_facts(run: RunFacts) -> None:
    assert {name: found for name, text in texts(run).items() if (found := strays(text, run))} == {}


@EVERY
def test_a_sentence_can_be_read_by_itself(run: RunFacts) -> None:
    for name, text in texts(run).items():
        assert text.endswith("."), name
        assert not re.match(r"(It|This|That|These|They|However|Also|But|And|Therefore|So)\b", text.strip("*")), name


def test_there_is_a_choice() -> None:
    known = offered(whole())
    assert 40 <= len(known) <= 60
    counts = [sum(one.section == section for one in known.values()) for section in SECTIONS]
    assert min(counts) >= 9
    assert {one.topic for one in known.values()} == set(TOPICS)


def test_a_sentence_that_is_not_to_be_offered_is_not() -> None:
    names = {one.name for one in candidates(STATES["troubled"])}
    assert {"steps.ending", "steps.refused"} <= names
    assert {"steps.ending", "steps.refused"} & set(offered(STATES["troubled"])) == set()


@EVERY
def test_what_is_the_same_for_all_runs_is_there_in_each(run: RunFacts) -> None:
    always = {"risks.refused", "risks.clipping", "risks.visible", "risks.population", "steps.aggregation"}
    assert always <= set(offered(run))


def _sign(first: float, second: float, up: str, down: str, level: str) -> str:
    return up if first > second else down if first < second else level


# What each wording claims of the figures that stand in it, written down a second time: a pattern of the printed
# sentence, and the words that its figures ask for.
CLAIMS: dict[str, tuple[str, Callable[..., str]]] = {
    r"summary\.mean": (
        rf"the mean difference is {_N}: (.*)\.",
        lambda change: _sign(
            change,
            0,
            "on average the banks do better with it",
            "on average the banks do better alone",
            "on average it makes no difference at this precision",
        ),
    ),
    r"summary\.weakest": (
        rf"is {_N} alone and {_N} with the federated model: (.*)\.",
        lambda alone, federated: _sign(
            federated,
            alone,
            "the lowest is higher with it",
            "the lowest is lower with it",
            "the same at this precision",
        ),
    ),
    r"(summary|metrics)\.central": (
        rf"of {_N} on (?:the public hold-out|all banks' validation rows), "
        rf"the federated model {_N}: (the federated model is .*? it|neither is ahead)",
        lambda central, federated: _sign(
            federated,
            central,
            "the federated model is ahead of it",
            "the federated model is behind it",
            "neither is ahead",
        ),
    ),
    r"summary\.training": (
        rf"was {_N} for the first measured model and {_N} for the last: (.*)\.",
        lambda first, last: _sign(
            last, first, "the last ranks fraud better", "the last ranks fraud worse", "the same at this precision"
        ),
    ),
    r"metrics\.best_alone": (
        rf"precision of {_N}, the federated model {_N}: (.*)\.",
        lambda alone, federated: _sign(
            federated,
            alone,
            "better than any of them",
            "behind the best of them",
            "level with the best of them at this precision",
        ),
    ),
    r"metrics\.since_best": (
        rf"the last has {_N} in average precision: (.*)\.",
        lambda change: _sign(
            change, 0, "a contradiction", "an earlier model was better", "none was better at this precision"
        ),
    ),
    r"metrics\.calibration\.\w+": (
        rf"expects a share of {_N} to be fraud, and {_N} are: there (.*)\.",
        lambda expected, observed: _sign(
            expected,
            observed,
            "the model expects more fraud than there is",
            "the model expects less fraud than there is",
            "expected and observed agree at this precision",
        ),
    ),
    r"risks\.worse": (
        rf"On average the banks do (better) alone: federated minus alone is {_N} in",
        lambda change: _sign(change, 0, "worse", "better", "as well"),
    ),
    r"risks\.fallen": (
        rf"The last model \({_N}\) is (worse) than that of round [\d,]+ \({_N}\) in average precision\.",
        lambda last, best: _sign(last, best, "better", "worse", "as good"),
    ),
    r"summary\.most": (
        rf"(?:No bank|Of the banks that compare, none) gains (more) .* precision {_N} alone and {_N} with",
        lambda alone, federated: _sign(federated, alone, "more", "less", "nothing"),
    ),
}


def claim(name: str, text: str) -> tuple[str, str] | None:
    """The words of a claim, and those that its figures ask for."""
    for names, (pattern, asked) in CLAIMS.items():
        if re.fullmatch(names, name):
            found = re.search(pattern, text)
            assert found, text
            figures = [float(one.replace(",", "")) for one in found.groups() if re.fullmatch(r"[-+]?[\d,.]+", one)]
            [words] = [one for one in found.groups() if not re.fullmatch(r"[-+]?[\d,.]+", one)]
            return words, asked(*figures)
    return None


@EVERY
def test_a_direction_is_that_of_the_figures_beside_it(run: RunFacts) -> None:
    for name, text in texts(run).items():
        if (found := claim(name, text)) is not None:
            assert found[0] == found[1], text


def test_each_direction_was_seen_both_ways_so_that_the_test_before_could_fail() -> None:
    seen = {found for run in STATES.values() for name, text in texts(run).items() if (found := claim(name, text))}
    words = {words for words, _ in seen}
    assert {"on average the banks do better with it", "on average the banks do better alone"} <= words
    assert {"the lowest is higher with it", "the lowest is lower with it"} <= words
    assert {"the federated model is ahead of it", "the federated model is behind it"} <= words
    assert {"the last ranks fraud better", "the last ranks fraud worse"} <= words
    assert {"better than any of them", "behind the best of them"} <= words
    assert {"the model expects more fraud than there is", "the model expects less fraud than there is"} <= words


@EVERY
def test_who_gains_and_who_loses_is_so_in_the_facts(run: RunFacts) -> None:
    made = texts(run)
    uplifts = {bank.seat: bank.uplift for bank in run.banks if bank.uplift is not None}
    gain, lose = ([seat for seat, change in uplifts.items() if sign(change) == way] for way in (1, -1))
    same = [seat for seat, change in uplifts.items() if not sign(change)]
    assert ("summary.undisclosed" in made) == (not uplifts)
    assert ("summary.losing" in made, "summary.none_loses" in made) == (bool(lose), bool(uplifts) and not lose)
    for name, seats in (("summary.gaining", gain), ("summary.losing", lose), ("summary.unchanged", same)):
        if name in made:
            said = re.findall(r"bank-\d+|ignore-[a-z-]+|x}} {{y", made[name])
            assert set(said) <= set(seats), made[name]
            assert len(said) == min(len(seats), 10)
            assert re.search(rf", {len(seats)} ((gain|lose)s? by|(is|are) as before)", made[name]), made[name]
    most = re.search(r"than (.+): average", made.get("summary.most", ""))
    assert most is None or uplifts[most[1]] == max(uplifts.values())


@EVERY
def test_a_banks_figures_are_that_banks(run: RunFacts) -> None:
    seats = {bank.seat: bank for bank in run.banks}
    for name, text in texts(run).items():
        if name.startswith("metrics.bank."):
            found = re.match(
                rf"At (.+), on own rows, average precision is {_N} alone and {_N} with the federated model, a "
                rf"difference of {_N}",
                text,
            )
            assert found
            bank = seats[found[1]]
            assert found.groups()[1:] == (f"{bank.alone:.3f}", f"{bank.federated:.3f}", f"{bank.uplift:+.3f}")


@EVERY
def test_what_speaks_against_the_models_use_must_stand(run: RunFacts) -> None:
    must = {one.name for one in candidates(run) if one.must and one.offered}
    losers = any(sign(bank.uplift) < 0 for bank in run.banks)
    assert ({"summary.losing", "risks.losing"} <= must) == losers
    assert ("risks.void" in must) == any(done.outcome != "committed" for done in run.rounds)
    assert ("risks.missing" in must) == any(done.dropped for done in run.rounds)
    assert ("risks.stuck.1" in {one.name for one in candidates(run)}) == ("risks.void" in must)
    assert any(name.startswith("risks.stuck.") for name in must) == ("risks.void" in must)
    assert ("risks.undisclosed" in must) == any(bank.no_uplift for bank in run.banks)
    held = run.final.holdout or run.final.pooled
    if held is not None:
        assert ({"metrics.flagged", "risks.silent", "steps.silent"} <= must) == (held.flagged_count == 0)
    assert "risks.visible" in must
