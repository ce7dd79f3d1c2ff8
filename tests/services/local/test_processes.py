"""The local processes: how they log, and what rows the banks among them get."""

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from fedfraud.errors import Misconfigured
from services.aggregator.settings import Settings
from services.bank_client.settings import Settings as BankSettings
from services.local import children
from services.local.processes import LocalNetwork
from tests.federation.waiting import wait_for


def test_processes_log_in_the_form_and_from_the_level_that_their_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FORM", "json")
    present = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False, log_level="warning"))
    try:
        present.start_aggregator()
        present.start_bank(1)
        bank = present.log_file("bank-01")
        wait_for(lambda: bank.exists() and "joined" in bank.read_text(), "the bank joins", 60.0)
    finally:
        present.stop()
    assert {json.loads(line)["level"] for line in bank.read_text().splitlines()} >= {"info"}
    assert present.log_file("aggregator").read_text() == ""  # it started, and had nothing to warn of


def may_be_batch() -> bool:
    """Whether this is a Linux that lets a process have its turn in full; a sandbox may not."""
    code = "import os; os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))"
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not may_be_batch(), reason="batch scheduling is of Linux alone, and not of every sandbox")
def test_processes_have_their_turn_before_another_has_its_own(tmp_path: Path) -> None:
    present = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False))
    try:
        present.start_aggregator()
        present.start_bank(1)
        bank = present.log_file("bank-01")
        wait_for(lambda: bank.exists() and "joined" in bank.read_text(), "the bank joins", 60.0)
        policies = [os.sched_getscheduler(process.pid or 0) for process in present.processes.values()]
    finally:
        present.stop()
    assert policies == [os.SCHED_BATCH] * 2


def test_banks_take_the_shards_and_the_seats_that_one_process_took_for_them(tmp_path: Path) -> None:
    present = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False))
    try:
        present.write_population(2)
        present.start_aggregator()
        pairs = [tmp_path / f"bank-0{number}" / "identity.pem" for number in (1, 2)]
        wait_for(lambda: all(pair.exists() for pair in pairs), "two banks without a process have seats", 60.0)
        before = [pair.read_bytes() for pair in pairs]
        for number in (3, 2, 1):  # the third draws its own
            present.start_bank(number)
        logs = [present.log_file(f"bank-0{number}") for number in (1, 2, 3)]
        wait_for(
            lambda: all(log.exists() and "joined" in log.read_text() for log in logs), "all three banks join", 60.0
        )
    finally:
        present.stop()
    assert [pair.read_bytes() for pair in pairs] == before
    assert [json.loads((tmp_path / f"bank-0{n}" / "enrolment.json").read_text())["slot"] for n in (1, 2, 3)] == [
        1,
        2,
        3,
    ]
    for number in (1, 2):
        taken = tmp_path / f"bank-0{number}" / "dataset.parquet"
        assert taken.samefile(tmp_path / "population" / f"slot-0{number}" / "dataset.parquet")
    assert (tmp_path / "bank-03" / "dataset.parquet").stat().st_nlink == 1


def test_an_aggregator_whose_holdout_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    no_seed = Settings(hostnames="127.0.0.1", autostart=False).model_copy(update={"seed": 2**32})
    present = LocalNetwork(tmp_path, no_seed)
    try:
        present.write_population()
        with pytest.raises(Misconfigured, match=r"the hold-out must be written, see .*population/log"):
            present.start_aggregator()
    finally:
        present.stop()
    assert "seed must be 0 to" in present.log_file("population").read_text()


def test_banks_whose_seats_and_shards_do_not_come_see_to_it_themselves(tmp_path: Path) -> None:
    present = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False))
    try:
        present.write_population(2)
        wait_for((tmp_path / "population" / "holdout.npz").exists, "the hold-out is written", 60.0)
        present.processes["population"].kill()
        present.start_aggregator()
        present.start_bank(1)
        log = present.log_file("bank-01")
        wait_for(lambda: log.exists() and "joined" in log.read_text(), "the bank joins", 60.0)
    finally:
        present.stop()
    assert (tmp_path / "bank-01" / "dataset.parquet").exists()


def test_a_bank_and_who_takes_its_seat_for_it_at_the_same_time_get_one_seat(tmp_path: Path) -> None:
    present, both = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False)), threading.Barrier(2)

    def slot(settings: BankSettings) -> int:
        both.wait(10)
        return uvloop.run(children.enrolled(settings)).slot

    try:
        present.start_aggregator()
        with ThreadPoolExecutor(2) as threads:
            for number in (1, 2, 3):
                own = BankSettings(
                    enrolment=present.enrolment_address,
                    join_dir=present.join_dir / "bank",
                    data_dir=tmp_path / f"bank-0{number}",
                )
                assert list(threads.map(slot, [own, own])) == [number, number]
    finally:
        present.stop()


def test_a_page_whose_port_is_taken_while_the_reporter_waits_has_another(tmp_path: Path) -> None:
    present = LocalNetwork(tmp_path, Settings(hostnames="127.0.0.1", autostart=False))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    try:
        present.start_reporter(tmp_path / "reports", port)
        with socket.create_server(("127.0.0.1", port)):
            present.start_aggregator()
            page = present.page_url()
    finally:
        present.stop()
    assert page.startswith("http://localhost:")
    assert not page.endswith(f":{port}")
