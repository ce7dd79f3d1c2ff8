"""The report by template: complete on its own, and plain about what is bad."""

from typing import Any

import pytest

from fedfraud import wire
from fedfraud.build import build
from fedfraud.fixed_point import Segment
from fedfraud.metrics import CurvePoint
from fedfraud.v1 import history_pb2
from services.reporter import grounding, html, markdown, model_card, summary
from services.reporter.choice import SECTIONS
from services.reporter.facts import RunFacts
from services.reporter.report import Written, compose
from services.reporter.sentences.candidates import offered
from tests.services.reporter.figures import figures_of_its_own, strays, visible
from tests.services.reporter.journals import (
    FAILED,
    FINAL,
    PREPARING,
    RUN,
    STOPPED,
    Journal,
    scores,
    two_banks,
    with_central,
)
from tests.services.reporter.states import CURVE, FIT, STATES, of_payments, texts

HEADINGS = ["## Executive summary", "## Metric interpretation", "## Risks", "## Next steps"]


def render(run: RunFacts, written: Written | None = None, note: str = "") -> str:
    return markdown.render(compose(run, written, note))


def sections(text: str) -> dict[str, str]:
    parts = text.split("\n## ")[1:]
    return {part.split("\n")[0]: part for part in parts}


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


def test_the_bank_that_loses_is_named_in_the_summary_the_risks_and_the_next_steps() -> None:
    parts = sections(render(two_banks().facts()))
    assert "1 gains by the federation (bank-01); **1 loses by it: bank-02 (-0.200)**" in parts["Executive summary"]
    assert "worse than the bank's own, on the bank's rows, for bank-02 (-0.200)." in parts["Risks"]
    assert "Let bank-02 use the bank's own model" in parts["Next steps"]
    assert "| bank-02 | 2,000 | 5.00 % | 0.800 | 0.600 | -0.200 | 0.800 | 0.700 |" in parts["Executive summary"]


def test_a_loss_that_the_hold_out_contradicts_asks_for_more_rows_first() -> None:
    journal = two_banks()
    for entry in journal.entries:
        if entry.contribution_accepted.seat == "bank-02":
            entry.contribution_accepted.disclosure.alone_holdout = 0.4
    steps = sections(render(journal.facts()))["Next steps"]
    assert "Measure bank-02 on more rows" in steps
    assert "own model" not in steps


def test_a_run_that_flags_nothing_says_so_plainly() -> None:
    parts = sections(render(two_banks("tutorial", (0.02, 0.03, 0.06), flagged=0).facts()))
    assert "**nothing is flagged**" in parts["Executive summary"]
    assert "too weakly to rely on" in parts["Executive summary"]
    assert "At probability 0.5 nothing is flagged" in parts["Metric interpretation"]
    assert "Nothing is flagged at probability 0.5" in parts["Risks"]
    assert "recipe `default`" in parts["Next steps"]
    assert "Do not deploy" in parts["Next steps"]


def test_a_federation_that_is_worse_than_being_alone_says_so() -> None:
    journal = two_banks()
    assert "do better alone" not in render(journal.facts())
    for entry in journal.entries:
        if entry.HasField("contribution_accepted"):
            entry.contribution_accepted.disclosure.federated_holdout = 0.15
    risks = sections(render(journal.facts()))["Risks"]
    assert "On average the banks do better alone: federated minus alone is -0.400 in average precision on the" in risks


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


def test_banks_without_a_comparison_are_told_apart_by_the_answers_that_were_missing() -> None:
    four = [f"bank-{number:02d}" for number in (1, 2, 3, 4)]
    journal = Journal().started(rounds=1).opened(1, four)
    journal.committed(1, 1, ["bank-01", "bank-02", "bank-03"], holdout=scores(0.5)).opened(2, four[:3])
    journal.accepted(2, "bank-01", alone=0.4, federated=0.5).accepted(2, "bank-02", federated=0.5)
    journal.committed(2, 2, ["bank-01", "bank-02"], FINAL, holdout=scores(0.5)).finished()
    assert (
        "Not known whether bank-02 gains: no time to train alone in the final round, or not disclosed; "
        "whether bank-03 gains: no answer in the final round, in which banks compare; "
        "whether bank-04 gains: not asked in the final round, in which banks compare."
    ) in sections(render(journal.facts()))["Risks"]


