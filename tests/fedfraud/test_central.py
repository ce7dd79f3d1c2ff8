"""The file of the model of all rows in one place: back as it was written, or as if there were none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud.central import Central, Purpose, read_central, trade_as_json
from fedfraud.feature_plan import PLANS
from fedfraud.metrics import Scores
from fedfraud.trade import USUAL_TERMS, TradeTerms
from tests.fedfraud.trades import figures

PURPOSE = Purpose(population="cards", preset="national", seed=7, recipe="cards", rounds=1, banks=2)


def test_figures_of_the_trade_come_back(tmp_path: Path) -> None:
    trade = figures()
    written = Central(purpose=PURPOSE, scores=Scores(5, 1, 0), trade=trade_as_json(trade))
    written.write(tmp_path / "central.json")
    found = read_central(tmp_path / "central.json")
    assert found == written
    assert found is not None
    back = found.trade_figures
    assert back is not None
    assert np.array_equal(back.counts.budgets, trade.counts.budgets)
    assert (back.rank, back.budget_low, back.budgets) == (trade.rank, trade.budget_low, trade.budgets)
    assert Central(purpose=PURPOSE).trade_figures is None


@pytest.mark.parametrize("spoilt", [{"unknown": 1}, {"days": 5}, {}, {"headline_budget": 10}])
def test_figures_that_are_none_make_the_file_as_if_there_were_none(tmp_path: Path, spoilt: dict[str, object]) -> None:
    path = tmp_path / "central.json"
    path.write_text(json.dumps({"purpose": PURPOSE.model_dump(), "scores": None, "trade": spoilt}))
    assert read_central(path) is None
    path.write_text(json.dumps({"purpose": PURPOSE.model_dump(), "scores": None}))
    assert read_central(path) == Central(purpose=PURPOSE)


def test_a_purpose_says_the_day_and_the_terms_that_its_figures_follow_from() -> None:
    known = {"population": "cards", "preset": "national", "seed": 7, "recipe": "cards", "rounds": 1, "banks": 2}
    usual = Purpose.of(**known)  # type: ignore[arg-type]  # of the fields' kinds
    assert (usual.first_day, usual.terms, usual.feature_plan) == ("2018-04-01", USUAL_TERMS, PLANS["cards"])
    terms = TradeTerms((5, 15), 15, 1000)
    other = Purpose.of(**known, first_day="2018-03-25", terms=terms)  # type: ignore[arg-type]  # as above
    assert (other.feature_plan, other.terms) == (replace(PLANS["cards"], first_day="2018-03-25"), terms)
    assert other != usual
    assert Purpose.of(**{**known, "population": "tutorial", "preset": ""}).first_day == ""  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize("spoilt", [{"first_day": "tomorrow"}, {"alert_budgets": [1]}, {"headline_budget": 7}])
def test_a_purpose_that_cannot_be_makes_the_file_as_if_there_were_none(
    tmp_path: Path, spoilt: dict[str, object]
) -> None:
    path = tmp_path / "central.json"
    path.write_text(json.dumps({"purpose": PURPOSE.model_dump() | spoilt}))
    assert read_central(path) is None
