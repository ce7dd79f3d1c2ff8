"""What a container may do and see: as little as its work needs."""

import json
from collections.abc import Iterator

import pytest

from tests.compose.network import (
    BANKS,
    SERVICES,
    Inspected,
    Network,
    address,
    docker,
    execute,
    run_python,
    until,
)

pytestmark = pytest.mark.timeout(480)

UNREACHABLE = {"ENETUNREACH", "EHOSTUNREACH", "EAGAIN"}  # no way there, or no answer in time
CONNECT = """
import errno, json, socket, sys
with socket.socket() as s:
    s.settimeout(1)
    print(json.dumps(errno.errorcode.get(s.connect_ex((sys.argv[1], int(sys.argv[2]))), "OK")))
"""
OPEN_PORTS = """
import json, socket, sys
found = []
for port in range(1, 65536):
    with socket.socket() as s:
        s.settimeout(0.2)
        if s.connect_ex((sys.argv[1], port)) == 0:
            found.append(port)
print(json.dumps(found))
"""
OUTER_PORT = "8080"


@pytest.fixture(scope="module")
def bank(network: Network) -> Inspected:
    return network.containers("bank_client")[0]


@pytest.fixture(scope="module")
def reporter(network: Network) -> Inspected:
    return network.containers("reporter")[0]


@pytest.fixture(scope="module")
def outer(network: Network) -> Iterator[str]:
    """The address of a web server on the network that leads out."""
    outside, name = f"{network.project}_outside", f"{network.project}-outer"
    serve = ("python", "-m", "http.server", OUTER_PORT)
    docker("run", "--detach", "--name", name, "--network", outside, network.image("aggregator"), *serve)
    try:
        yield json.loads(docker("inspect", name))[0]["NetworkSettings"]["Networks"][outside]["IPAddress"]
    finally:
        docker("rm", "--force", name)


@pytest.mark.parametrize("service", [*SERVICES, "operator", "holdout", "central", "reports_owner"])
def test_a_container_has_no_more_than_it_needs(network: Network, service: str) -> None:
    if service == "operator":
        network.compose("--profile", "operator", "create", "operator")
    containers = network.containers(service)
    assert len(containers) == (BANKS if service == "bank_client" else 1)
    for container in containers:
        config, host = container["Config"], container["HostConfig"]
        owner = service == "reports_owner"
        assert config["User"] == ("0:0" if owner else "10001:10001")
        assert [cap.removeprefix("CAP_") for cap in host["CapAdd"] or []] == (["CHOWN"] if owner else [])
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["ReadonlyRootfs"] == (service != "reporter")  # Compose puts a key from the variable into it
        assert not host["Privileged"]
        assert host["Tmpfs"] == {"/tmp": "rw,noexec,nosuid,nodev,size=16m"}  # noqa: S108  # the container's own
        assert host["Init"]
        assert (host["IpcMode"], host["PidMode"]) == ("private", "")
        assert 0 < host["PidsLimit"] <= 128
        assert 0 < host["Memory"] <= 2**30
        assert 0 < host["NanoCpus"] <= 10**9
        assert host["LogConfig"]["Config"] == {"max-size": "5m", "max-file": "3"}
        page = {"8080/tcp": [{"HostIp": "127.0.0.1", "HostPort": "0"}]}
        assert (host["PortBindings"] or {}) == (page if service == "reporter" else {})
        assert config.get("StopTimeout") == (5 if service in SERVICES else None)
        assert host["RestartPolicy"]["Name"] in (("on-failure",) if service in SERVICES else ("", "no"))


@pytest.mark.parametrize(
    ("service", "networks"),
    [
        ("aggregator", {"banks", "reporting", "operation"}),
        ("bank_client", {"banks"}),
        ("reporter", {"reporting", "outside"}),
        ("holdout", set()),
        ("central", set()),
        ("reports_owner", set()),
    ],
)
def test_a_container_stands_in_its_networks_alone(network: Network, service: str, networks: set[str]) -> None:
    wanted = {f"{network.project}_{name}" for name in networks} or {"none"}
    assert all(set(one["NetworkSettings"]["Networks"]) == wanted for one in network.containers(service))


def test_only_one_network_leads_out(network: Network) -> None:
    names = [f"{network.project}_{name}" for name in ("banks", "reporting", "operation", "outside")]
    assert [one["Internal"] for one in json.loads(docker("network", "inspect", *names))] == [True, True, True, False]


