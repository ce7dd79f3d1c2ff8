"""What the recipes reach in ten rounds on the public hold-out, over five seeds."""

from statistics import mean

import pytest
import torch

from benchmarks.federation import federate
from benchmarks.recipes import MANIFEST, holdout_scores, training_rows
from fedfraud.metrics import Scores
from fedfraud.recipe import recipe_named
from services.bank_client.dataset import Rows
from simulation import tutorial


@pytest.fixture(scope="module")
def scores() -> dict[str, list[Scores]]:
    torch.set_num_threads(1)
    found: dict[str, list[Scores]] = {"default": [], "tutorial": []}
    for seed in (7, 1, 2, 5, 6):
        banks, rows = training_rows(seed, 10), Rows(*tutorial.holdout(seed))
        for name, listed in found.items():
            *_, model = federate(MANIFEST, recipe_named(name), seed, banks, 10)
            listed.append(holdout_scores(recipe_named(name), model, rows))
    return found


def precisions(scores: list[Scores]) -> list[float]:
    return [score.average_precision or 0.0 for score in scores]


def test_default_finds_most_of_what_can_be_found(scores: dict[str, list[Scores]]) -> None:
    assert mean(precisions(scores["default"])) >= 0.72
    assert min(precisions(scores["default"])) >= 0.68


def test_default_is_calibrated(scores: dict[str, list[Scores]]) -> None:
    for score in scores["default"]:
        assert score.log_loss is not None
        assert score.log_loss < 0.07  # that of the prevalence alone is 0.097


def test_the_tutorials_own_recipe_flags_nothing(scores: dict[str, list[Scores]]) -> None:
    assert 0.02 <= mean(precisions(scores["tutorial"])) <= 0.30
    assert [score.flagged_count for score in scores["tutorial"]] == [0] * 5
    assert [score.accuracy for score in scores["tutorial"]] == [
        score.accuracy_always_legitimate for score in scores["tutorial"]
    ]
