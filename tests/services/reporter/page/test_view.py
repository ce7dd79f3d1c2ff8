"""What the page says in each state of things, and that text of others stays text."""

from typing import Any

import pytest

from fedfraud import wire
from fedfraud.build import build
from fedfraud.fixed_point import Segment
from fedfraud.metrics import CurvePoint
from fedfraud.v1 import history_pb2, masking_pb2
from services.reporter import summary
from services.reporter.facts import RunFacts, SeatState
from services.reporter.fold import Facts
from services.reporter.origin import Origin
from services.reporter.page import view
from services.reporter.page.archive import Beside
from services.reporter.page.view import Shown
from tests.services.reporter.figures import visible
from tests.services.reporter.journals import FAILED, FINAL, STOPPED, Journal, scores, two_banks, with_central
from tests.services.reporter.reports import render
from tests.services.reporter.states import of_payments, whole
from tests.services.reporter.test_attempt import FOUR, KEY, THREE, advertised, answered, masked, opened, shared

CURVE = (CurvePoint(2.0, 10, 8, 8.5), CurvePoint(-9.0, 1000, 20, 21.0))
THREE_BUDGETS = (CurvePoint(6.0, 1, 1, 1.0), CurvePoint(3.0, 5, 4, 4.5), CurvePoint(1.0, 10, 6, 7.5), CURVE[1])
HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(1)">'


def sections_of(run: RunFacts | None) -> dict[str, str]:
    return view.sections(Shown(connected=True, run=run))


def text_of(run: RunFacts | None, section: str) -> str:
    return text(sections_of(run)[section])


def text(html: str) -> str:
    return visible(html).text


def standing(journal: Journal, seats: dict[str, SeatState] | None = None) -> RunFacts | None:
    facts = Facts()
    for entry in journal.entries:
        facts.apply(entry)
    facts.seats |= seats or {}
    return facts.completed()


def test_before_the_journal_is_reached_the_page_says_that_it_looks_for_it() -> None:
    shown = Shown(connected=False, run=None)
    assert shown.state == "connecting"
    assert "Looking for the journal" in view.sections(shown)["verdict"]


def test_before_a_run_it_says_who_has_joined() -> None:
    shown = Shown(connected=True, run=None, seats={"bank-10": "present", "bank-02": "absent"})
    sections = view.sections(shown)
    assert shown.state == "waiting"
    assert "bank-02 is absent" in text(sections["verdict"])
    assert text(sections["banks"]).index("bank-02") < text(sections["banks"]).index("bank-10")


def test_during_a_run_it_says_which_round_and_how_good_the_model_is_so_far() -> None:
    journal = Journal().started(rounds=5).opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], holdout=scores(0.4))
    journal.opened(2, ["bank-01", "bank-02"]).accepted(2, "bank-01")
    journal.entries[-2].round_opened.step = 2
    shown = Shown(connected=True, run=standing(journal))
    sections = view.sections(shown)
    assert shown.state == "running"
    assert "Training round 2 of 5" in text(sections["verdict"])
    assert "average precision of 0.400" in text(sections["verdict"])
    assert "bank-01 answered" in text(sections["banks"])
    assert "bank-02 working" in text(sections["banks"])


def test_a_round_of_counters_is_called_that() -> None:
    journal = Journal().started().opened(1, ["bank-01"])
    journal.entries[-1].round_opened.segments[:] = wire.segments_to_proto((Segment.COUNT,))
    said = text_of(standing(journal), "verdict")
    assert "Preparing: the banks count payments by merchant" in said
    run = standing(journal.committed(1, 0, ["bank-01"], (Segment.COUNT,)))
    sections = sections_of(run)
    assert "counters committed 1 of 1" in text(sections["cost"])
    assert ">count<" in sections["cost"]


def test_after_a_round_without_a_result_it_says_so_and_why() -> None:
    journal = Journal().started().opened(1, ["bank-01", "bank-02"]).void(1, 1, ["bank-02"], "1 answered, 2 are needed")
    shown = Shown(connected=True, run=standing(journal))
    assert shown.state == "void"
    said = text(view.sections(shown)["verdict"])
    assert "The last round had no result. The model is as it was, and another round follows: 1 answered" in said


