"""The report by template: complete on its own, and plain about what is bad."""

import pytest

from fedfraud import wire
from fedfraud.build import build
from fedfraud.fixed_point import Segment
from fedfraud.metrics import CurvePoint
from fedfraud.v1 import history_pb2
from services.reporter import model_card
from services.reporter.facts import RunFacts
from tests.services.reporter.journals import FAILED, FINAL, PREPARING, RUN, STOPPED, Journal, scores, two_banks
from tests.services.reporter.reports import render, sections
from tests.services.reporter.states import CURVE, FIT, of_payments, texts

HEADINGS = ["## Executive summary", "## Metric interpretation", "## Risks", "## Next steps"]


def test_a_report_has_the_four_headings_in_order() -> None:
    text = render(two_banks().facts())
    assert [line for line in text.splitlines() if line.startswith("## ")] == HEADINGS


def test_the_verdict_puts_average_precision_beside_the_prevalence() -> None:
    summary = sections(render(two_banks().facts()))["Executive summary"]
    assert "**The model ranks fraud well**: average precision 0.700 on the public hold-out" in summary
    assert "a model without skill has 0.0200" in summary
    assert "The run finished with 2 of 2 training rounds committed." in summary
    assert "Alone, 2 banks that disclose both figures reach average precisions of 0.300 to 0.800 on the" in summary


def test_each_metric_is_read_with_this_runs_figure() -> None:
    text = sections(render(two_banks().facts()))["Metric interpretation"]
    assert "0.700 on the public hold-out; the prevalence" in text
    assert "35.0 times as good as chance" in text  # 0.7 / 0.02
    assert "**AUROC** is 0.900: the chance that a fraud has a higher score than a legitimate transaction" in text
    assert "the model flags 15 of 1,000 transactions; 20 of all of them are fraud" in text
    assert "**Log loss** is 0.0500 nats; always answering the prevalence gives 0.0980, a difference of -0.0480" in text
    assert "**Accuracy** is 98.50 %, and calling every transaction legitimate has 98.00 %" in text


def test_the_rounds_are_listed_with_the_scores_of_the_model_that_each_produced() -> None:
    text = render(two_banks().facts())
    assert "| preparing | committed | 2 of 2 | 0.25 | 0.020 | 0.900 | 0.020 | 0.900 |" in text
    assert "| 2 | committed | 2 of 2 | 0.25 | 0.700 | 0.900 | 0.600 | 0.900 |" in text
    assert "| 3 (evaluate only) | committed | 2 of 2 | 0.25 | 0.700 | 0.900 | 0.600 | 0.900 |" in text


def test_a_run_that_flags_nothing_says_so_plainly() -> None:
    parts = sections(render(two_banks("tutorial", (0.02, 0.03, 0.06), flagged=0).facts()))
    assert "**nothing is flagged**" in parts["Executive summary"]
    assert "too weakly to rely on" in parts["Executive summary"]
    assert "At probability 0.5 nothing is flagged" in parts["Metric interpretation"]
    assert "Nothing is flagged at probability 0.5" in parts["Risks"]
    assert "recipe `default`" in parts["Next steps"]
    assert "Do not deploy" in parts["Next steps"]


def test_a_ranking_like_chance_detects_no_fraud() -> None:
    text = render(two_banks("tutorial", (0.02, 0.02, 0.03), flagged=0).facts())
    assert "**The model does not detect fraud**" in text


def test_a_run_that_flags_something_does_not_speak_of_nothing() -> None:
    text = render(two_banks().facts())
    assert "nothing is flagged" not in text.lower()
    assert "Do not deploy" not in text


def test_a_failed_run_without_a_round_still_gets_a_report() -> None:
    facts = Journal().started().finished(FAILED, "three rounds in a row were <void>").facts()
    text = render(facts)
    assert [line for line in text.splitlines() if line.startswith("## ")] == HEADINGS
    assert "**The run failed after 0 of 2 training rounds.** **There is no measured model" in text
    assert "The run failed with 0 of 2 training rounds committed: three rounds in a row were &lt;void>." in text
    assert "No bank took part." in text
    assert "Mend what made the run fail" in text


def test_a_stopped_run_is_judged_by_the_last_model_that_was_measured() -> None:
    journal = Journal().started(rounds=9).opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.02))
    journal.opened(3, ["bank-01"]).committed(3, 2, ["bank-01"], pooled=scores(0.4))
    text = render(journal.finished(STOPPED, "an operator stopped it").facts())
    assert "The run stopped with 2 of 9 training rounds committed: an operator stopped it." in text
    assert "\n**The run stopped after 2 of 9 training rounds.** **The model is useful" in text
    assert "average precision 0.400 on the rows that scored the model of round 1, the last that was scored" in text
    assert "Start another run" in text


