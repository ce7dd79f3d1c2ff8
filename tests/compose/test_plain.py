"""Plain aggregation in containers: the same wire and integers, and the same model as a masked network."""

import pytest

from tests.compose.network import BANKS
from tests.compose.running import plain_computation, running

pytestmark = pytest.mark.timeout(480)


def test_a_plain_network_makes_the_model_of_the_masked_one() -> None:
    with running(BANKS, BANKS=str(BANKS), AGGREGATION="plain") as network:
        facts = network.facts(network.reported_run(1))
        assert (facts["run"]["aggregation"], facts["run"]["outcome"]) == ("plain", "finished")
        assert {round["banks"] for round in facts["rounds"]} == {BANKS}
        assert facts["run"]["model_sha256"] == plain_computation(network)