def test_a_bank_mounts_its_own_volume_and_the_read_only_join_folder_alone(network: Network) -> None:
    banks = network.containers("bank_client")
    mounts = [sorted((m["Destination"], m["Type"], m["RW"], m["Name"]) for m in bank["Mounts"]) for bank in banks]
    own = [data[-1] for data, _ in mounts]
    join = ("/join", "volume", False, f"{network.project}_join_bank")
    assert mounts == [[("/data", "volume", True, name), join] for name in own]
    assert len(set(own)) == BANKS
    others = network.containers("aggregator", "reporter", "holdout", "central", "reports_owner")
    assert not set(own) & {mount.get("Name") for one in others for mount in one["Mounts"]}


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_has_no_capability_and_gains_none(network: Network, service: str) -> None:
    container = network.containers(service)[0]["Id"]
    lines = execute(container, "cat", "/proc/self/status").splitlines()
    status = dict(line.split(":", 1) for line in lines if ":" in line)
    assert status["Uid"].split() == ["10001"] * 4
    assert {status[name].strip("\t0") for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb")} == {""}
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")


def test_a_process_writes_nowhere_but_its_volumes_and_runs_nothing_from_tmp(bank: Inspected) -> None:
    attempts = (
        "exec 2>&1; touch /data/x && rm /data/x && echo data; for f in /app/x /join/x /etc/x; do touch $f; done; "
    )
    attempts += "printf '#!/bin/sh\necho ran' > /tmp/x; chmod +x /tmp/x; /tmp/x; rm /tmp/x"
    said = execute(bank["Id"], "sh", "-c", attempts).splitlines()
    assert said[0] == "data"
    assert [line.rpartition(": ")[2] for line in said[1:]] == ["Read-only file system"] * 3 + ["Permission denied"]


def test_an_image_holds_its_service_and_what_all_share(network: Network) -> None:
    def folders(service: str) -> set[str]:
        listed = "cd /app; ls -A -d * .[!.]* services/* 2>/dev/null || true"
        return set(execute(network.containers(service)[0]["Id"], "sh", "-c", listed).split())

    common = {"fedfraud", "services", "services/__init__.py"}
    assert folders("aggregator") == common | {"services/aggregator"}
    assert folders("bank_client") == common | {"services/bank_client", "simulation"}
    assert folders("reporter") == common | {"services/reporter"}


@pytest.mark.parametrize(
    ("service", "torch", "openai"), [("aggregator", 0, 0), ("bank_client", 1, 0), ("reporter", 0, 1)]
)
def test_only_banks_have_torch_and_only_the_reporter_openai(
    network: Network, service: str, torch: int, openai: int
) -> None:
    code = (
        "import importlib.util as u, json; print(json.dumps([u.find_spec(n) is not None for n in ('torch', 'openai')]))"
    )
    assert run_python(network.containers(service)[0]["Id"], code) == [torch, openai]


def test_a_bank_finds_the_aggregators_two_ports_and_none_of_another_bank(network: Network, bank: Inspected) -> None:
    aggregator, other = network.containers("aggregator")[0], network.containers("bank_client")[1]
    assert run_python(bank["Id"], OPEN_PORTS, address(aggregator, "banks")) == [7443, 7444]
    assert run_python(bank["Id"], OPEN_PORTS, address(other, "banks")) == []


def test_a_bank_reaches_neither_the_reporter_nor_a_server_outside(
    bank: Inspected, reporter: Inspected, outer: str
) -> None:
    for target in (address(reporter, "reporting"), address(reporter, "outside"), outer):
        assert run_python(bank["Id"], CONNECT, target, OUTER_PORT) in UNREACHABLE


def test_the_aggregator_reaches_no_server_outside(network: Network, outer: str) -> None:
    assert run_python(network.containers("aggregator")[0]["Id"], CONNECT, outer, OUTER_PORT) in UNREACHABLE


def test_the_reporter_reaches_a_server_outside_and_no_bank(bank: Inspected, reporter: Inspected, outer: str) -> None:
    until(lambda: run_python(reporter["Id"], CONNECT, outer, OUTER_PORT) == "OK", "the outer server answers", 30)
    assert run_python(reporter["Id"], CONNECT, address(bank, "banks"), "7443") in UNREACHABLE | {"ETIMEDOUT"}


def test_inside_nobody_is_asked_for_outside_names(network: Network) -> None:
    inside = network.containers("aggregator", "bank_client")
    assert [one["HostConfig"]["Dns"] for one in inside] == [["127.0.0.1"]] * (BANKS + 1)


def test_the_key_reaches_the_reporter_and_no_secret_is_where_others_look(network: Network, reporter: Inspected) -> None:
    key = network.key_file.read_text()
    assert execute(reporter["Id"], "cat", "/run/secrets/openai_api_key") == key
    aggregator = network.containers("aggregator")[0]["Id"]
    read = "cd /data/authority; for f in *.token; do cat $f; echo; done; sed -n 2p ca.key"
    secrets = [key, *execute(aggregator, "sh", "-c", read).split()]
    assert len(secrets) == 5
    containers = network.containers()
    seen = [json.dumps(containers)]
    seen += [docker("logs", one["Id"]) for one in containers]
    seen += [docker("history", "--no-trunc", network.image(image)) for image in SERVICES]
    seen += [docker("image", "inspect", network.image(image)) for image in SERVICES]
    assert [secret[:6] for secret in secrets if any(secret in text for text in seen)] == []
    with_secrets = [one["Id"] for one in containers if any("/run/secrets" in m["Destination"] for m in one["Mounts"])]
    assert with_secrets == [reporter["Id"]]


def test_the_reporter_writes_nowhere_but_its_volumes_either(reporter: Inspected) -> None:
    places = "/app/x /app/services/x /join/x /etc/x /run/x /run/secrets/x /opt/venv/x"
    attempts = f"exec 2>&1; for f in {places}; do touch $f; done; true"
    said = execute(reporter["Id"], "sh", "-c", attempts).splitlines()
    assert len(said) == 7
    assert {line.rpartition(": ")[2] for line in said} <= {"Permission denied", "Read-only file system"}


@pytest.mark.parametrize("given", ["", "sk-variable-2b1c"])
def test_a_key_in_the_variable_is_a_file_too_and_goes_first(network: Network, given: str) -> None:
    name = f"{network.project}-key"
    network.compose("run", "--detach", "--no-deps", "--name", name, "reporter", "sleep", "60", OPENAI_API_KEY=given)
    try:
        read = "import json; from services.reporter.settings import Settings"
        assert run_python(name, f"{read}; print(json.dumps(Settings().key().get_secret_value()))") == (
            given or network.key_file.read_text()
        )
        assert not given or given not in docker("inspect", name)
    finally:
        docker("rm", "--force", name)
