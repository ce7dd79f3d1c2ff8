"""A real bank on its own machine: a second Compose project dials the first one's published ports, over the host."""

import os
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from socket import create_connection
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest

from fedfraud.transactions import TUTORIAL
from simulation import tutorial
from tests.compose.network import ROOT, ROUNDS, SEED, Network, until
from tests.compose.running import last_words, running

pytestmark = pytest.mark.timeout(480)

SIMULATED = 3
NAME = "aggregator.example"
MAP = 'contract = "tutorial"\n[columns.fraud]\ncolumn = "verdict"\nvalues = { fraud = 1, fine = 0 }\n'
REACHES_THE_HOST = f'services: {{bank: {{extra_hosts: ["{NAME}:host-gateway"]}}}}\n'


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Three simulated banks that wait for a fourth from elsewhere."""
    settings = {
        "COMPOSE_FILE": "docker-compose.yml:deploy/remote-banks.yml",
        "AGGREGATOR_NAMES": NAME,
        "BANKS_PORT": "0",  # any free one
        "ENROLMENT_PORT": "0",
        "SIMULATION": "true",
        "BANKS": str(SIMULATED),
        "EXPECTED_BANKS": str(SIMULATED + 1),
    }
    with running(SIMULATED, **settings) as present:
        yield present


@pytest.fixture(scope="module")
def bank(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """The bank's project: nothing of the other one's but the image and what its operator handed over."""
    folder = tmp_path_factory.mktemp("bank")
    network.compose("cp", "aggregator:/join/bank", str(folder / "join"))
    write_rows(folder / "rows")
    (folder / "host.yml").write_text(REACHES_THE_HOST)
    for path in (folder / "join" / "token", folder / "join" / "ca.pem"):
        path.chmod(0o444)
    project = Network(
        f"fedfraud-test-{secrets.token_hex(3)}",
        folder,
        folder / "key",
        {
            "COMPOSE_FILE": f"{ROOT / 'deploy' / 'bank' / 'docker-compose.yml'}{os.pathsep}{folder / 'host.yml'}",
            "BANK_IMAGE": network.image("bank_client"),
            "AGGREGATOR": f"{NAME}:{published(network, 7443)}",
            "ENROLMENT": f"{NAME}:{published(network, 7444)}",
            "DATASET": "/rows/payments.csv",
            "COLUMN_MAP": "/rows/columns.toml",
            "DISCLOSE": "rows",
            "JOIN_FOLDER": str(folder / "join"),
            "ROWS_DIR": str(folder / "rows"),
        },
    )
    try:
        yield project
    except BaseException:
        print(last_words(project))
        raise
    finally:
        project.down("--volumes", "--timeout", "5")


def write_rows(folder: Path) -> None:
    """Rows under the bank's own names, and the same with one that is refused."""
    folder.mkdir(mode=0o755)
    features, labels = tutorial.shard(SEED, SIMULATED + 1)
    columns = {feature.name: features[:, place] for place, feature in enumerate(TUTORIAL)}
    verdicts = ["fraud" if label else "fine" for label in labels]
    pa.csv.write_csv(pa.table({**columns, "verdict": verdicts}), folder / "payments.csv")
    (folder / "broken.csv").write_text((folder / "payments.csv").read_text().replace("fine", "maybe", 1))
    (folder / "columns.toml").write_text(MAP)
    for path in folder.iterdir():
        path.chmod(0o444)


def published(network: Network, port: int) -> int:
    return int(network.compose("port", "aggregator", str(port)).strip().rpartition(":")[2])


def seats(network: Network) -> dict[str, str]:
    """Each seat's state, as the operator sees it."""
    lines = [line.split() for line in network.operator("list").splitlines()]
    return {words[0]: words[1] for words in lines if words and words[0].startswith("bank-")}


def test_the_certificate_has_the_name_that_a_bank_dials_and_no_other(network: Network, bank: Network) -> None:
    context = ssl.create_default_context(cafile=Path(bank.settings["JOIN_FOLDER"]) / "ca.pem")
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # newer than the CA's extensions
    context.set_alpn_protocols(["h2"])
    port = published(network, 7444)
    with create_connection(("127.0.0.1", port), 10) as s, context.wrap_socket(s, server_hostname=NAME) as secure:
        assert secure.version() == "TLSv1.3"
    with (
        create_connection(("127.0.0.1", port), 10) as s,
        pytest.raises(ssl.SSLCertVerificationError, match=r"not valid for 'other\.example'"),
    ):
        context.wrap_socket(s, server_hostname="other.example")


def test_rows_that_are_refused_take_no_seat(network: Network, bank: Network) -> None:
    assert "passed" in bank.compose("run", "--rm", "check-data")
    for service in ("check-data", "bank"):
        with pytest.raises(AssertionError, match=r"verdict.*maybe"):
            bank.compose("run", "--rm", service, DATASET="/rows/broken.csv")
    assert seats(network) == {f"bank-{number:02d}": "present" for number in range(1, SIMULATED + 1)}


@pytest.fixture(scope="module")
def facts(network: Network, bank: Network) -> dict[str, Any]:
    """Of the run that waited for the bank."""
    bank.compose("up", "--detach")
    return network.facts(network.reported_run(1))


def test_the_bank_is_in_the_cohort_of_every_round(facts: dict[str, Any]) -> None:
    assert facts["run"]["outcome"] == "finished"
    assert facts["run"]["aggregation"] == "secure"
    assert [(r["outcome"], r["banks"]) for r in facts["rounds"]] == [("committed", SIMULATED + 1)] * (ROUNDS + 2)
    assert [one["seat"] for one in facts["banks"]] == [f"bank-{number:02d}" for number in range(1, SIMULATED + 2)]


def test_the_bank_has_no_more_than_it_needs(bank: Network, facts: dict[str, Any]) -> None:
    (container,) = bank.containers("bank")
    config, host = container["Config"], container["HostConfig"]
    assert config["User"] == "10001:10001"
    assert (host["CapAdd"] or [], host["CapDrop"]) == ([], ["ALL"])
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["ReadonlyRootfs"]
    assert not host["Privileged"]
    assert (host["PortBindings"] or {}) == {}
    assert {mount["Destination"]: mount["RW"] for mount in container["Mounts"]} == {
        "/data": True,
        "/join": False,
        "/rows": False,
    }


def test_a_bank_that_comes_back_is_the_bank_that_it_was(network: Network, bank: Network, facts: dict[str, Any]) -> None:
    bank.compose("up", "--detach", "--force-recreate")
    until(lambda: bank.events("bank", "joined"), "the bank is there again")
    assert len(seats(network)) == SIMULATED + 1


def test_a_bank_that_is_revoked_is_shut_out(network: Network, bank: Network, facts: dict[str, Any]) -> None:
    seat = f"bank-{SIMULATED + 1:02d}"
    assert network.operator("revoke", seat, "--reason", "it left").strip().endswith(f"{seat} is revoked")
    until(lambda: bank.events("bank", "shut out"), "the bank is shut out")
    assert seats(network)[seat] == "revoked"