def test_banks_that_fell_silent_are_named_also_when_a_later_round_began_without_them() -> None:
    journal = Journal().started().opened(1, ["bank-01", "bank-02"]).accepted(1, "bank-01").accepted(1, "bank-02")
    journal.committed(1, 1, ["bank-01", "bank-02"]).opened(2, ["bank-01", "bank-02"]).accepted(2, "bank-01")
    journal.void(2, 2, ["bank-01"], "too few").opened(3, ["bank-01"]).void(3, 2, [], "too few are ready")
    said = text(view.sections(Shown(connected=True, run=standing(journal), seats={"bank-02": "present"}))["banks"])
    assert "bank-01 present" in said
    assert "bank-02 no answer" in said


def test_the_verdict_of_a_finished_run_puts_federated_against_alone_and_says_who_gains() -> None:
    shown = Shown(connected=True, run=two_banks(curve=CURVE).facts())
    said = text(view.sections(shown)["verdict"])
    assert shown.state == "finished"
    assert "Federating lifts average precision from 0.550 to 0.700" in said
    assert "Of 2 banks that compare, 1 gains on its own rows, 1 would do better alone." in said
    assert "all rows in one place" not in said


def test_a_federation_that_makes_things_worse_is_said_to() -> None:
    journal = two_banks().disclosing(alone_holdout=0.9)
    said = text_of(journal.facts(), "verdict")
    assert "Federating lowers average precision from 0.900 to 0.700" in said


