"""From entries to facts: which round a figure belongs to, what stays null, and bytes that do not change."""

import hashlib
import json
import math

from fedfraud.v1 import history_pb2, masking_pb2, model_pb2
from services.reporter.facts import RunFacts
from services.reporter.fold import LAST_REFUSALS, Facts
from tests.services.reporter.journals import FAILED, PREPARING, RUN, Journal, scores, two_banks


def test_preparing_rounds_are_0_training_rounds_count_from_1_and_the_final_one_is_next() -> None:
    facts = two_banks().facts()
    assert [r.number for r in facts.rounds] == [0, 1, 2, 3]
    assert [r.segments for r in facts.rounds] == [["standardise"], *[["evaluate", "train"]] * 2, ["evaluate"]]


def test_pooled_scores_belong_to_the_model_that_a_round_received_so_they_go_to_the_round_before() -> None:
    facts = two_banks().facts()
    pooled = [r.pooled.average_precision for r in facts.rounds if r.pooled]
    holdout = [r.holdout.average_precision for r in facts.rounds if r.holdout]
    assert holdout == [0.02, 0.4, 0.7, 0.7]
    assert [round(p or 0, 6) for p in pooled] == [0.02, 0.3, 0.6, 0.6]


def test_the_final_scores_are_those_of_the_last_committed_model() -> None:
    final = two_banks().facts().final
    assert final.holdout is not None
    assert final.pooled is not None
    assert final.holdout.average_precision == 0.7
    assert final.holdout.prevalence == 0.02
    assert round(final.pooled.average_precision or 0, 6) == 0.6


def test_a_void_round_between_two_training_rounds_takes_no_scores() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).committed(1, 0, ["bank-01"], PREPARING)
    journal.opened(2, ["bank-01"]).committed(2, 1, ["bank-01"], pooled=scores(0.02))
    journal.opened(3, ["bank-01", "bank-02"]).void(3, 2, ["bank-02"], "1 bank answered, the quorum is 2")
    journal.opened(4, ["bank-01"]).committed(4, 2, ["bank-01"], pooled=scores(0.3)).finished()
    rounds = journal.facts().rounds
    assert [(r.number, r.outcome, r.pooled and r.pooled.average_precision) for r in rounds] == [
        (0, "committed", 0.02),
        (1, "committed", 0.3),
        (2, "void", None),
        (2, "committed", None),
    ]
    assert rounds[2].reason == "1 bank answered, the quorum is 2"
    assert rounds[2].dropped == ["bank-01"]


def test_uplift_is_federated_minus_alone_and_the_summary_spans_the_banks() -> None:
    facts = two_banks().facts()
    assert [(b.seat, b.rows, round(b.uplift or 0, 6)) for b in facts.banks] == [
        ("bank-01", 4000, 0.15),
        ("bank-02", 2000, -0.2),
    ]
    alone = facts.final.alone
    assert alone is not None
    assert (alone.best, alone.mean, alone.worst, alone.count) == (0.8, 0.65, 0.5, 2)
    assert facts.final.alone_holdout is not None
    assert round(facts.final.alone_holdout.mean, 6) == 0.55


def test_what_a_bank_does_not_disclose_is_null_and_the_bank_is_still_listed() -> None:
    journal = Journal().started(rounds=1).opened(1, ["bank-100", "bank-99"]).accepted(1, "bank-99", fraud_rate=0.5)
    facts = journal.committed(1, 1, ["bank-99"]).finished().facts()
    shown = json.loads(facts.to_json())["banks"]
    assert [bank["seat"] for bank in shown] == ["bank-99", "bank-100"]
    assert shown[0]["fraud_rate"] == 0.5
    assert {shown[1][name] for name in ("rows", "fraud_rate", "alone", "federated", "uplift")} == {None}
    assert facts.final.alone is None


def test_the_latest_disclosure_of_each_figure_wins_and_a_missing_one_erases_nothing() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).accepted(1, "bank-01", row_count=10, alone=0.1)
    journal.accepted(2, "bank-01", alone=0.2)
    bank = journal.finished().facts().banks[0]
    assert (bank.rows, bank.alone) == (10, 0.2)


def test_refusals_are_counted_whatever_round_they_name_and_the_last_few_are_kept() -> None:
    journal = Journal().refused("bank-01", "before the run").started()
    for number in range(LAST_REFUSALS + 5):
        journal.refused("bank-02", f"reason {number}")
    refusals = journal.finished().refused("bank-01", "after the run").facts().refusals
    assert refusals.count == LAST_REFUSALS + 5
    assert [refusals.last[0].reason, refusals.last[-1].reason] == ["reason 5", f"reason {LAST_REFUSALS + 4}"]


def test_events_of_another_run_change_nothing() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).accepted(1, "bank-01", row_count=10)
    journal.accepted(1, "bank-01", "another", row_count=99).committed(1, 1, ["bank-01"], run="another")
    journal.finished(run="another")
    facts = journal.finished().facts()
    assert facts.rounds == []
    assert facts.banks[0].rows == 10


def test_a_second_run_begins_with_nothing_of_the_first() -> None:
    journal = two_banks()
    second = journal.started(run="second", recipe="tutorial").finished(FAILED, "no banks", run="second").facts()
    assert (second.run.id, second.run.recipe, second.run.outcome, second.run.reason) == (
        "second",
        "tutorial",
        "failed",
        "no banks",
    )
    assert (second.banks, second.rounds, second.final.holdout, second.run.model_sha256) == ([], [], None, None)