def test_a_failed_run_says_so_before_it_says_that_the_model_is_good() -> None:
    journal = Journal().started(rounds=9).opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], holdout=scores(0.7))
    text = render(journal.finished(FAILED, "three rounds in a row were void").facts())
    summary = sections(text)["Executive summary"].split("\n\n")[1]
    assert summary.startswith("**The run failed after 1 of 9 training rounds.** **The model ranks fraud well**: ")
    assert "Not known whether bank-01 gains: the run ended before the final round, in which banks compare." in text


def test_a_round_without_a_result_names_whom_it_waited_for() -> None:
    journal = Journal().started().opened(1, ["bank-01", "bank-02"]).void(1, 1, ["bank-01"], "1 answered, 2 are needed")
    risks = sections(render(journal.finished(FAILED).facts()))["Risks"]
    assert "Training round 1 was void, where answers were missing (bank-02: no answer in time)." in risks


def test_a_round_that_too_few_were_ready_for_says_so_and_who_was_absent() -> None:
    journal = Journal()
    for number in (1, 2, 3):
        issued = history_pb2.CertificateIssued(seat=f"bank-{number:02d}")
        journal.add(certificate_issued=issued)
    journal.add(lease_granted=history_pb2.LeaseGranted(seat="bank-01", fencing_number=1)).started()
    reason = "1 bank is ready, 2 are needed"
    run = journal.opened(1, ["bank-01"]).void(1, 1, ["bank-01"], "").void(2, 2, [], reason).finished(FAILED).facts()
    assert run.rounds[1].absent == ["bank-02", "bank-03"]
    risks = sections(render(run))["Risks"]
    assert f"Training round 2 was void: {reason} (absent: bank-02, bank-03)." in risks
    assert "Training round 1 was void: why is not known (absent: bank-02, bank-03)." in risks


@pytest.mark.parametrize(
    ("step", "segments", "name"),
    [
        (0, (Segment.COUNT,), "The counting round"),
        (0, PREPARING, "The preparing round"),
        (3, FINAL, "The final round"),
    ],
)
def test_a_round_without_a_result_is_called_what_it_is(step: int, segments: tuple[Segment, ...], name: str) -> None:
    journal = Journal().started().opened(1, ["bank-01"]).void(1, step, [], "nobody answered")
    journal.entries[-1].round_void.segments[:] = wire.segments_to_proto(segments)
    risks = sections(render(journal.finished(FAILED).facts()))["Risks"]
    assert f"{name} was void, where answers were missing (bank-01: no answer in time)." in risks


def test_rows_of_one_class_give_no_verdict() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01"])
    text = render(journal.committed(1, 1, ["bank-01"], holdout=scores(None, flagged=0)).finished().facts())
    assert "**The model cannot be judged:** on the public hold-out there is a single class only" in text
    assert "**do not deploy**, as the model cannot be judged." in text
    assert "too weakly" not in text


def test_voids_missing_answers_and_refusals_become_risks_and_next_steps() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"]).void(1, 1, [], "nobody answered")
    journal.refused("bank-02", "weight must be 1 to 1048576, got [0](http://x)")
    journal.opened(2, ["bank-01", "bank-02"]).committed(2, 1, ["bank-01"], holdout=scores(0.5)).finished()
    parts = sections(render(journal.facts()))
    assert (
        "- 1 round had no result.\n"
        "- Training round 1 was void, where answers were missing (bank-01, bank-02: no answer in time).\n"
        "- 3 answers were missing (from bank-01, bank-02)."
    ) in parts["Risks"]
    assert "1 contribution was refused (the last: bank-02, INVALID\\_ARGUMENT, weight must be" in parts["Risks"]
    assert "got \\[0\\](http:// x)" in parts["Risks"]
    assert "Look at why rounds had no result" in parts["Next steps"]
    assert "Ask bank-02, bank-01 why answers were missing" in parts["Next steps"]
    assert "Check the clients of bank-02" in parts["Next steps"]


def test_plain_aggregation_is_a_risk_and_secure_aggregation_is_not() -> None:
    assert "visible to the aggregator" in render(two_banks().facts())
    assert "visible to the aggregator" not in render(two_banks(secure=True).facts())


def test_few_frauds_and_a_model_that_got_worse_are_risks() -> None:
    journal = two_banks(precisions=(0.02, 0.7, 0.5)).disclosing("bank-01", row_count=400)  # 10 frauds
    risks = sections(render(journal.facts()))["Risks"]
    assert "Fewer than 50 frauds at bank-01" in risks
    assert "The last model (0.500) is worse than that of round 1 (0.700)" in risks


def test_thresholds_are_options_by_budget_with_what_each_finds_and_costs() -> None:
    parts = sections(render(two_banks(curve=CURVE).facts()))
    assert "| 1 | 1 | 1 | 100.0 % | 5.0 % | 0 | +6.000 |" in parts["Metric interpretation"]
    assert "| 5 | 5 | 4 | 80.0 % | 20.0 % | 1 | +3.000 |" in parts["Metric interpretation"]
    assert "| 10 | 10 | 6 | 60.0 % | 30.0 % | 4 | +1.000 |" in parts["Metric interpretation"]
    assert "With 5 alerts in 1,000 transactions, on the public hold-out: 5 alerts, 80.0 %" in parts["Executive summary"]