def test_alone_and_federated_are_compared_over_the_banks_that_disclose_both() -> None:
    seats = ["bank-01", "bank-02", "bank-03"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", alone=0.4, federated=0.5)
    journal.accepted(1, "bank-02", alone=0.9).accepted(1, "bank-03", federated=0.1)
    run = journal.committed(1, 2, seats, FINAL, pooled=scores(0.7)).finished().facts()
    assert run.final.alone is not None
    assert run.final.alone.count == 2, "what is disclosed is counted all the same"
    said = text_of(run, "verdict")
    assert "Federating lifts average precision from 0.400 to 0.500 That is the mean of 1 bank alone against" in said
    report = render(run)
    assert (
        "Alone, 1 bank that discloses both figures reaches average precisions of 0.400 to 0.400 on their own" in report
    )
    assert "(mean 0.400); with the federated model the mean is 0.500." in report
    assert "| Each bank alone, own rows | 0.400 | 0.400 | 0.400 | 1 |" in report
    assert "| Federated, own rows | 0.500 | 0.500 | 0.500 | 1 |" in report


def test_banks_that_disclose_one_figure_each_are_not_compared() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01", "bank-02"]).accepted(1, "bank-01", alone=0.4)
    journal.accepted(1, "bank-02", federated=0.5)
    run = journal.committed(1, 2, ["bank-01", "bank-02"], FINAL, pooled=scores(0.7)).finished().facts()
    assert "Federating" not in sections_of(run)["verdict"]
    assert "the mean is" not in render(run)


def test_a_federation_that_changes_no_printed_figure_leaves_it_as_it_was() -> None:
    journal = two_banks().disclosing(alone_holdout=0.7004)
    said = text_of(journal.facts(), "verdict")
    assert "Federating leaves average precision as it was, 0.700 That is" in said


def test_where_it_was_computed_the_verdict_puts_central_beside_it() -> None:
    sections = sections_of(with_central(two_banks().facts(), 0.75))
    assert (
        "on the public hold-out the federated model reaches 0.700, the same recipe on all rows in one place 0.750, and "
        "central is ahead by 0.050"
    ) in text(sections["verdict"])
    assert "all rows in one place" in text(sections["convergence"])
    for precision, words in ((0.65, "and the federated model is ahead by 0.050"), (0.7, "and neither side is ahead")):
        shown = Shown(connected=True, run=with_central(two_banks().facts(), precision))
        assert words in text(view.sections(shown)["verdict"])


def test_a_central_model_of_other_rows_is_told_without_a_comparison() -> None:
    run = with_central(two_banks().facts(), 0.75)
    assert run.final.central is not None
    run.final.central.row_count = 1500
    sections = sections_of(run)
    said = text(sections["verdict"])
    assert (
        "; the same recipe on all rows in one place was judged on 1,500 rows, 20 of them fraud, the federated model on "
        "1,000, 20 of them fraud: no comparison."
    ) in said
    assert "ahead" not in said
    assert "All rows in one place" not in said
    assert "all rows in one place" not in text(sections["convergence"])


def test_page_and_report_lead_with_the_same_alert_budget() -> None:
    run = two_banks(curve=THREE_BUDGETS).facts()
    drawn = sections_of(run)
    said = render(run)
    assert "With 5 alerts in 1,000 transactions, on the public hold-out: 5 alerts, 80.0 % of them fraud, 20.0 %" in said
    assert "20.0 % of frauds, with 5 alerts in a thousand transactions" in text(drawn["verdict"])
    assert 'data-start="5"' in drawn["thresholds"]


def test_who_gains_is_counted_so_that_it_adds_up_and_why_a_comparison_lacks_is_said() -> None:
    seats = ["bank-01", "bank-02", "bank-03"]
    journal = Journal().started(rounds=1).opened(1, seats).accepted(1, "bank-01", alone=0.5, federated=0.5003)
    hidden: dict[str, Any] = {"row_count": 900, "fraud_rate": 0.0, "alone_holdout": 0.1, "federated_holdout": 0.7}
    journal.accepted(1, "bank-02", **hidden).accepted(1, "bank-03", alone=0.7, federated=0.6)
    run = journal.committed(1, 2, seats, FINAL, holdout=scores(0.7)).finished().facts()
    sections = sections_of(run)
    said = text(sections["gain"])
    assert "0 gain, 1 is as before at the printed precision, 1 loses; of 1 it is not known." in said
    assert "Uplift of 2 banks: 0 gain, 1 is as before, 1 loses" in sections["gain"]
    assert (
        "Not known of bank-02: no frauds among the bank's validation rows, so average precision is not defined" in said
    )
    assert sections["gain"].count('class="gain"') == 0
    assert "Of 2 banks that compare, 0 gain on their own rows, 1 is as before, 1 would do better alone; of 1 more" in (
        text(sections["verdict"])
    )


def test_at_a_masked_stage_a_bank_has_answered_when_it_has_answered_the_stage() -> None:
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), THREE)
    answered(journal, ["bank-02"], consent=masking_pb2.Consent())
    declined = masking_pb2.Declined(reason=masking_pb2.DECLINE_REASON_LOST)
    answered(journal, ["bank-03"], declined=declined)
    seats: dict[str, SeatState] = dict.fromkeys(FOUR, "present")
    sections = view.sections(Shown(connected=True, run=standing(journal, seats), seats=seats))
    said = text(sections["banks"])
    assert "The open round is at stage consent: a filled mark has answered it" in said
    for words in ("bank-01 waited for", "bank-02 answered", "bank-03 sat out", "bank-04 dropped out"):
        assert words in said


def test_a_bank_that_a_round_waited_for_in_vain_is_shown_though_its_contribution_was_in() -> None:
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), FOUR)
    answered(journal, THREE, consent=masking_pb2.Consent())
    ended = history_pb2.RoundAbandoned(key=KEY, step=1, seats=FOUR, reason="too few")
    run = standing(journal.add(round_abandoned=ended), dict.fromkeys(FOUR, "present"))
    said = text_of(run, "banks")
    assert "bank-04 no answer" in said
    assert "bank-03 present" in said


def test_the_code_that_made_the_facts_is_named() -> None:
    said = text_of(two_banks().facts(), "settings")
    assert build().version in said
    assert build().commit in said


def test_banks_that_disclose_nothing_leave_the_verdict_to_the_model() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-01"])
    run = journal.committed(1, 1, ["bank-01"], holdout=scores(0.4)).finished().facts()
    said = text_of(run, "verdict")
    assert "The federated model reaches an average precision of 0.400" in said
    assert "whether it gains on its own rows: the run ended before the final round, in which banks compare." in said


