"""Aggregator, banks and reporter as real processes: the same bits every time, and the files that stay."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.federation.networks import FINISHED, Network, network
from tests.federation.oracle import model_sha256
from tests.federation.waiting import wait_for

BANKS, ROUNDS, SEED = 3, 2, 7
SEATS = ["bank-01", "bank-02", "bank-03"]


def oracle(recipe: str) -> str:
    return model_sha256(recipe, ROUNDS, BANKS, SEED)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three banks with the population's shards and a reporter, after the automatic run of two rounds."""
    folder = tmp_path_factory.mktemp("three")
    with network(folder, autostart=True, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.write_population()
        present.start_aggregator()
        for number in range(1, BANKS + 1):
            present.start_bank(number)
        present.start_reporter(folder / "reports")
        present.run_ended()
        yield present


def test_a_run_gives_the_model_of_a_plain_computation_and_again_the_second_time(three: Network) -> None:
    first = three.events("run_finished")[0]
    second = three.run_ended(three.start_run())
    assert (first.outcome, second.outcome) == (FINISHED, FINISHED)
    assert first.run_id != second.run_id
    assert first.model_sha256.hex() == second.model_sha256.hex() == oracle("default")


def test_the_tutorials_recipe_gives_the_model_of_a_plain_computation(three: Network) -> None:
    assert three.run_ended(three.start_run("--recipe", "tutorial")).model_sha256.hex() == oracle("tutorial")


def test_the_order_in_which_banks_answer_changes_no_bit_of_the_model(tmp_path: Path) -> None:
    orders = [[3, 2, 1], [1, 3, 2], [2, 1, 3], [3, 1, 2]]  # preparing, two training rounds, the final one
    with network(tmp_path, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        present.start_banks(1, 2, 3)
        for number in (1, 2, 3):
            present.pause(number)
        run_id = present.start_run()
        for place, order in enumerate(orders, start=1):
            for bank in order:
                present.resume(bank)
                present.accepted(run_id, place, f"bank-{bank:02d}")
                present.pause(bank)
        finished = present.run_ended()
        answered = [event.seat for event in present.events("contribution_accepted")]
    assert answered == [f"bank-{bank:02d}" for order in orders for bank in order]
    assert finished.model_sha256.hex() == oracle("default")


def facts_of(three: Network) -> dict[str, Any]:
    """What the reporter wrote of the automatic run."""
    folder = three.run_dir / "reports" / three.events("run_finished")[0].run_id
    wait_for(lambda: (folder / "facts.json").exists() and (folder / "report.md").exists(), "the report is written")
    facts: dict[str, Any] = json.loads((folder / "facts.json").read_text())
    return facts


def test_models_and_sums_stay_under_their_hashes_and_contributions_do_not(three: Network) -> None:
    vectors = three.run_dir / "aggregator" / "vectors"
    run_id = three.events("run_started")[0].run_id
    committed = [event for event in three.events("round_committed") if event.key.run_id == run_id]
    assert [event.step for event in committed] == [0, 1, 2, 3]
    for event in committed:
        model = (vectors / "models" / f"{event.model.vector_sha256.hex()}.f32").read_bytes()
        total = (vectors / run_id / f"{event.key.round:05d}-1.sum.u64").read_bytes()
        assert hashlib.sha256(model).digest() == event.model.vector_sha256
        assert len(model) == 4 * event.model.parameter_count == 4 * 4097
        assert hashlib.sha256(total).digest() == event.sum_sha256
    momenta = {path.name: path.read_bytes() for path in (vectors / run_id).glob("*.velocity.f64")}
    assert {event.velocity_sha256 for event in committed} == {
        b"",
        *(hashlib.sha256(m).digest() for m in momenta.values()),
    }
    assert sorted(momenta) == ["00002-1.velocity.f64", "00003-1.velocity.f64"]  # of the two training rounds
    assert len(list((vectors / run_id).iterdir())) == 4 + 2


def test_the_facts_have_the_keys_that_stay(three: Network) -> None:
    facts = facts_of(three)
    scores = {"average_precision", "roc_auc", "prevalence", "log_loss", "accuracy"}
    assert facts["run"].keys() >= {"id", "seed", "recipe", "population", "aggregation", "model_sha256", "outcome"}
    for name in ("holdout", "pooled"):
        assert facts["final"][name].keys() >= scores
    for each in facts["rounds"]:
        assert each.keys() >= {"number", "segments", "outcome", "seconds", "banks", "holdout", "pooled"}
    for bank in facts["banks"]:
        assert bank.keys() >= {
            *("seat", "rows", "fraud_rate", "alone", "federated", "alone_holdout", "federated_holdout"),
        }


def test_the_facts_are_those_of_the_journal(three: Network) -> None:
    facts, started, finished = facts_of(three), three.events("run_started")[0], three.events("run_finished")[0]
    run = {name: facts["run"][name] for name in ("id", "seed", "recipe", "population", "aggregation", "outcome")}
    assert run == {
        "id": started.run_id,
        "seed": 7,
        "recipe": "default",
        "population": "tutorial",
        "aggregation": "plain",
        "outcome": "finished",
    }
    assert facts["run"]["model_sha256"] == finished.model_sha256.hex()
    committed = [event for event in three.events("round_committed") if event.key.run_id == started.run_id]
    rounds = facts["rounds"]
    assert [each["number"] for each in rounds] == [0, 1, 2, 3]
    assert [each["segments"] for each in rounds] == [
        ["standardise"],
        ["evaluate", "train"],
        ["evaluate", "train"],
        ["evaluate"],
    ]
    assert {(each["outcome"], each["banks"]) for each in rounds} == {("committed", 3)}
    for each, event in zip(rounds, committed, strict=True):
        assert each["seconds"] == event.seconds
        assert each["holdout"]["average_precision"] == event.holdout.average_precision
        assert each["holdout"]["prevalence"] == event.holdout.fraud_count / event.holdout.row_count
    # A round evaluates the model that it received: that of the round before.
    for each, following in zip(rounds[:-1], committed[1:], strict=True):
        assert each["pooled"]["average_precision"] == following.pooled.average_precision
    assert facts["final"]["holdout"] == rounds[-1]["holdout"]
    assert facts["final"]["pooled"] == rounds[-2]["pooled"] == rounds[-1]["pooled"]


def test_the_facts_name_the_journals_head_after_the_runs_last_entry(three: Network) -> None:
    run = facts_of(three)["run"]
    with closing(
        sqlite3.connect(f"file:{three.run_dir / 'aggregator' / 'journal.sqlite3'}?mode=ro", uri=True)
    ) as journal:
        query = "SELECT head FROM entries WHERE sequence = ?"
        (head,) = journal.execute(query, (run["journal_sequence"],)).fetchone()
    assert run["journal_head"] == head.hex()
    last = three.entries()[run["journal_sequence"] - 1]
    assert last.run_finished.run_id == run["id"]


def test_the_facts_keep_to_the_published_schema(three: Network) -> None:
    published = json.loads((Path(__file__).parents[2] / "docs" / "facts.schema.json").read_text())
    jsonschema.validate(facts_of(three), published, cls=jsonschema.Draft202012Validator)


def test_the_curves_end_with_every_row_and_agree_with_the_scores(three: Network) -> None:
    final = facts_of(three)["final"]
    for name in ("holdout", "pooled"):
        points, scores = final[f"{name}_curve"]["points"], final[name]
        assert (points[-1]["alerts"], points[-1]["hits"]) == (scores["row_count"], scores["fraud_count"])
        assert [budget["budget_per_thousand"] for budget in final[f"{name}_curve"]["budgets"]][-1] == 10.0
        assert len(points) > 10


def test_the_release_record_counts_every_byte_that_a_bank_sent(three: Network) -> None:
    release, started = facts_of(three)["release"], three.events("run_started")[0]
    accepted = [a for a in three.events("contribution_accepted") if a.key.run_id == started.run_id]
    assert release["protection"] == "plain"
    assert sum(segment["bytes"] for bank in release["banks"] for segment in bank["segments"]) == sum(
        each.size_bytes for each in accepted
    )
    for bank in release["banks"]:
        assert {segment["name"]: segment["times"] for segment in bank["segments"]} == {
            "standardise": 1,
            "train": ROUNDS,
            "evaluate": ROUNDS + 1,
        }


def test_the_facts_hold_what_each_bank_disclosed(three: Network) -> None:
    banks = facts_of(three)["banks"]
    assert [(bank["seat"], bank["rows"]) for bank in banks] == list(zip(SEATS, [4891, 3819, 4498], strict=True))
    assert [bank["fraud_rate"] for bank in banks] == [44 / 4891, 0.0, 93 / 4498]
    for bank in banks:
        only_legitimate = bank["seat"] == "bank-02"
        assert (bank["alone"] is None) is (bank["federated"] is None) is only_legitimate
        assert 0 < bank["alone_holdout"] < bank["federated_holdout"] + 0.1
    federated = {bank["federated_holdout"] for bank in banks}
    assert len(federated) == 1  # one model, one hold-out
    holdout = facts_of(three)["final"]["holdout"]["average_precision"]
    assert federated.pop() == pytest.approx(holdout, abs=0.002)
