"""What the local processes are forked from, and how they log."""

import json
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

import pytest

from services.aggregator.settings import Settings
from services.local.processes import LocalNetwork, context, end_fork_server
from tests.federation.waiting import wait_for


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are forked from a server on Linux alone")
def test_the_fork_server_ends_when_it_is_told_to_and_comes_back_with_the_next_process() -> None:
    servers = []
    for _ in range(2):
        process = context().Process(target=os.getpid)  # type: ignore[attr-defined]  # every context has it
        process.start()
        process.join(60)
        assert process.exitcode == 0
        servers.append(getattr(forkserver, "_forkserver")._forkserver_pid)  # noqa: B009  # unknown to the type stubs
        end_fork_server()
        with pytest.raises(ProcessLookupError):
            os.kill(servers[-1], 0)
    assert servers[0] != servers[1]
    end_fork_server()  # none is there: nothing happens


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