def test_a_run_that_ended_before_banks_compare_does_not_blame_them() -> None:
    run = Journal().started(rounds=5).opened(1, ["bank-01"]).finished(FAILED, "no banks").facts()
    drawn = sections_of(run)
    said = text(drawn["gain"])
    assert "No bank can be compared; beneath the table it is said why." in said
    assert "Not known of bank-01: the run ended before the final round, in which banks compare." in said
    assert "No bank discloses how" not in "".join(drawn.values())


@pytest.mark.parametrize(("outcome", "words"), [(FAILED, "The run failed"), (STOPPED, "The run was stopped")])
def test_a_run_that_ended_early_is_said_to_have_and_why(outcome: history_pb2.RunOutcome.ValueType, words: str) -> None:
    run = Journal().started(rounds=5).finished(outcome, "no banks").facts()
    said = text_of(run, "verdict")
    assert f"{words} after 0 of 5 training rounds no banks. No model was measured" in said


def test_alerts_a_day_cards_and_money_stand_on_the_page_where_banks_have_payments() -> None:
    run = of_payments()
    drawn = sections_of(run)
    said = text(drawn["trade"])
    assert run.final.trade is not None
    assert "1,200 payments" in said
    assert "Alerts a day of each bank 10" in said
    savings = run.final.trade.headline.savings
    assert None not in (savings.value, savings.low, savings.high)
    interval = f"{100 * savings.value:.1f} % ( {100 * savings.low:.1f} % to {100 * savings.high:.1f} %)"  # type: ignore[operator]  # all known
    assert interval in said
    assert drawn["trade"].count("<tr>") == 3 + 5 + 3 + 3 + 2
    assert "budgets a day of each bank are below" in drawn["thresholds"]
    assert "takes a final round over payments" in sections_of(two_banks().facts())["trade"]


def test_all_rows_in_one_place_stand_beside_it_on_the_page_where_the_payments_are_the_same() -> None:
    run = of_payments()
    assert run.final.trade is not None
    run.final.central_trade = run.final.trade
    drawn = sections_of(run)["trade"]
    assert "Beside all rows in one place" in drawn
    assert drawn.count('data-fact="final.central_trade.headline.savings.value"') == 1
    run.final.central_trade = run.final.trade.model_copy(update={"day_count": 4})
    assert "all rows in one place" not in sections_of(run)["trade"].lower()


def test_a_recalibration_stands_with_the_thresholds_where_one_was_fitted() -> None:
    held = text_of(whole(), "thresholds")
    assert "slope of 0.900 and an intercept of -0.250 on their log-odds: log loss 0.0482 instead of 0.0500 on" in held
    assert "0.0531 instead of 0.0500 on the public hold-out" in held
    alone = text_of(of_payments(), "thresholds")
    assert "log loss 0.0499 instead of 0.0500 on" in alone
    assert "on the public hold-out" not in alone


def test_every_section_stands_without_a_run_and_with_any_end_of_one() -> None:
    runs = [None, Journal().started().finished().facts(), two_banks().facts(), two_banks(secure=True).facts()]
    for run in runs:
        sections = sections_of(run)
        assert set(sections) == {*view.SECTIONS, "title"}
        assert all(sections.values())


def test_what_others_wrote_stays_text_everywhere() -> None:
    journal = Journal().started(run=HOSTILE).opened(1, [HOSTILE], run=HOSTILE)
    journal.accepted(1, HOSTILE, run=HOSTILE, row_count=5, alone=0.5, federated=0.4).refused(HOSTILE, HOSTILE, HOSTILE)
    journal.committed(1, 1, [], run=HOSTILE, holdout=scores(0.5)).opened(2, [HOSTILE], run=HOSTILE)
    journal.void(2, 2, [], HOSTILE, run=HOSTILE)
    journal.entries[0].run_started.recipe.name = HOSTILE
    journal.entries[0].run_started.manifest.population = HOSTILE
    going_on = Shown(connected=True, run=standing(journal), seats={HOSTILE: "present"})
    ended = Shown(connected=True, run=journal.finished(FAILED, HOSTILE, run=HOSTILE).facts())
    waiting = Shown(connected=True, run=None, seats={HOSTILE: "present"}, events=ended.run.events if ended.run else [])
    for shown in (going_on, ended, waiting):
        page = visible(view.page(view.sections(shown), "1"))
        assert page.tags.count("script") == 1  # the page's own
        assert "img" not in page.tags
        assert not [name for name in page.attributes if name.startswith("on") or name == "style"]
        assert any("<script>alert(1)</script>" in words for words in page.words)


