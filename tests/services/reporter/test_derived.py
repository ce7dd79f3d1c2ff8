"""What is computed of the facts, with figures that one can check in the head."""

from services.reporter.derived import derived, headline, series, series_place, shown
from services.reporter.facts import RunFacts
from tests.services.reporter.journals import FAILED, PREPARING, Journal, scores, two_banks
from tests.services.reporter.states import held_without_fraud


def values(run: RunFacts) -> dict[str, float]:
    return {fact.name: round(fact.value, 6) for fact in derived(run)}


def test_differences_ratios_and_triggers_follow_from_the_facts() -> None:
    found = values(two_banks(precisions=(0.02, 0.75, 0.7)).facts())
    assert found["banks"] == 2
    assert found["chance_multiple"] == 35  # 0.7 / 0.02
    assert (found["change.training"], found["change.since_best"]) == (0.68, -0.05)
    assert found["change.holdout_pooled"] == 0.1
    assert found["trigger.average_precision"] == 0.63  # 0.9 * 0.7
    assert (found["constant_log_loss"], found["change.log_loss"]) == (0.098039, -0.048)  # 0.0500 - 0.0980, as printed
    assert "change.central" not in found


def test_a_central_model_is_compared_where_there_is_one() -> None:
    run = two_banks().facts()
    assert run.final.holdout is not None
    run.final.central = run.final.holdout.model_copy(update={"average_precision": 0.8})
    assert values(run)["change.central"] == -0.1


def test_a_run_without_a_model_has_counts_and_rules_alone() -> None:
    found = values(Journal().started().finished(FAILED).facts())
    assert found["banks"] == 0
    assert {name.split(".")[0] for name in found} == {
        "banks",
        "banks_answering",
        "rounds_without_result",
        "megabytes",
        "mask_megabytes",
        "most_clipped",
        "rule",
    }


def test_the_headline_is_the_hold_outs_then_the_banks_then_the_last_measured_rounds() -> None:
    found = headline(two_banks().facts())
    assert found is not None
    assert (found.key, found.where) == ("final.holdout", "the public hold-out")
    journal = Journal().started(rounds=9).opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.02))
    journal.opened(3, ["bank-01"]).committed(3, 2, ["bank-01"], pooled=scores(0.4))
    early = headline(journal.finished(FAILED).facts())
    assert early is not None
    assert early.key == "rounds.2.pooled"


def test_a_series_is_of_one_set_of_rows() -> None:
    assert [round(value, 6) for _, value in series(two_banks().facts())] == [0.02, 0.4, 0.7, 0.7]


def test_a_long_run_is_thinned_out_and_keeps_its_ends_and_what_had_no_result() -> None:
    rounds = two_banks().facts().rounds * 50
    rounds[76] = rounds[76].model_copy(update={"outcome": "void"})
    places = shown(rounds, 10)
    assert len(places) == 12
    assert {1, 77, 200} <= set(places)
    assert shown(rounds[:4], 10) == [1, 2, 3, 4]
    assert shown([], 10) == []


def test_the_place_of_the_series_is_where_its_figures_are() -> None:
    assert (series_place(two_banks().facts()), series_place(held_without_fraud())) == ("holdout", "pooled")
    assert [figure for _, figure in series(held_without_fraud())][-1] == 0.2