def test_a_bank_whose_rows_define_no_comparison_is_told_apart_from_one_that_is_silent() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02", "bank-03"])
    hidden: dict[str, Any] = {
        "alone_holdout": 0.1,
        "federated_holdout": 0.7,
    }  # and nothing on its own rows, which have one fraud
    journal.accepted(1, "bank-01", row_count=1000, fraud_rate=0.001, **hidden).accepted(1, "bank-02", **hidden)
    journal.accepted(1, "bank-03").committed(1, 2, ["bank-01", "bank-02", "bank-03"], FINAL, holdout=scores(0.7))
    risks = sections(render(journal.finished().facts()))["Risks"]
    assert (
        "Not known whether bank-01 gains: no frauds among the bank's validation rows, so average precision is not "
        "defined there; whether bank-02 gains: a single class among the bank's validation rows, so average precision "
        "is not defined there; whether bank-03 gains: not disclosed."
    ) in risks


def test_who_gains_who_loses_who_is_as_before_and_who_is_unknown_add_up_to_the_banks() -> None:
    figures = {"01": (0.5, 0.6), "02": (0.5, 0.7), "03": (0.5, 0.5004), "04": (0.5, 0.4996), "05": (0.6, 0.5)}
    seats = [f"bank-{number}" for number in (*figures, "06")]
    journal = Journal().started(rounds=1).opened(1, seats)
    for number, (alone, federated) in figures.items():
        journal.accepted(1, f"bank-{number}", alone=alone, federated=federated)
    run = journal.accepted(1, "bank-06").committed(1, 2, seats, FINAL, holdout=scores(0.7)).finished().facts()
    final = run.final
    assert (final.banks_gaining, final.banks_unchanged, final.banks_losing, final.banks_uncompared) == (2, 2, 1, 1)
    assert (
        "Of 5 banks that disclose both figures on own rows, 2 gain by the federation (bank-02, bank-01); 2 are as "
        "before at the printed precision (bank-03, bank-04); **1 loses by it: bank-05 (-0.100)**; of 1 it is not known "
        "(bank-06)."
    ) in render(run)


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


def test_banks_that_disclose_nothing_are_dashes_and_nobody_is_said_to_gain() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    facts = journal.committed(1, 1, ["bank-01", "bank-02"], holdout=scores(0.5)).finished().facts()
    text = render(facts)
    assert "| bank-01 | – | – | – | – | – | – | – |" in text
    assert "Nobody can say of any bank whether it gains on its own rows: the run ended before the final round" in text
    assert "No bank discloses how" not in text
    assert "can disclose how" not in text, "nobody is asked for what there was no time to compute"
    assert "Not known whether bank-01, bank-02 gain: the run ended before" in text


def test_banks_are_asked_for_what_they_may_have_kept_to_themselves_alone() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    journal.accepted(1, "bank-01", row_count=900, fraud_rate=0.0).accepted(1, "bank-02", row_count=900, fraud_rate=0.1)
    journal.committed(1, 2, ["bank-01", "bank-02"], FINAL, holdout=scores(0.5)).finished()
    parts = sections(render(journal.facts()))
    assert "Ask whether bank-02 can disclose how it fares alone and federated." in parts["Next steps"]
    assert (
        "Nobody can say of any bank whether it gains on its own rows. Not known whether bank-01 gains: no frauds among "
        "the bank's validation rows, so average precision is not defined there; whether bank-02 gains: not disclosed."
    ) in parts["Executive summary"]
    silent = Journal().started(rounds=1).opened(1, ["bank-01"]).accepted(1, "bank-01")
    silent.committed(1, 2, ["bank-01"], FINAL, holdout=scores(0.5)).finished()
    assert "No bank discloses how it fares alone and federated on its own rows, so nobody" in render(silent.facts())


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
    journal = two_banks(precisions=(0.02, 0.7, 0.5))
    for entry in journal.entries:
        if entry.contribution_accepted.seat == "bank-01":
            entry.contribution_accepted.disclosure.row_count = 400  # 10 frauds
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