def test_the_newest_events_come_first_and_those_after_the_run_are_told_too() -> None:
    journal = Journal().started().finished()
    facts = Facts()
    for entry in journal.add(lease_granted=history_pb2.LeaseGranted(seat="bank-09", fencing_number=1)).entries:
        facts.apply(entry)
    told = view.news(Shown(connected=True, run=facts.completed(), events=facts.events))
    assert [(event.text.split()[0], key) for event, key in told] == [
        ("bank-09", ""),
        ("Run", "events.1"),
        ("Run", "events.0"),
    ]


def test_the_page_says_which_sections_a_model_chose_and_that_the_check_passed() -> None:
    origin = Origin(model=HOSTILE, chosen=["Risks"], template=["Next steps"], reason="the model would not")
    shown = Shown(connected=True, run=two_banks().facts(), beside=Beside(("report.html",), origin))
    drawn = view.sections(shown)["report"]
    assert f"Chosen by the model {HOSTILE}: sentences under Risks. It wrote no text. The check passed" in text(drawn)
    assert "By template: Next steps: the model would not." in text(drawn)
    assert {"script", "img"} & set(visible(drawn).tags) == set()
    assert '/report.html">report.html</a>' in drawn


def test_a_report_by_template_is_said_to_be_and_one_that_is_not_written_is_not_there() -> None:
    run = two_banks().facts()
    origin = Origin(template=["Risks"], reason="the API could not be reached")
    drawn = view.sections(Shown(connected=True, run=run, beside=Beside(("report.md",), origin)))["report"]
    assert "Narrative by template: the API could not be reached." in text(drawn)
    assert "model" not in text(drawn)
    assert "It is written when the run has ended." in text_of(None, "report")


def test_central_is_put_beside_the_federated_figure_of_the_same_rows_though_the_headline_is_of_others() -> None:
    run = of_payments()
    assert run.final.pooled is not None
    run.final.central = run.final.pooled.model_copy(update={"average_precision": 0.45})
    run = summary.complete(run, run.rounds[-2])
    said = text_of(run, "verdict")
    assert (
        "on their own validation rows; on all banks’ validation rows the federated model reaches 0.400, the same "
        "recipe on all rows in one place 0.450, and central is ahead by 0.050"
    ) in said


def test_with_a_feature_plan_alerts_are_told_a_day_and_settings_have_its_days() -> None:
    drawn = sections_of(of_payments())
    said = text(drawn["thresholds"])
    assert (
        "They are of 3 days: alerts a day are of all banks together, and budgets a day of each bank are below." in said
    )
    assert "Alerts a day, all banks" in said
    assert "10 10 6 4 60.0 % 30.0 % +1.000 3.3" in said  # 10 alerts in 3 days
    settings = text(drawn["settings"])
    assert "Days of the rows 2018-04-01 to 2018-05-25" in settings
    assert "Training on 2018-05-09 to 2018-05-15 Validation on 2018-05-23 to 2018-05-25" in settings
    assert "Days until a label counts as known 7" in settings
    assert "of their payments of all days of the plan, history included" in text(drawn["heterogeneity"])
    without = sections_of(two_banks(curve=CURVE).facts())
    assert "Of these rows no day is known" in text(without["thresholds"])
    assert "A day, all banks" not in text(without["thresholds"])
    assert "all days of the plan" not in "".join(without.values())
    assert "Days of the rows" not in without["settings"]
