"""What of a run is used again by the next."""

from dataclasses import replace
from typing import Any

from fedfraud.feature_plan import PLANS, plan_of
from fedfraud.manifest import Manifest
from fedfraud.recipe import RECIPES
from fedfraud.transactions import CARDS
from fedfraud.v1 import history_pb2, model_pb2
from services.aggregator import messages
from services.aggregator.progress import FormerSums, Progress

MANIFEST = Manifest("cards", CARDS, feature_plan=PLANS["cards"])
COUNTERS = bytes(range(32))


def started(run_id: str, **more: Any) -> history_pb2.RunStarted:  # noqa: ANN401  # whatever a run has besides
    return messages.run_started(
        run_id, 1, RECIPES["cards"], MANIFEST, rounds=1, quorum=3, expected_banks=4, round_deadline=1.0, **more
    )


def test_counters_that_a_run_left_are_the_next_ones_though_it_had_no_scaler_yet() -> None:
    first, sums = Progress.begun(started("first")), FormerSums()
    key = model_pb2.RoundKey(run_id="first", round=1, attempt=1)
    counted = [model_pb2.SEGMENT_KIND_COUNT]
    sums.take(first)
    assert sums.counters_of(MANIFEST) == b""
    for entry in (
        history_pb2.Entry(round_opened=history_pb2.RoundOpened(key=key, segments=counted)),
        history_pb2.Entry(round_committed=history_pb2.RoundCommitted(key=key, segments=counted, sum_sha256=COUNTERS)),
        history_pb2.Entry(
            run_finished=history_pb2.RunFinished(run_id="first", outcome=history_pb2.RUN_OUTCOME_STOPPED)
        ),
    ):
        first.apply(entry)
        sums.take(first)
    assert (sums.counters_of(MANIFEST), sums.state_of(MANIFEST)) == (COUNTERS, None)
    assert sums.counters_of(replace(MANIFEST, feature_plan=plan_of("cards", "2019-01-01"))) == b""
    second = Progress.begun(started("second", counters_sha256=sums.counters_of(MANIFEST)))
    assert second.counters_sha256 == COUNTERS, "it does not count again"
    sums.take(Progress.begun(started("third")))
    assert sums.counters_of(MANIFEST) == COUNTERS