def test_a_loss_that_the_hold_out_denies_is_measured_again_and_no_condition_to_stay_alone() -> None:
    journal = two_banks()
    for entry in journal.entries:
        if entry.contribution_accepted.seat == "bank-02":
            entry.contribution_accepted.disclosure.alone_holdout = 0.4
    summary = sections(render(journal.facts()))["Executive summary"]
    assert "- A loss on own rows, bank-02 (-0.200), is measured on more rows: the hold-out denies it." in summary
    assert "keeps its own model" not in summary


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (two_banks(precisions=(0.02, 0.05, 0.06)).facts(), "the model ranks fraud too weakly"),
        (Journal().started().finished(FAILED).facts(), "the run failed; no model was measured"),
    ],
)
def test_a_bad_run_is_not_recommended_and_the_reason_is_given(run: RunFacts, why: str) -> None:
    assert f"Recommended: **do not deploy**, as {why}." in render(run)


def test_banks_that_do_better_alone_are_a_reason_not_to_deploy() -> None:
    journal = two_banks()
    for entry in journal.entries:
        if entry.HasField("contribution_accepted"):
            entry.contribution_accepted.disclosure.federated_holdout = 0.1
    assert "**do not deploy**, as on average the banks do as well or better alone." in render(journal.facts())


def test_the_central_model_is_a_line_of_the_comparison_where_there_is_one() -> None:
    run = two_banks().facts()
    assert "All rows in one place" not in render(run)
    text = render(with_central(run, 0.8))
    assert "| All rows in one place, hold-out | – | 0.800 | – |" in text
    assert "Federated minus all rows in one place, on the public hold-out: -0.100 in average precision." in text


def elsewhere(run: RunFacts, **rows: int) -> RunFacts:
    """The run with a central model that is ahead by 0.1, of other rows."""
    run = with_central(run, 0.8)
    assert run.final.central is not None
    run.final.central = run.final.central.model_copy(update=rows)
    return summary.complete(run, run.rounds[-1])


@pytest.mark.parametrize(
    ("rows", "judged"),
    [
        ({"row_count": 1500}, "judged on 1,500 rows, 20 of them fraud"),
        ({"fraud_count": 25}, "judged on 1,000 rows, 25 of them fraud"),
    ],
)
def test_a_central_model_that_was_judged_on_other_rows_is_not_compared(rows: dict[str, int], judged: str) -> None:
    run = elsewhere(two_banks().facts(), **rows)
    assert run.final.against_central is None
    assert run.derived is not None
    assert run.derived.change.central is None
    text = render(run)
    said = f"{judged}, the federated model on 1,000, 20 of them fraud: no comparison."
    parts = sections(text)
    assert said in parts["Executive summary"]
    assert said in parts["Metric interpretation"]
    for words in ("All rows in one place,", "Federated minus all rows", "behind it", "costs", "ranks better", "Weigh"):
        assert words not in text, words
    assert strays(text, run) == []
    assert said in model_card.render(run, logit_adjustment=False)


def test_facts_that_compared_other_rows_are_not_read_as_a_comparison() -> None:
    run = with_central(two_banks().facts(), 0.8)
    assert run.final.central is not None
    run.final.central.row_count = 1500  # against_central is as an older version left it
    text = render(run)
    assert "judged on 1,500 rows" in text
    for words in ("behind it by", "what it costs here", "ranks better"):
        assert words not in text, words


def test_noise_that_banks_may_have_added_to_their_counts_is_not_denied() -> None:
    plain, counted = two_banks().facts(), of_payments()
    assert "No noise was added to what banks sent" in render(plain)
    assert "No noise was added to what banks sent" in model_card.render(plain, logit_adjustment=False)
    said = "a bank may add noise to its counts of merchants by its own setting, which it tells nobody."
    for text in (render(counted), model_card.render(counted, logit_adjustment=False)):
        assert said in text
        assert "No noise was added" not in text
    assert said not in render(plain)


def test_a_loss_against_central_is_not_laid_to_the_rows_alone_where_counts_may_have_noise() -> None:
    counted = of_payments()
    assert counted.final.pooled is not None
    counted.final.central = counted.final.pooled.model_copy(update={"average_precision": 0.45})
    counted = summary.complete(counted, counted.rounds[-2])
    noisy = ", noise that banks may have added to their counts included."
    text = render(counted)
    assert f"leave the rows where they are{noisy}" in text
    assert f"the price of leaving the rows where they are, in this run{noisy}" in text
    plain = render(with_central(two_banks().facts(), 0.8))
    assert "what it costs here to leave the rows where they are." in plain
    assert noisy not in plain


