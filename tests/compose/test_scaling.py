"""More banks on a running network: they join the run that is going on, and nothing else is restarted."""

import pytest

from tests.compose.network import BANKS, SERVICES, Network, run_python, until
from tests.compose.test_network import ROW_HASHES

pytestmark = pytest.mark.timeout(480)


def started(network: Network) -> set[tuple[str, str]]:
    return {(one["Id"], one["State"]["StartedAt"]) for one in network.containers(*SERVICES)}


def test_two_more_banks_join_a_run_and_nobody_is_restarted(network: Network) -> None:
    network.reported_run(1)
    network.operator("start", "--rounds", "10000")
    rounds = until(lambda: network.events("aggregator", "round committed")[4:], "the second run commits a round")
    before = started(network)
    assert (len(before), rounds[0]["banks"]) == (BANKS + 2, BANKS)

    network.compose("up", "--detach", "--scale", f"bank_client={BANKS + 2}")
    until(
        lambda: any(event["banks"] == BANKS + 2 for event in network.events("aggregator", "round committed")),
        "a round has the contributions of all twelve banks",
    )
    assert before < started(network)

    network.operator("stop")
    facts = network.facts(network.reported_run(2))
    assert (facts["run"]["outcome"], facts["rounds"][-1]["banks"]) == ("stopped", BANKS + 2)
    assert [bank["seat"] for bank in facts["banks"]] == [f"bank-{number:02d}" for number in range(1, BANKS + 3)]


def test_the_new_banks_rows_are_nobody_elses(network: Network) -> None:
    rows = [run_python(bank["Id"], ROW_HASHES) for bank in network.containers("bank_client")]
    assert len(rows) == BANKS + 2
    assert len({row for bank in rows for row in bank}) == sum(len(bank) for bank in rows) > 48_000
