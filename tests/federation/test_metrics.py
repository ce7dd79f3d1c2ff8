"""The aggregator's metrics, scraped from a running network and parsed as Prometheus does; and again after a restart."""

import re
import shutil
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.federation.networks import FINISHED, Network, network
from tests.federation.waiting import wait_for

Labels = tuple[tuple[str, str], ...]
STAGES = ("advertise", "share", "mask", "consent", "unmask")


def port_of(present: Network) -> int:
    """Where the aggregator that was started last says that metrics can be read."""
    return int(re.findall(r"metrics can be read  port=(\d+)", present.log_file("aggregator").read_text())[-1])


def scrape_reporter(present: Network) -> dict[tuple[str, Labels], float]:
    """The reporter's, from the page's own port."""
    return scrape(int(present.page_url().rstrip("/").rpartition(":")[2]))


def scrape(port: int) -> dict[tuple[str, Labels], float]:
    """Every sample by its name and its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:  # ours
        text = response.read().decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families)
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def own(found: dict[tuple[str, Labels], float], name: str, **labels: str) -> float:
    """One sample."""
    return found[f"fedfraud_{name}", tuple(sorted(labels.items()))]


def counted(found: dict[tuple[str, Labels], float]) -> dict[tuple[str, Labels], float]:
    """What follows from the journal alone, but for what a restart itself writes there."""
    counters = ("fedfraud_r", "fedfraud_stage", "fedfraud_contribution")
    return {key: value for key, value in found.items() if key[0].startswith(counters) and "run_" not in key[0]}


def test_metrics_say_what_the_journal_says_and_the_same_after_a_restart(tmp_path: Path) -> None:
    settings = {"expected_banks": 4, "rounds": 2, "metrics_listen": "127.0.0.1:0"}
    with network(tmp_path, aggregation="secure", **settings) as present:
        for number in range(1, 5):
            present.give_rows(number, 300)
        present.start_aggregator()
        idle = scrape(port_of(present))
        assert own(idle, "rounds_total", outcome="committed") == own(idle, "contribution_bytes_total") == 0
        assert own(idle, "runs_total", outcome="failed") == 0
        present.start_banks(1, 2, 3, 4)
        assert own(scrape(port_of(present)), "banks", state="present") == 4
        assert present.run_ended(present.start_run()).outcome == FINISHED
        present.operate("stop")  # refused: journalled by nobody
        found = scrape(port_of(present))

        accepted, committed = present.events("contribution_accepted"), present.events("round_committed")
        assert own(found, "rounds_total", outcome="committed") == len(committed) == 4
        assert own(found, "rounds_total", outcome="void") == own(found, "rounds_total", outcome="abandoned") == 0
        assert own(found, "runs_total", outcome="finished") == 1
        assert own(found, "contributions_total", result="accepted", status="OK") == len(accepted) == 16
        assert own(found, "contribution_bytes_total") == sum(event.size_bytes for event in accepted) > 0
        assert own(found, "round_seconds_count", outcome="committed") == 4
        assert own(found, "round_seconds_sum", outcome="committed") == pytest.approx(sum(e.seconds for e in committed))
        assert [own(found, "stage_seconds_count", stage=stage) for stage in STAGES] == [4] * 5
        stages = sum(own(found, "stage_seconds_sum", stage=stage) for stage in STAGES)
        assert 0 < stages <= sum(e.seconds for e in committed) + 0.1
        assert own(found, "journal_entries") == len(present.entries())
        assert (own(found, "serving"), own(found, "run_open"), own(found, "epoch")) == (1, 0, 1)
        free = shutil.disk_usage(tmp_path).free
        assert own(found, "disk_free_bytes") == pytest.approx(free, rel=0.1)
        (build,) = [dict(labels) for name, labels in found if name == "fedfraud_build_info"]
        assert build.keys() == {"version", "protocol", "python", "grpc", "journal_schema"}

        present.kill_aggregator()
        present.start_aggregator()
        present.wait("lease_granted", count=8)  # all four are back
        again = scrape(port_of(present))
        assert counted(again) == counted(found)
        assert own(again, "epoch") == 2


def test_what_is_waited_for_and_what_was_refused_or_void_is_counted_and_nothing_is_named(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=2, quorum=2, round_deadline=1.5, metrics_listen="127.0.0.1:0") as present:
        for number in (1, 2):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        present.pause(2)
        run_id = present.start_run()
        present.accepted(run_id, 1, "bank-01")
        found = scrape(port_of(present))
        assert (own(found, "awaited_banks"), own(found, "run_open")) == (1, 1)
        assert 0 < own(found, "awaited_seconds") < 1.5
        present.wait("round_void")
        present.resume(2)  # its contribution comes late
        present.wait("contribution_refused")
        wait_for(lambda: own(scrape(port_of(present)), "rounds_total", outcome="void") >= 1, "the void round counts")
        present.kill(1)
        present.wait("run_finished")
        found = scrape(port_of(present))
        assert own(found, "rounds_total", outcome="void") == len(present.events("round_void"))
        refused = Counter(event.status for event in present.events("contribution_refused"))
        told = {
            dict(labels)["status"]: value
            for (name, labels), value in found.items()
            if name == "fedfraud_contributions_total" and ("result", "refused") in labels
        }
        assert told == refused
        assert own(found, "banks", state="absent") == 1
        words = {word for (name, labels) in found if name.startswith("fedfraud") for _, word in labels}
        assert not [word for word in words if "bank-" in word or run_id in word]


def test_the_reporter_counts_what_it_wrote_and_who_follows_its_page(tmp_path: Path) -> None:
    with network(tmp_path, expected_banks=1, quorum=1, rounds=1) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_reporter(tmp_path / "reports")
        wait_for(lambda: own(scrape_reporter(present), "journal_stream_up") == 1, "the journal is followed")
        before = scrape_reporter(present)
        assert own(before, "reports_written_total") == own(before, "page_streams") == 0
        present.start_banks(1)
        present.run_ended(present.start_run())
        wait_for(lambda: own(scrape_reporter(present), "reports_written_total") == 1, "the report is written")
        found = scrape_reporter(present)
        assert {
            result: own(found, "narratives_total", result=result) for result in ("model", "template", "failed")
        } == {
            "model": 0,
            "template": 1,
            "failed": 0,
        }
        with urllib.request.urlopen(present.page_url().rstrip("/") + "/events", timeout=10) as following:  # noqa: S310  # ours
            following.readline()
            assert own(scrape_reporter(present), "page_streams") == 1
        present.kill_aggregator()
        wait_for(lambda: own(scrape_reporter(present), "journal_stream_up") == 0, "the journal is out of reach")


def listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on (Linux)."""
    own_sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # what was open for a moment may be closed since it was listed
            own_sockets.add(str(link.readlink()))
    rows = [
        line.split()
        for kind in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{kind}").read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own_sockets
    }


@pytest.mark.parametrize("address", ["", "127.0.0.1:0"], ids=["without the setting", "with it"])
def test_the_metrics_port_is_there_when_it_is_set_and_only_then(
    tmp_path: Path, address: str, lacking: Callable[[str], NoReturn]
) -> None:
    if not Path("/proc/self/net/tcp").exists():
        lacking("/proc, which tells what a process listens on")
    with network(tmp_path, metrics_listen=address) as present:
        present.start_aggregator()
        ports = {int(each.rpartition(":")[2]) for each in (present.address, present.enrolment_address)}
        pid = present.processes["aggregator"].pid
        assert pid is not None
        assert listening(pid) == (ports | {port_of(present)} if address else ports)
