"""The public hold-out's rows by the score that a model gives them; a file that is none is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import Misconfigured
from fedfraud.manifest import Manifest
from fedfraud.metrics import scores_from_counts
from fedfraud.model import RunState
from fedfraud.transactions import SCHEMAS
from services.aggregator.holdout import Holdout

MANIFEST = Manifest("tutorial", SCHEMAS["tutorial"])
WIDTH = len(MANIFEST.features)
STATE = RunState((0.0,) * WIDTH, (1.0,) * WIDTH, row_count=8, fraud_count=2, weight_scale=1.0)  # odds (2 + 1) / (6 + 1)
NOTHING = np.zeros(MANIFEST.parameter_count, np.float32)


def written(folder: Path, rows: int, width: int = WIDTH) -> Path:
    path, labels = folder / "holdout.npz", np.arange(rows) == 0
    np.savez(path, features=np.zeros((rows, width)), labels=labels)
    return path


def test_a_model_of_zeros_scores_every_row_0(tmp_path: Path) -> None:
    holdout = Holdout(written(tmp_path, 3), MANIFEST)
    (logits, legitimate, fraud), scores = holdout.scored(MANIFEST, STATE, NOTHING, logit_adjustment=False)
    assert (logits.tolist(), legitimate.tolist(), fraud.tolist()) == ([0.0], [2], [1])
    assert scores == scores_from_counts(logits, legitimate, fraud)


def test_with_logit_adjustment_it_scores_every_row_the_pooled_log_odds(tmp_path: Path) -> None:
    (logits, *_), _ = Holdout(written(tmp_path, 3), MANIFEST).scored(MANIFEST, STATE, NOTHING, logit_adjustment=True)
    assert logits.tolist() == pytest.approx([np.log(3 / 7)])


def test_rows_are_standardised_by_the_run_state_that_is_asked_for_each_time(tmp_path: Path) -> None:
    weights, far = np.full(MANIFEST.parameter_count, 0.01, np.float32), replace(STATE, means=(9.0,) * WIDTH)

    def logits(holdout: Holdout, state: RunState) -> list[float]:
        counts, _ = holdout.scored(MANIFEST, state, weights, logit_adjustment=False)
        return list(counts[0])

    holdout = Holdout(written(tmp_path, 3), MANIFEST)
    asked = [logits(holdout, state) for state in (STATE, far, STATE)]
    assert asked[0] == asked[2] != asked[1] == logits(Holdout(written(tmp_path, 3), MANIFEST), far)


def test_a_hold_out_of_other_columns_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, 3, WIDTH + 1)
    with pytest.raises(Misconfigured, match=rf"^a hold-out must have {WIDTH} columns and as many labels as rows, got "):
        Holdout(path, MANIFEST)


def test_a_file_that_is_no_hold_out_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "holdout.npz"
    path.write_text("amount,label\n")
    with pytest.raises(Misconfigured, match=r"^HOLDOUT_FILE must be an .npz of features and labels: "):
        Holdout(path, MANIFEST)
