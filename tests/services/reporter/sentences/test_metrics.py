"""Sentences of the metric interpretation."""

from services.reporter.sentences.metrics import MOST_BANKS
from tests.services.reporter.states import STATES, texts, whole

MADE = texts(whole())


def test_each_metric_is_read_as_the_template_reads_it() -> None:
    names = {
        "metrics.precision",
        "metrics.auc",
        "metrics.flagged",
        "metrics.loss",
        "metrics.accuracy",
        "metrics.central",
    }
    assert names <= set(MADE)
    assert MADE["metrics.auc"].startswith("**AUROC** is 0.900")


def test_budgets_and_calibration_are_those_of_the_curve() -> None:
    assert MADE["metrics.budget.2"] == (
        "Within a budget of 5 alerts in 1,000 transactions, on the public hold-out: alerts 5, frauds among them 4, "
        "false alarms 1; precision 80.0 %, recall 20.0 %."
    )
    assert MADE["metrics.calibration.highest"] == (
        "Among the highest scores on the public hold-out (transactions: 10) the model expects a share of 75.00 % to be "
        "fraud, and 60.00 % are: there the model expects more fraud than there is."
    )
    assert "there the model expects less fraud than there is" in MADE["metrics.calibration.lowest"]


def test_the_federated_model_is_held_against_the_best_of_the_banks_own() -> None:
    assert "a average" not in MADE["metrics.best_alone"]
    assert MADE["metrics.best_alone"].endswith("0.800, the federated model 0.700: behind the best of them.")


def test_banks_are_told_one_by_one_those_first_to_whom_it_matters_most() -> None:
    assert MADE["metrics.bank.1"] == (
        "At bank-02, on own rows, average precision is 0.800 alone and 0.600 with the federated model, a difference of "
        "-0.200; on the hold-out, average precision is 0.800 alone and 0.700 with the federated model, a difference of "
        "-0.100."
    )
    made = texts(STATES["a hundred banks"])
    assert sum(name.startswith("metrics.bank.") for name in made) == MOST_BANKS


def test_what_was_not_measured_or_is_not_defined_is_said() -> None:
    assert texts(STATES["failed at once"])["metrics.none"] == "No model was measured, so there is no metric to read."
    made = texts(STATES["one class"])
    assert "a single class only" in made["metrics.undefined"]
    assert "metrics.precision" not in made
    assert "on all banks' validation rows" in texts(STATES["pooled alone"])["metrics.precision"]
