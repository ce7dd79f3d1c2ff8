"""Recipes: the three that there are, the weight rules, and what no recipe may say."""

from dataclasses import replace

import pytest

from fedfraud.errors import Invalid
from fedfraud.recipe import DEFAULTS, RECIPES, Recipe, WeightRule, recipe_named
from fedfraud.transactions import SIMULATED


def test_the_tutorials_recipe_is_adam_5e_4_batch_512_one_epoch_by_rows() -> None:
    assert recipe_named("tutorial") == Recipe(
        "tutorial", learning_rate=5e-4, batch_size=512, local_epochs=1, dropout=0.1, weight_rule=WeightRule.ROWS
    )
    assert not recipe_named("tutorial").logit_adjustment
    assert recipe_named("tutorial").momentum == 0


def test_each_recipe_is_found_by_its_own_name() -> None:
    assert set(RECIPES) == {"tutorial", "default", "cards"}
    assert all(recipe_named(name).name == name for name in RECIPES)


def test_each_simulated_population_has_a_recipe_for_its_runs() -> None:
    assert tuple(DEFAULTS) == SIMULATED
    assert {recipe for recipe, _ in DEFAULTS.values()} <= RECIPES.keys()


def test_an_unknown_name_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(Invalid, match=r"^recipe must be one of tutorial, default, cards, got 'best'$"):
        recipe_named("best")


@pytest.mark.parametrize(
    ("rule", "frauds", "rows", "measure"),
    [
        (WeightRule.ROWS, 4, 100, 100.0),
        (WeightRule.ROWS, 0, 0, 0.0),
        (WeightRule.HARMONIC, 50, 100, 50.0),
        (WeightRule.HARMONIC, 4, 16, 6.0),  # 2 * 4 * 12 / 16
        (WeightRule.HARMONIC, 0, 100, 0.0),
        (WeightRule.HARMONIC, 0, 0, 0.0),
        (WeightRule.SQRT_FRAUD, 49, 100, 7.0),
        (WeightRule.SQRT_FRAUD, 0, 100, 0.0),
    ],
)
def test_a_weight_rule_measures_a_bank(rule: WeightRule, frauds: int, rows: int, measure: float) -> None:
    assert rule.measure(frauds, rows) == measure


@pytest.mark.parametrize("rule", list(WeightRule))
def test_no_measure_falls_when_a_row_is_added(rule: WeightRule) -> None:
    for frauds in range(8):
        for legitimate in range(8):
            rows = frauds + legitimate
            assert rule.measure(frauds + 1, rows + 1) >= rule.measure(frauds, rows)
            assert rule.measure(frauds, rows + 1) >= rule.measure(frauds, rows)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"learning_rate": 0.0}, r"learning rate must be above 0 and finite, got 0.0"),
        ({"learning_rate": float("nan")}, r"learning rate must be above 0 and finite, got nan"),
        ({"batch_size": 0}, r"batch size must be 1 to 65536, got 0"),
        ({"local_epochs": 0}, r"local epochs must be 1 to 100, got 0"),
        ({"local_epochs": 101}, r"local epochs must be 1 to 100, got 101"),
        ({"dropout": -0.1}, r"dropout must be at least 0 and below 1, got -0.1"),
        ({"dropout": 1.0}, r"dropout must be at least 0 and below 1, got 1.0"),
        ({"momentum": 1.0}, r"momentum must be at least 0 and below 1, got 1.0"),
        ({"clip": 0.0}, r"clip must be above 0 and finite, got 0.0"),
        ({"clip": float("inf")}, r"clip must be above 0 and finite, got inf"),
        ({"clip": float("nan")}, r"clip must be above 0 and finite, got nan"),
    ],
)
def test_a_number_out_of_range_is_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        replace(recipe_named("default"), **change)  # type: ignore[arg-type]  # which field is the case's to say
