"""Many banks in one process: the bits, the identities and the independence of banks that have a process each."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.bank_client.enrol import load_pair
from tests.federation.networks import FINISHED, Network, network
from tests.federation.oracle import model_sha256

BANKS, ROUNDS, SEED = 5, 2, 7
SEATS = ["bank-01", "bank-02", "bank-03", "bank-04", "bank-05"]


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Two hosts of two and three banks with the population's shards, after a masked run of two rounds."""
    folder = tmp_path_factory.mktemp("five")
    with network(folder, aggregation="secure", autostart=True, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as one:
        one.start_aggregator()
        one.start_hosted_banks(BANKS, 2)
        one.run_ended()
        yield one


def test_hosted_banks_give_the_model_of_a_plain_computation(five: Network) -> None:
    (finished,) = five.events("run_finished")
    assert (finished.outcome, finished.model_sha256.hex()) == (FINISHED, model_sha256("default", ROUNDS, BANKS, SEED))
    assert sorted(five.processes) == ["aggregator", "host-1", "host-2"]


def test_every_hosted_bank_has_the_seat_of_its_folder_a_key_and_rows_of_its_own(five: Network) -> None:
    folders = [five.run_dir / seat for seat in SEATS]
    issued = {event.seat: event.public_key_sha256 for event in five.events("certificate_issued") if event.seat}
    assert list(issued) == SEATS
    assert len(set(issued.values())) == len({load_pair(folder).key_pem for folder in folders}) == BANKS
    assert len({(folder / "signing.key").read_bytes() for folder in folders}) == BANKS
    assert len({(folder / "dataset.parquet").read_bytes() for folder in folders}) == BANKS
    assert sorted(event.seat for event in five.events("lease_granted")) == SEATS


def test_the_public_holdout_is_one_file_for_the_banks_of_a_host(five: Network) -> None:
    numbers = [(five.run_dir / seat / "holdout.parquet").stat().st_ino for seat in SEATS]
    assert [len(set(numbers[:2])), len(set(numbers[2:])), len(set(numbers))] == [1, 1, 2]


def test_a_hosted_bank_that_is_shut_out_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, rounds=1) as present:
        present.start_aggregator()
        present.start_host(range(1, 4))
        present.wait("lease_granted", count=3)
        assert present.operate("revoke", "bank-02", "--reason", "stolen")[0] == 0
        present.wait("seat_absent", lambda event: event.seat == "bank-02", "of bank-02")
        assert present.run_ended(present.start_run()).outcome == FINISHED
        assert list(present.events("round_committed")[-1].seats) == ["bank-01", "bank-03"]
        present.processes["host-1"].terminate()
        assert present.exit_status("host-1", 20.0) == 1  # of one that was shut out
