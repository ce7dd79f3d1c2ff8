"""The aggregator's settings: defaults that make sense together, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from fedfraud.errors import FedfraudError, Invalid, Misconfigured
from fedfraud.trade import USUAL_TERMS
from services.aggregator.conductor import check_settings
from services.aggregator.server import manifest_of
from services.aggregator.settings import OperatorSettings, Settings


@pytest.mark.parametrize(("banks", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (9, 7), (10, 7), (12, 9), (1000, 667)])
def test_the_quorum_is_two_thirds_and_one(banks: int, quorum: int) -> None:
    assert Settings(expected_banks=banks, aggregation="plain").effective_quorum == quorum


def test_masked_rounds_need_four_banks_and_there_is_no_fallback() -> None:
    assert Settings(expected_banks=4).aggregation == "secure"
    with pytest.raises(ValidationError, match="secure aggregation must have at least 4 expected banks, got 3"):
        Settings(expected_banks=3)


def test_a_quorum_that_is_set_is_kept() -> None:
    assert Settings(expected_banks=10, quorum=2).effective_quorum == 2


def test_a_population_has_a_recipe_and_rounds_of_its_own_unless_they_are_set() -> None:
    plain = Settings()
    assert (plain.population, plain.recipe, plain.rounds) == ("tutorial", "default", 10)
    cards = Settings(population="cards")
    assert (cards.recipe, cards.rounds) == ("cards", 20)
    chosen = Settings(population="cards", recipe="default", rounds=3)
    assert (chosen.recipe, chosen.rounds) == ("default", 3)


def test_a_population_of_real_banks_has_the_default_recipe_and_no_preset() -> None:
    real = Settings(population="baf", simulation=False)
    check_settings(real, manifest_of(real))
    assert (real.recipe, real.rounds) == ("default", 10)
    with pytest.raises(Invalid, match=r"^the population baf has no presets, got 'national'$"):
        check_settings(real.model_copy(update={"preset": "national"}), manifest_of(real))


def test_the_environment_sets_a_recipe_before_the_population_does(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("POPULATION", "cards"), ("RECIPE", "tutorial"), ("ROUNDS", "")):
        monkeypatch.setenv(name, value)
    assert (Settings().recipe, Settings().rounds) == ("tutorial", 20)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"quorum": 11}, "quorum must be at most the expected banks, 10, got 11"),
        ({"expected_banks": 5, "max_seats": 4}, "expected banks must be at most the seats, 4, got 5"),
        ({"expected_banks": 0}, "greater than or equal to 1"),
        ({"max_seats": 4097}, "less than or equal to 4096"),
        ({"rounds": 0}, "greater than or equal to 1"),
        ({"round_deadline": 0}, "greater than 0"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"aggregation": "open"}, "'plain' or 'secure'"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(settings: dict[str, int], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings(**settings)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("settings", "error", "sentence"),
    [
        ({"population": "mars"}, Misconfigured, "^population must be one of tutorial, cards, got 'mars'$"),
        ({"preset": "small"}, Invalid, "^the population tutorial has no presets, got 'small'$"),
        (
            {"population": "cards", "preset": "small"},
            Invalid,
            "^a preset of cards must be one of national, regional, skewed, got 'small'$",
        ),
        ({"recipe": "magic"}, Invalid, "^recipe must be one of tutorial, default, cards, got 'magic'$"),
    ],
)
def test_what_this_version_cannot_do_is_refused_at_the_start(
    settings: dict[str, str], error: type[FedfraudError], sentence: str
) -> None:
    chosen = Settings(**settings)  # type: ignore[arg-type]  # strings are what an environment holds
    with pytest.raises(error, match=sentence):
        check_settings(chosen, manifest_of(chosen))


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ROUNDS", "QUORUM", "RECIPE", "HOLDOUT_FILE", "HEALTH_SOCKET"):
        monkeypatch.setenv(name, "")
    assert Settings() == Settings(rounds=10, quorum=0, recipe="default")
    monkeypatch.setenv("ROUNDS", "20")
    assert Settings().rounds == 20


def test_an_operator_needs_two_addresses_and_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGGREGATOR", "127.0.0.1:1")
    settings = OperatorSettings()
    assert (settings.aggregator, settings.enrolment) == ("127.0.0.1:1", "aggregator:7444")


def test_the_terms_of_the_trade_are_settings() -> None:
    assert Settings().terms == USUAL_TERMS
    terms = Settings(alert_budgets="5,25", headline_budget=25, admin_cents=999).terms
    assert (terms.budgets, terms.headline, terms.admin_cents) == ((5, 25), 25, 999)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"alert_budgets": "5, ten"}, "alert budgets must be numbers, separated by commas, got '5, ten'"),
        ({"alert_budgets": "5,9"}, "alert budgets must rise by 5 or more each, from 5 on, got"),
        ({"alert_budgets": "5,20"}, "the headline budget must be one of 5, 20, got 10"),
        ({"admin_cents": 0}, "the cost of an alert must be 1 to 1000000 cents, got 0"),
    ],
)
def test_terms_that_cannot_be_are_refused_at_the_start(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        Settings(**settings)
