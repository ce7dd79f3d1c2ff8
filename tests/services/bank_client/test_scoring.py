"""A kept model scores as training evaluates, one row or many, and decides at the bank's threshold."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Misconfigured
from fedfraud.manifest import Manifest
from fedfraud.model import calibrated_logits, initial_vector
from services.bank_client.kept_model import KeptModel
from services.bank_client.scoring import Scorer
from tests.services.bank_client.scoring_banks import TABLE, THRESHOLD, kept_of, state

ROWS = np.random.default_rng(7).normal(size=(1_000, 30)) * 3 + 1


def kept() -> KeptModel:
    return kept_of(TABLE, state(TABLE, ROWS.mean(axis=0), ROWS.std(axis=0)), 3 * initial_vector(TABLE, 7))


@pytest.mark.parametrize("adjusted", [True, False])
def test_scores_are_those_of_an_evaluation_to_a_millionth(adjusted: bool) -> None:
    model = replace(kept(), logit_adjustment=adjusted)
    evaluated = calibrated_logits(TABLE, model.run_state, model.vector, ROWS, logit_adjustment=adjusted)
    probabilities = 1 / (1 + np.exp(-evaluated.astype(np.float64)))
    scores = Scorer(model).score(ROWS, 0)
    assert np.abs(scores.probabilities - probabilities).max() < 1e-6
    assert scores.probabilities.std() > 0.01


def test_a_row_alone_has_the_score_and_reasons_that_it_has_among_many() -> None:
    scorer = Scorer(kept())
    many = scorer.score(ROWS, 3)
    for place in range(0, 1_000, 50):
        one = scorer.score(ROWS[place : place + 1], 3)
        assert abs(one.logits[0] - many.logits[place]) < 1e-12
        assert [reason.name for reason in one.reasons[0]] == [reason.name for reason in many.reasons[place]]


def test_all_reasons_add_up_to_the_logit_less_that_of_a_usual_row() -> None:
    scorer, means = Scorer(kept()), np.array([kept().run_state.means])
    usual = scorer.score(means, 0).logits[0]
    scores = scorer.score(ROWS[:50], 100)
    for logit, reasons in zip(scores.logits, scores.reasons, strict=True):
        assert sum(reason.weight for reason in reasons) == pytest.approx(logit - usual, abs=1e-9)


def test_what_is_at_the_threshold_or_a_hundred_thousandth_below_is_an_alert() -> None:
    logits = Scorer(kept()).score(ROWS, 0).logits
    for below, alert in ((-0.1, True), (0.0, True), (0.9e-5, True), (2e-5, False)):
        threshold = replace(THRESHOLD, logit=float(logits[0]) + below)
        model = replace(kept(), variants=(replace(kept().scoring, threshold=threshold),))
        alerts = Scorer(model).score(ROWS[:1], 0).alerts
        assert alerts is not None
        assert alerts.tolist() == [alert]


def test_without_a_threshold_there_is_no_decision_and_without_reasons_none() -> None:
    model = replace(kept(), variants=(replace(kept().scoring, threshold=None),))
    scores = Scorer(model).score(ROWS, 0)
    assert scores.alerts is None
    assert scores.reasons == []


def test_a_model_of_features_that_this_version_does_not_know_is_refused() -> None:
    manifest = Manifest("tutorial", TABLE.features[::-1])
    with pytest.raises(Misconfigured, match="must have the features of 'tutorial' as this version knows them"):
        Scorer(kept_of(manifest, kept().run_state, initial_vector(manifest, 7)))