def test_the_release_record_says_what_left_each_bank() -> None:
    journal = Journal().started(secure=True).opened(1, ["bank-01", "bank-02"])
    answer = masking_pb2.StageAnswer(consent=masking_pb2.Consent(signature=b"s" * 64))
    key = model_pb2.RoundKey(run_id=RUN, round=1, attempt=1)
    journal.add(stage_answered=history_pb2.StageAnswered(key=key, seat="bank-01", answer=answer))
    journal.accepted(1, "bank-01", size=131_176, row_count=10).committed(1, 1, ["bank-01"])
    release = journal.finished().facts().release
    # The model has one input, four hidden units and one logit: 13 parameters, then weight and clipped.
    assert [(s.name, s.words, s.bytes) for s in release.segments] == [
        ("standardise", 10, 80),
        ("train", 15, 120),
        ("evaluate", 16_384, 131_072),
    ]
    assert release.protection == "masked"
    (bank,) = release.banks
    assert (bank.seat, bank.contributions, bank.bytes, bank.disclosed) == ("bank-01", 1, 131_176, ["rows"])
    assert [(s.name, s.times, s.bytes) for s in bank.segments] == [("evaluate", 1, 131_072), ("train", 1, 120)]
    assert (bank.mask_messages, bank.mask_bytes) == (1, answer.ByteSize())


def test_a_bank_has_how_often_it_was_asked_answered_and_was_refused() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).accepted(1, "bank-01").committed(1, 1, ["bank-01"])
    journal.opened(2, ["bank-01"]).refused("bank-01", "too late").void(2, 2, [], "nobody")
    (bank,) = journal.finished().facts().banks
    assert (bank.rounds_asked, bank.rounds_answered, bank.refusals) == (2, 1, 1)


def test_the_open_round_says_who_has_answered() -> None:
    facts = Facts()
    for entry in Journal().started().opened(1, ["bank-01", "bank-02"]).accepted(1, "bank-02", size=8).entries:
        facts.apply(entry)
    run = facts.completed()
    assert run is not None
    assert run.open is not None
    assert (run.open.cohort, run.open.answered, run.open.bytes) == (["bank-01", "bank-02"], ["bank-02"], 8)


def test_the_journals_head_is_the_chain_over_all_entries_up_to_the_runs_end() -> None:
    journal = Journal().refused("bank-01", "before").started().finished()
    head = b""
    for entry in journal.entries:
        head = hashlib.sha256(head + entry.SerializeToString()).digest()
    run = journal.refused("bank-01", "after").facts().run
    assert (run.journal_sequence, run.journal_head) == (3, head.hex())


def test_the_json_has_the_keys_that_stay() -> None:
    shown = json.loads(two_banks().facts().to_json())
    assert {"id", "seed", "recipe", "population", "aggregation", "model_sha256", "outcome"} <= set(shown["run"])
    assert (shown["run"]["id"], shown["run"]["seed"], shown["run"]["recipe"]) == (RUN, 7, "default")
    assert (shown["run"]["population"], shown["run"]["aggregation"]) == ("tutorial", "plain")
    assert (shown["run"]["model_sha256"], shown["run"]["outcome"]) == ("03" * 32, "finished")
    assert (shown["run"]["layers"], shown["run"]["hyperparameters"]["weight_rule"]) == ([1, 4, 1], "sqrt_fraud")
    names = {"average_precision", "roc_auc", "prevalence", "log_loss", "accuracy", "recall_at_one_percent"}
    assert names <= set(shown["final"]["holdout"])
    assert names <= set(shown["final"]["pooled"])
    assert {"number", "segments", "outcome", "seconds", "banks", "holdout", "pooled"} <= set(shown["rounds"][1])
    assert {"seat", "rows", "fraud_rate", "alone", "federated", "alone_holdout", "federated_holdout"} <= set(
        shown["banks"][0]
    )
    assert [r["banks"] for r in shown["rounds"]] == [2, 2, 2, 2]


def test_the_same_journal_gives_the_same_bytes_and_they_read_back() -> None:
    text = two_banks().facts().to_json()
    assert text == two_banks().facts().to_json()
    assert RunFacts.from_json(text).to_json() == text


def test_a_number_that_is_none_becomes_null() -> None:
    journal = Journal().started().opened(1, ["bank-01"]).committed(1, 1, ["bank-01"], holdout=scores(0.5))
    committed = journal.entries[-1].round_committed
    committed.seconds, committed.holdout.log_loss, committed.clipped_share = math.nan, math.inf, -math.inf
    text = journal.finished().facts().to_json()
    assert "NaN" not in text
    assert "Infinity" not in text
    shown = json.loads(text)["rounds"][0]
    assert (shown["seconds"], shown["holdout"]["log_loss"], shown["clipped_share"]) == (None, None, None)


def test_an_event_of_a_later_version_is_passed_over() -> None:
    facts = Facts()
    assert facts.apply(history_pb2.Entry(sequence=1)) is None
    for entry in Journal().started().entries:
        facts.apply(entry)
    assert facts.apply(history_pb2.Entry(sequence=2)) is None
    assert facts.current is not None
