"""The file of the model of all rows in one place: back as it was written, or as if there were none."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedfraud.central import Central, Purpose, read_central, trade_as_json
from fedfraud.metrics import Scores
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