def test_calibration_is_what_was_expected_beside_what_there_was() -> None:
    text = render(two_banks(curve=CURVE).facts())
    assert "| 10 | 75.00 % | 60.00 % |" in text
    assert "| 990 | 0.51 % | 1.41 % |" in text  # 5 and 14 of 990
    assert "### Calibration" not in render(two_banks().facts())


def test_a_recalibration_is_told_with_the_rows_that_it_was_fitted_on_and_those_that_it_was_not() -> None:
    said = render(two_banks(recalibration=FIT).facts())
    assert (
        "### Calibration\n\nRead as probabilities, the scores fit all banks' validation rows best with a slope of "
        in said
    )
    assert "a slope of 0.900 and an intercept of -0.250 on their log-odds." in said
    assert "would be 0.0482 instead of 0.0500, on the very rows that this was fitted on." in said
    assert "On the public hold-out, which it was not fitted on, it would be 0.0531 instead of 0.0500." in said
    assert "On the public hold-out, which it was not" not in render(of_payments())
    assert "would be 0.0499 instead of 0.0500" in render(of_payments())
    assert "Read as probabilities" not in render(two_banks(curve=CURVE).facts())


def test_a_good_run_is_recommended_as_a_pilot_with_conditions_that_the_facts_ask_for() -> None:
    summary = sections(render(two_banks(curve=CURVE).facts()))["Executive summary"]
    assert "Recommended: **a pilot beside the present systems**, under these conditions:" in summary
    assert "- bank-02 (-0.200) keeps its own model until a later run serves better." in summary
    assert "- Aggregation is secure before real transactions are used." in summary
    assert "- The run is repeated on the banks' real transactions: this population is made up." in summary
    assert "Aggregation is secure" not in sections(render(two_banks(secure=True).facts()))["Executive summary"]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (two_banks(precisions=(0.02, 0.05, 0.06)).facts(), "the model ranks fraud too weakly"),
        (Journal().started().finished(FAILED).facts(), "the run failed; no model was measured"),
    ],
)
def test_a_bad_run_is_not_recommended_and_the_reason_is_given(run: RunFacts, why: str) -> None:
    assert f"Recommended: **do not deploy**, as {why}." in render(run)


def test_noise_that_banks_may_have_added_to_their_counts_is_not_denied() -> None:
    plain, counted = two_banks().facts(), of_payments()
    assert "No noise was added to what banks sent" in render(plain)
    assert "No noise was added to what banks sent" in model_card.render(plain, logit_adjustment=False)
    said = "a bank may add noise to its counts of merchants by its own setting, which it tells nobody."
    for text in (render(counted), model_card.render(counted, logit_adjustment=False)):
        assert said in text
        assert "No noise was added" not in text
    assert said not in render(plain)


def test_the_lineage_ties_the_page_to_the_journal() -> None:
    parts = sections(render(two_banks().facts()))["Next steps"]
    assert f"| Code's version | {build().version} |" in parts
    assert f"| Code's commit | {build().commit} |" in parts
    for line in (f"| Run | {RUN} |", f"| Model's hash | {'03' * 32} |", "| Seed | 7 |", "| Recipe | default |"):
        assert line in parts
    assert "| Recipe: weight rule | sqrt\\_fraud |" in parts
    assert "| Fraud operations |  |  |  |" in parts


def test_a_further_run_of_a_network_changes_from_the_first_model_that_it_measured() -> None:
    """Its run state is the first run's, so that nothing measures the model that it began with."""
    journal = Journal().started().opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], holdout=scores(0.5))
    journal.opened(2, ["bank-01"]).committed(2, 2, ["bank-01"], holdout=scores(0.6)).finished()
    text = render(journal.facts())
    assert "Average precision changed by +0.100 from the first measured model to the last" in text
    assert "initial model" not in text


def test_one_alert_one_answer_and_one_false_alarm_are_said_in_the_singular() -> None:
    curve = (CurvePoint(6.0, 1, 0, 1.0), CurvePoint(-9.0, 100, 2, 2.0))
    journal = two_banks(curve=curve)
    text = render(journal.facts())
    assert "on the public hold-out: 1 alert, 0.0 % of them fraud, 0.0 % of all frauds found, 1 false alarm." in text
    assert "false alarms are 1 of 1 alert:" in texts(journal.facts())["risks.false_alarms"]
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"]).committed(1, 1, ["bank-01"])
    assert "1 answer was missing in the run" in render(journal.finished().facts())
    budget = texts(two_banks(curve=CURVE).facts())["metrics.budget.1"]
    assert budget.startswith("Within a budget of 1 alert in 1,000 transactions, on the public hold-out")
