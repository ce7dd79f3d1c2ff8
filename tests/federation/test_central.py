"""Central in a run of real processes: there when it is this run's and in time; no run fails or hangs for it."""

import json
import time
from pathlib import Path

import pytest

from fedfraud.central import Central, Purpose, read_central
from fedfraud.wire import scores_from_proto
from services.bank_client.write_central import write_central
from tests.federation.networks import FINISHED, STOPPED, Network, network
from tests.federation.waiting import wait_for

PURPOSE = Purpose(population="tutorial", seed=7, recipe="default", rounds=1, banks=2)


def started(present: Network, *banks: int) -> None:
    """The aggregator and these banks with their shards."""
    present.start_aggregator()
    present.start_banks(*banks)


def test_a_run_ends_with_the_scores_that_a_process_beside_it_computes(tmp_path: Path) -> None:
    settings = {"expected_banks": 2, "rounds": 1, "central_wait": 60.0, "autostart": True}
    with network(tmp_path, **settings) as present:
        present.write_population()
        present.announce_central()
        present.start_central()
        started(present, 1, 2)
        present.start_reporter(tmp_path / "reports")
        finished = present.run_ended()
        found = read_central(tmp_path / "central" / "central.json")
        assert found is not None
        assert found.purpose == PURPOSE
        assert (finished.outcome, scores_from_proto(finished.central)) == (FINISHED, found.scores)
        facts_file = tmp_path / "reports" / finished.run_id / "facts.json"
        facts = json.loads(wait_for(lambda: facts_file.read_text() if facts_file.exists() else "", "the facts"))
        assert facts["final"]["central"]["average_precision"] == finished.central.average_precision
        assert facts["final"]["central"]["row_count"] == facts["final"]["holdout"]["row_count"]

        # Of further runs it says nothing but of the very same.
        assert present.run_ended(present.start_run("--rounds", "1")).HasField("central")
        for other in (("--rounds", "2"), ("--recipe", "tutorial"), ("--seed", "8")):
            assert not present.run_ended(present.start_run(*other)).HasField("central"), other
        present.start_banks(3)
        assert not present.run_ended(present.start_run("--rounds", "1")).HasField("central")


@pytest.mark.parametrize(
    ("content", "least", "most"),
    [(None, 0, 1), (b"no JSON", 0, 1), (Central(purpose=PURPOSE).model_dump_json().encode(), 1.5, 4)],
    ids=["nothing is there", "the file is none", "its process is gone"],
)
def test_a_run_ends_without_it_after_a_bounded_wait(
    tmp_path: Path, content: bytes | None, least: float, most: float
) -> None:
    path = tmp_path / "central.json"
    if content is not None:
        path.write_bytes(content)
    with network(tmp_path, expected_banks=2, central_file=path, central_wait=1.5) as present:
        started(present, 1, 2)
        run_id = present.start_run("--rounds", "1")
        present.wait("round_committed", lambda event: event.step == 2, "the final one")
        began = time.monotonic()
        finished = present.run_ended(run_id)
        assert (finished.outcome, finished.HasField("central")) == (FINISHED, False)
        assert least - 0.5 < time.monotonic() - began < most + 10  # loaded machines are slow, not early


def test_a_run_that_is_stopped_does_not_wait_for_it_and_one_that_is_killed_at_its_end_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "central.json"
    Central(purpose=PURPOSE).write(path)
    with network(tmp_path, expected_banks=2, central_file=path, central_wait=600.0) as present:
        started(present, 1, 2)
        stopped = present.start_run("--rounds", "10000")
        present.wait("round_committed", lambda event: event.step == 1)
        present.operate("stop")
        assert present.run_ended(stopped).outcome == STOPPED
        run_id = present.start_run("--rounds", "1")
        present.wait("round_committed", lambda event: event.key.run_id == run_id and event.step == 2, "the final one")
        present.kill_aggregator()  # while it waits for central
        present.start_aggregator()
        write_central(PURPOSE, path)
        assert present.run_ended(run_id).HasField("central")
