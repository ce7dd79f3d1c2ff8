"""Processes that are killed in their containers in a run, on a network of their own."""

import time

import pytest

from tests.faults.container_kills import killed_run

pytestmark = pytest.mark.timeout(480)


def test_two_kills_of_the_aggregator_and_two_of_banks_cost_nothing_and_the_model_is_the_same() -> None:
    killed_run(kills=2, seed=int(time.time()))
