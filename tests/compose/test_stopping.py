"""Restarts keep who a bank is, a stop is quick, `down` ends the network. Last by name: it takes the network away."""

import pytest

from tests.compose.network import BANKS, SERVICES, Network, docker, execute, until

pytestmark = pytest.mark.timeout(480)


def joined(network: Network, seat: str) -> int:
    return sum(event["seat"] == seat for event in network.events("aggregator", "joined"))


def present(network: Network) -> dict[str, int]:
    """Each present seat's lease."""
    rows = [line.split() for line in network.operator("list").splitlines() if " present " in line]
    return {row[0]: int(row[2]) for row in rows}


def test_a_bank_that_is_restarted_or_killed_keeps_its_seat(network: Network) -> None:
    seats = network.seats()
    bank, seat = next(iter(seats.items()))
    leases = joined(network, seat)
    docker("restart", bank)
    until(lambda: joined(network, seat) == leases + 1, f"{seat} comes back from a restart")
    docker("exec", "--detach", bank, "sh", "-c", "kill -9 -1")
    until(lambda: joined(network, seat) == leases + 2, f"{seat} comes back from a kill")
    assert [one["RestartCount"] for one in network.containers("bank_client") if one["Id"] == bank] == [1]
    assert network.seats() == seats


def test_a_stop_in_a_run_takes_seconds_and_a_start_brings_the_same_banks_back(network: Network) -> None:
    seats = network.seats()
    until(lambda: len(present(network)) == len(seats), "all banks are present")
    committed = len(network.events("aggregator", "round committed"))
    network.operator("start", "--rounds", "10000")
    until(lambda: len(network.events("aggregator", "round committed")) > committed + 2, "the run is under way")
    leases = present(network)

    network.compose("stop")  # SIGTERM, and after the services' stop_grace_period of five seconds SIGKILL
    stopped = network.containers(*SERVICES)
    assert [(one["Name"], one["State"]["ExitCode"]) for one in stopped] == [(one["Name"], 0) for one in stopped]

    network.compose("start")
    until(lambda: present(network) == {seat: lease + 1 for seat, lease in leases.items()}, "every bank is back, once")
    assert network.seats() == seats


def test_down_ends_the_network_and_up_makes_a_new_one(network: Network) -> None:
    def authority() -> str:
        return execute(network.containers("aggregator")[0]["Id"], "cat", "/data/authority/ca.pem")

    former, volumes = authority(), network.volumes()
    network.down()
    assert network.containers() == []
    docker("volume", "rm", *(name for name in volumes if not name.startswith(network.project)))  # down leaves these
    network.compose("up", "--detach")
    first = {f"bank-{number:02d}": 1 for number in range(1, BANKS + 1)}
    until(lambda: present(network) == first, "ten banks take the seats 1 to 10 of a new network")
    assert authority() != former