@pytest.mark.parametrize(
    ("expected", "answer", "said"),
    [
        (1, ["bank-01", "bank-02"], "2 of 2 banks took part; "),
        (3, ["bank-01", "bank-02"], "2 of 3 expected banks took part; "),
        (3, ["bank-01"], "1 of 3 expected banks took part, 2 were asked; "),
    ],
)
def test_banks_that_were_expected_and_never_came_are_counted(expected: int, answer: list[str], said: str) -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"])
    journal.entries[0].run_started.expected_bank_count = expected
    for seat in answer:
        journal.accepted(1, seat)
    run = journal.committed(1, 1, answer, holdout=scores(0.5)).finished().facts()
    assert said in sections(render(run))["Executive summary"]


@pytest.mark.parametrize(
    ("central", "said", "meant", "risk"),
    [
        (0.8, "behind it by 0.100", "what it costs here", "ranks better by 0.100 in average precision"),
        (
            0.6,
            "ahead of it by 0.100",
            "would not have ranked better",
            "Central, with 0.600 no better here, is no bound",
        ),
        (0.7003, "0.700: neither is ahead at the printed precision", "costs nothing", "is no bound"),
    ],
)
def test_which_side_is_ahead_of_the_other_is_said_in_the_summary_the_reading_and_the_risks(
    central: float, said: str, meant: str, risk: str
) -> None:
    run = with_central(two_banks().facts(), central)
    parts = sections(render(run))
    assert said in parts["Executive summary"]
    assert said in parts["Metric interpretation"]
    assert meant in parts["Metric interpretation"]
    assert risk in parts["Risks"]
    assert strays(render(run), run) == []
    for names in (["summary.chance"], ["summary.central", "summary.chance"]):
        summary = sections(render(run, chosen(run, executive_summary=names)))["Executive summary"]
        assert summary.count(said) == 1, "whoever chooses, and once"
    assert "Central" not in render(two_banks().facts())


def test_the_lineage_ties_the_page_to_the_journal() -> None:
    parts = sections(render(two_banks().facts()))["Next steps"]
    assert f"| Code's version | {build().version} |" in parts
    assert f"| Code's commit | {build().commit} |" in parts
    for line in (f"| Run | {RUN} |", f"| Model's hash | {'03' * 32} |", "| Seed | 7 |", "| Recipe | default |"):
        assert line in parts
    assert "| Recipe: weight rule | sqrt\\_fraud |" in parts
    assert "| Fraud operations |  |  |  |" in parts


def test_the_last_line_says_who_wrote() -> None:
    text = render(two_banks().facts())
    assert text.splitlines()[-1].startswith("Narrative by template. Every figure ")
    noted = render(two_banks().facts(), note="the API could not be reached")
    assert "Narrative by template: the API could not be reached." in noted


def chosen(run: RunFacts, **names: list[str]) -> Written:
    """What comes of a choice that passed the check."""
    known = offered(run)
    sections = {section: tuple(known[name] for name in found) for section, found in names.items()}
    return Written(sections, "gpt-5.2", "" if len(sections) == 4 else "the model would not", len(known))


RISKS = ["risks.no_noise", "risks.losing", "risks.visible"]


def test_what_a_model_chose_stands_first_and_the_rest_of_what_was_seen_after_it() -> None:
    run = two_banks(precisions=(0.02, 0.7, 0.5)).facts()
    made = render(run, chosen(run, risks=RISKS))
    lines = sections(made)["Risks"].splitlines()[2:7]
    assert [line[:30] for line in lines] == [
        "- No noise was added to what b",
        "- The federated model is worse",
        "- Aggregation is plain: single",
        "",
        "Seen in this run besides:",
    ]
    assert made.count("is worse than the bank's own, on the bank's rows, for bank-02") == 1, "nothing is said twice"
    assert "is worse than that of round 1" in sections(made)["Risks"], "and nothing that was seen is lost"


