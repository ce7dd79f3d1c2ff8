"""The services' arithmetic, in one process, gives the bits of a computation written apart from them."""

import pytest

from benchmarks.federation import federate
from benchmarks.recipes import MANIFEST, training_rows
from fedfraud.recipe import recipe_named
from simulation import tutorial
from tests.federation.oracle import model_sha256, replayed_sha256


@pytest.mark.parametrize("recipe_name", ["default", "tutorial"])
def test_two_rounds_of_three_banks_give_the_model_that_the_oracle_computes(recipe_name: str) -> None:
    *_, model = federate(MANIFEST, recipe_named(recipe_name), 7, training_rows(7, 3), 2)
    assert model.sha256.hex() == model_sha256(recipe_name, 2, 3, 7)


def test_another_seed_round_bank_or_recipe_gives_another_model() -> None:
    runs = [
        ("tutorial", 1, 2, 7),
        ("tutorial", 1, 2, 8),
        ("tutorial", 2, 2, 7),
        ("tutorial", 1, 3, 7),
        ("default", 1, 2, 7),
    ]
    assert len({model_sha256(*run) for run in runs}) == len(runs)


def test_a_bank_that_missed_a_round_makes_another_model_and_so_does_which_round_it_was() -> None:
    rows = {f"bank-{number:02d}": tutorial.shard(7, number) for number in (1, 2)}
    both, first = ("bank-01", "bank-02"), ("bank-01",)
    replayed = [
        replayed_sha256("default", 7, rows, cohorts)
        for cohorts in ([both, both, both], [first, both, both], [both, first, both], [both, both, first])
    ]
    assert replayed[0] == model_sha256("default", 2, 2, 7)
    assert len(set(replayed)) == 4
