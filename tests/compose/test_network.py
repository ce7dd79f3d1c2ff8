"""The main job in containers: ten banks enrol, train on their own rows alone, and a report appears on the host."""

import json
import os
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from fedfraud.build import UNKNOWN, build
from tests.compose.network import (
    BANKS,
    HOST_GROUP,
    HOST_USER,
    ROOT,
    ROUNDS,
    SERVICES,
    Network,
    run_python,
    until,
)
from tests.compose.running import plain_computation

pytestmark = pytest.mark.timeout(480)

SEATS = [f"bank-{number:02d}" for number in range(1, BANKS + 1)]
ROW_HASHES = """
import hashlib, json
from pathlib import Path
from fedfraud.transactions import TUTORIAL
from services.bank_client.own_data import read_table
rows = read_table(Path("/data/dataset.parquet"), TUTORIAL).features
print(json.dumps([hashlib.sha256(row.tobytes()).hexdigest()[:24] for row in rows]))
"""


@pytest.fixture(scope="module")
def facts(network: Network) -> dict[str, Any]:
    return network.facts(network.reported_run(1))


def test_ten_banks_have_ten_seats(network: Network) -> None:
    assert sorted(network.seats().values()) == SEATS
    listed = [line.split()[:4] for line in network.operator("list").splitlines() if line.startswith("bank-")]
    assert listed == [[seat, "present", "1", str(slot)] for slot, seat in enumerate(SEATS, 1)]


def test_no_row_is_in_two_banks_and_all_rows_are_there(network: Network) -> None:
    rows = [row for bank in network.containers("bank_client") for row in run_python(bank["Id"], ROW_HASHES)]
    assert len(rows) == len(set(rows)) == 48_000


def test_every_bank_is_in_every_round(facts: dict[str, Any]) -> None:
    assert facts["run"]["outcome"] == "finished"
    assert [(r["number"], r["outcome"], r["banks"]) for r in facts["rounds"]] == [
        (number, "committed", BANKS) for number in range(ROUNDS + 2)
    ]
    assert [bank["seat"] for bank in facts["banks"]] == SEATS


def test_the_facts_name_the_commit_that_the_images_were_built_from(facts: dict[str, Any]) -> None:
    commit = build().commit if (ROOT / ".git").is_dir() else UNKNOWN  # a worktree's git is elsewhere
    assert facts["code"] == {"version": build().version, "commit": commit}


def test_the_model_is_that_of_a_plain_computation_bit_for_bit(network: Network, facts: dict[str, Any]) -> None:
    assert facts["run"]["model_sha256"] == plain_computation(network)


def test_an_api_that_fails_does_not_cost_the_report(network: Network, facts: dict[str, Any]) -> None:
    report = (network.reports / facts["run"]["id"] / "report.md").read_text()
    headings = [line for line in report.splitlines() if line.startswith("## ")]
    assert headings == ["## Executive summary", "## Metric interpretation", "## Risks", "## Next steps"]
    assert network.events("reporter", "narrative by template")


def test_the_page_is_on_loopback_and_shows_the_run(network: Network, facts: dict[str, Any]) -> None:
    published = network.compose("port", "reporter", "8080").strip()
    assert published.startswith("127.0.0.1:")
    with urllib.request.urlopen(f"http://{published}/facts.json", timeout=30) as response:
        shown = json.load(response)
    assert shown["run"]["id"] == facts["run"]["id"]
    with urllib.request.urlopen(f"http://{published}/", timeout=30) as response:
        assert facts["run"]["id"] in response.read().decode()
    request = urllib.request.Request(f"http://{published}/", headers={"Host": "another.example"})
    with pytest.raises(urllib.error.HTTPError, match="421"):
        urllib.request.urlopen(request, timeout=30)  # noqa: S310  # loopback


def test_the_hosts_user_can_delete_the_report(network: Network, facts: dict[str, Any]) -> None:
    folder = network.reports / facts["run"]["id"]
    names = {path.name for path in folder.iterdir()}
    assert {"facts.json", "report.md", "report.html", "model.safetensors", "model.onnx", "MODEL_CARD.md"} <= names
    assert {path.stat().st_gid for path in (network.reports, folder, *folder.iterdir())} == {HOST_GROUP}
    identity = (
        ["setpriv", f"--reuid={HOST_USER}", f"--regid={HOST_GROUP}", "--clear-groups"] if not os.geteuid() else []
    )
    subprocess.run([*identity, "rm", "-r", folder], check=True)
    assert list(network.reports.iterdir()) == []


def test_every_service_is_healthy(network: Network) -> None:
    def states() -> set[str]:
        return {one["State"]["Health"]["Status"] for one in network.containers(*SERVICES)}

    until(lambda: states() == {"healthy"}, "all containers are healthy")


def test_a_second_up_changes_nothing(network: Network) -> None:
    def started() -> list[tuple[str, str]]:
        return [(one["Id"], one["State"]["StartedAt"]) for one in network.containers("aggregator", "bank_client")]

    before = started()
    assert "Running" in network.compose("up", "--detach")
    assert started() == before
    assert [one["State"]["Running"] for one in network.containers(*SERVICES)] == [True] * (BANKS + 2)