def test_the_page_says_which_sections_a_model_chose_and_what_the_check_found() -> None:
    run = two_banks().facts()
    text = render(run, chosen(run, risks=RISKS, executive_summary=["summary.losing", "summary.chance"]))
    assert "1 loses by the federation: bank-02 (-0.200). By average precision on the public hold-out, the" in text
    assert "times as good as chance" in sections(text)["Metric interpretation"], "the template writes the others"
    assert "Chosen by the model gpt-5.2: sentences under Executive summary, Risks." in text
    assert f"its 5 sentences, with 7 figures, are among the {len(offered(run))} that code made of the facts" in text
    assert "By template: Metric interpretation, Next steps: the model would not." in text


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_every_text_of_every_report_has_its_figures_by_key_alone(run: RunFacts) -> None:
    names = offered(run)
    every = chosen(run, **{section: [n for n, one in names.items() if one.section == section] for section in SECTIONS})
    for made in (compose(run), compose(run, every)):
        assert [(text, found) for text in made.document.texts() if (found := figures_of_its_own(text))] == []
        assert {key for text in made.document.texts() for key in grounding.keys(text)} <= set(made.facts)


@pytest.mark.parametrize("run", STATES.values(), ids=STATES)
def test_every_number_of_the_report_is_found_in_the_facts_at_its_precision(run: RunFacts) -> None:
    names = offered(run)
    every = chosen(run, **{section: [n for n, one in names.items() if one.section == section] for section in SECTIONS})
    for written in (Written(), every):
        made = compose(run, written)
        counted = {name: made.facts[f"narrative.{name}"].text for name in ("sentences", "figures", "offered")}
        others = (
            written.model,
            f"its {counted['sentences']} sentences, with {counted['figures']} figures",
            f"among the {counted['offered']} that code made",
        )
        assert strays(markdown.render(made), run, *others) == []
        page = visible(html.render(made))
        assert strays(page.text, run, *others) == []


def test_a_number_that_is_in_no_fact_would_be_found() -> None:
    run = two_banks().facts()
    assert strays("It reaches 0.700 and 0.701, 98.50 % and 98.51 %, +0.150 and -0.150.", run) == [
        "0.701",
        "98.51 %",
        "-0.150",
    ]


def test_no_fact_can_inject_mark_up_into_either_form() -> None:
    evil = "x <img src=x onerror=alert(1)> [a](javascript:1) https://x.y | # **b** {{run.seed}} </p><script>"
    journal = two_banks().refused("bank-02", evil)
    journal.entries.insert(-2, journal.entries.pop())
    journal.entries[-1].run_finished.reason = evil
    made = compose(journal.facts())
    text = markdown.render(made)
    assert not [mark for mark in ("<img", "<script", "[a](", "https://x", "**b**") if mark in text]
    page = visible(html.render(made))
    assert {"img", "script"} & set(page.tags) == set()
    assert evil in "".join(page.words)


def test_the_report_is_the_same_from_facts_that_were_read_again() -> None:
    facts = two_banks().facts()
    assert render(RunFacts.from_json(facts.to_json())) == render(facts)


def test_a_further_run_of_a_network_changes_from_the_first_model_that_it_measured() -> None:
    """Its run state is the first run's, so that nothing measures the model that it began with."""
    journal = Journal().started().opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], holdout=scores(0.5))
    journal.opened(2, ["bank-01"]).committed(2, 2, ["bank-01"], holdout=scores(0.6)).finished()
    text = render(journal.facts())
    assert "Average precision changed by +0.100 from the first measured model to the last" in text
    assert "initial model" not in text


def test_banks_that_never_answered_are_no_part_of_what_was_learned() -> None:
    seats = ["bank-01", "bank-02", "bank-03"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", alone=0.4, federated=0.5)
    run = journal.committed(1, 1, ["bank-01"], holdout=scores(0.5)).finished().facts()
    text = render(run)
    assert "1 of 3 banks took part; population tutorial" in text
    assert "In all 1 contribution and 0.00 megabytes, of 1 bank; keys" in text
    assert "It was trained by federated averaging at 1 bank in 1 training round" in model_card.render(
        run, logit_adjustment=False
    )
    assert texts(run)["summary.rounds"].endswith("3 banks were asked to take part.")
    assert texts(run)["summary.most"].startswith("Of the banks that compare, none gains more by the federation than")
    assert "Of 1 bank that discloses both figures on own rows, 1 gains by the federation (bank-01)" in text


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
