"""Sentences of the next steps; those that the template prints are read in the tests of the report."""

from services.reporter.sentences.candidates import candidates
from tests.services.reporter.journals import two_banks
from tests.services.reporter.states import STATES, texts, whole

MADE = texts(whole())


def test_a_step_has_its_cause_and_its_figure() -> None:
    assert MADE["steps.budget"].endswith("on the public hold-out, recall is 20.0 %.")
    assert "is below 0.630, a loss of 10 % on this run's" in MADE["steps.trigger"]
    assert "-0.100 in average precision" in MADE["steps.central"]
    assert "steps.central" not in texts(two_banks().facts())
    assert "steps.disclose" not in texts(STATES["troubled"]), "the run ended before banks compare"
    assert texts(STATES["pooled alone"])["steps.more_rows"].startswith("Measure over a longer time at bank-01:")


def test_aggregation_is_kept_or_set() -> None:
    assert MADE["steps.aggregation"].startswith("Keep to secure aggregation")
    assert texts(two_banks().facts())["steps.aggregation"].startswith("Before real transactions, use secure")
    run = two_banks().facts()
    run.run.aggregation = "unknown"
    assert texts(run)["steps.aggregation"].startswith("Use secure aggregation")


def test_what_follows_from_the_runs_end_and_refusals_is_never_offered() -> None:
    made = {one.name: one for one in candidates(STATES["troubled"])}
    for name in ("steps.ending", "steps.refused"):
        assert (made[name].standing, made[name].offered) == (True, False)
    assert texts(STATES["stopped"])["steps.ending"].startswith("Start another run")
    assert "steps.ending" not in MADE


def test_a_loss_asks_for_the_banks_own_model_and_stands() -> None:
    [one] = [one for one in candidates(whole()) if one.name == "steps.losing"]
    assert (one.must, one.standing) == (True, True)
    assert MADE["steps.losing"].startswith("Let bank-02 use the bank's own model")
