"""The commands themselves: `python -m services` under Ctrl-C, and what the containers run, each a fresh process."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.federation import journals
from tests.federation.networks import FINISHED
from tests.federation.waiting import wait_for

ROOT = Path(__file__).parents[2]


@contextmanager
def command(*words: str, log: Path, **settings: object) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m words...` in a process group of its own, its words in `log`, settings as environment variables."""
    environment = {"PATH": os.defpath, **{name.upper(): str(value) for name, value in settings.items()}}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield process
    finally:
        if group(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def group(number: int) -> list[str]:
    """The living processes of a process group."""
    listed = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    return [row[-1] for row in rows if row[0] == str(number) and not row[1].startswith("Z")]


def writers(log: Path) -> list[int]:
    """The living processes whose standard output is this file."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or is another user's
            if (process / "fd" / "1").readlink() == log:
                found.append(int(process.name))
    return found


def children(number: int) -> list[str]:
    """The living processes that a process started itself."""
    listed = subprocess.run(["ps", "--ppid", str(number), "-o", "args="], capture_output=True, text=True, check=False)
    return listed.stdout.splitlines()


def fork_servers(number: int) -> list[str]:
    """The living fork servers of a process group."""
    return [words for words in group(number) if "multiprocessing.forkserver" in words]


def read(log: Path) -> str:
    """What is in a log by now; nothing while there is none."""
    return log.read_text() if log.exists() else ""


def ended_in(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Sends SIGTERM; the exit status, if it came in time."""
    began = time.monotonic()
    process.terminate()
    status = process.wait(20)
    assert time.monotonic() - began < seconds
    return status


@pytest.mark.parametrize(
    ("after", "everybody"),
    [("joined", True), ("1/10000", False)],
    ids=["while banks join, to all as Ctrl-C", "during the rounds, to the parent alone"],
)
def test_sigint_ends_a_local_network_and_leaves_no_process(tmp_path: Path, after: str, everybody: bool) -> None:
    log, words = (
        tmp_path / "log",
        ("services", "--aggregation", "plain", "--banks", "2", "--rounds", "10000", "--run-dir", str(tmp_path / "run")),
    )
    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log) as process:
        wait_for(lambda: after in log.read_text(), f"{after} is shown", 60.0)
        assert fork_servers(process.pid)
        assert len(group(process.pid)) >= 4  # itself, the fork server, the aggregator and a bank
        began = time.monotonic()
        (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
        assert process.wait(20) == 130
        assert time.monotonic() - began < 10.0
        assert not fork_servers(process.pid)
        wait_for(lambda: not group(process.pid), "nothing is left running", 5.0)
    assert "Traceback" not in log.read_text()
    assert (tmp_path / "run" / "aggregator" / "journal.sqlite3").exists()


INTERRUPTED = """
import multiprocessing.context, os, signal, sys
originally = multiprocessing.context.ForkProcess.start
def start(process):
    originally(process)
    os.kill(os.getpid(), signal.SIGINT)
multiprocessing.context.ForkProcess.start = start
from services.local.__main__ import main
sys.exit(main())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is forked elsewhere")
def test_sigint_in_the_moment_of_a_fork_leaves_no_process(tmp_path: Path) -> None:
    (tmp_path / "interrupted.py").write_text(INTERRUPTED)
    log, words = tmp_path / "log", ("interrupted", "--banks", "4", "--run-dir", str(tmp_path / "run"))
    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log, pythonpath=tmp_path) as process:
        assert process.wait(30) == 130
        wait_for(lambda: not group(process.pid), "nothing is left running", 5.0)
    assert "stopping" in log.read_text()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is forked elsewhere")
def test_what_needs_no_torch_is_forked_from_the_launcher_and_ends_with_it(tmp_path: Path) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    words = ("services", "--aggregation", "plain", "--banks", "2", "--rounds", "10000", "--run-dir", str(run))
    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log) as process:
        wait_for(lambda: "joined" in log.read_text(), "a bank joins", 60.0)
        forked = [words for words in children(process.pid) if "multiprocessing" not in words]
        assert len(forked) >= 2  # the aggregator and the reporter, and the population while it writes
        assert len(group(process.pid)) > len(forked) + 2
        assert "the page is at" in log.read_text()
        process.kill()
        wait_for(lambda: not group(process.pid), "nothing is left running", 15.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="nothing is forked elsewhere")
def test_what_is_forked_ends_with_the_launcher_while_what_was_forked_later_hangs(tmp_path: Path) -> None:
    log, run = tmp_path / "log", tmp_path / "run"
    words = ("services", "--aggregation", "plain", "--banks", "2", "--rounds", "10000", "--run-dir", str(run))

    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log) as process:
        wait_for(lambda: "the page is at" in log.read_text(), "all are started", 60.0)
        (reporter,) = writers(run / "reporter" / "log")
        os.kill(reporter, signal.SIGSTOP)
        process.kill()
        wait_for(lambda: not writers(run / "aggregator" / "log"), "the aggregator ends", 15.0)
        assert writers(run / "reporter" / "log") == [reporter]


def test_a_local_network_whose_parent_is_killed_ends_by_itself(tmp_path: Path) -> None:
    log, words = (
        tmp_path / "log",
        ("services", "--aggregation", "plain", "--banks", "2", "--rounds", "10000", "--run-dir", str(tmp_path / "run")),
    )
    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log) as process:
        wait_for(lambda: "1/10000" in log.read_text(), "the rounds begin", 60.0)
        process.kill()
        process.wait(10)
        wait_for(lambda: not group(process.pid), "nothing is left running", 15.0)


def test_a_local_network_ends_by_itself_with_a_report_and_the_facts(tmp_path: Path) -> None:
    log, words = (
        tmp_path / "log",
        ("services", "--aggregation", "plain", "--banks", "2", "--rounds", "1", "--run-dir", str(tmp_path / "run")),
    )
    reports, facts = tmp_path / "reports", tmp_path / "facts.json"
    with command(*words, "--reports-dir", str(reports), "--json", str(facts), log=log) as process:
        assert process.wait(60) == 0
        assert not fork_servers(process.pid)
        wait_for(lambda: not group(process.pid), "nothing is left running", 5.0)
    (finished,) = journals.events(tmp_path / "run" / "aggregator", "run_finished")
    assert finished.outcome == FINISHED
    assert json.loads(facts.read_text())["run"]["model_sha256"] == finished.model_sha256.hex()
    assert facts.read_text() == (reports / finished.run_id / "facts.json").read_text()
    shown = log.read_text()
    assert f"model   {finished.model_sha256.hex()}" in shown
    assert f"report  {reports / finished.run_id / 'report.md'}" in shown
    assert "a bank alone, best" in shown


def test_a_network_that_is_kept_says_how_it_is_operated(tmp_path: Path) -> None:
    log, run = tmp_path / "log", tmp_path / "a run"
    words = ("services", "--aggregation", "plain", "--banks", "1", "--rounds", "1", "--keep", "--run-dir", str(run))
    with command(*words, "--reports-dir", str(tmp_path / "reports"), log=log) as process:
        operating = wait_for(lambda: re.search(r"AGGREGATOR=.* operate status\n", log.read_text()), "how", 60.0)
        assert operating is not None
        told = subprocess.run(["sh", "-c", operating[0]], cwd=ROOT, capture_output=True, text=True, timeout=30)
        lines = told.stdout.splitlines()
        assert lines[:2] == ["banks        1 present", "waiting for  an operator to start a run"], told.stderr
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


@pytest.mark.parametrize("taken", [True, False])
def test_a_network_says_where_its_page_is_and_takes_another_port_when_the_wanted_one_is_taken(
    tmp_path: Path, taken: bool
) -> None:
    log, holder = tmp_path / "log", socket.create_server(("127.0.0.1", 0))
    port = holder.getsockname()[1]
    if not taken:
        holder.close()
    words = ("services", "--aggregation", "plain", "--banks", "1", "--rounds", "1", "--keep", "--page-port", str(port))
    folders = ("--run-dir", str(tmp_path / "run"), "--reports-dir", str(tmp_path / "reports"))
    with holder, command(*words, *folders, log=log) as process:
        said = re.compile(r"the page is at (http://localhost:(\d+))( .*)?\n")
        found = wait_for(lambda: said.search(read(log)), "where the page is", 60.0)
        assert found is not None
        address, own, why = found.groups()
        assert (own != str(port), why) == ((True, f" (port {port} is taken)") if taken else (False, None))
        with urllib.request.urlopen(address, timeout=10) as response:  # noqa: S310  # loopback
            assert "fedfraud" in response.read().decode()
        wait_for(lambda: f"The page: {address}\n" in read(log), "the network is kept", 60.0)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_a_reporter_that_cannot_write_is_named_and_the_result_and_the_facts_are_there_all_the_same(
    tmp_path: Path,
) -> None:
    log, run, reports, facts = (tmp_path / name for name in ("log", "run", "reports", "facts.json"))
    plain = ("services", "--aggregation", "plain")
    words = (*plain, "--banks", "1", "--rounds", "10000", "--run-dir", str(run), "--reports-dir", str(reports))
    with command(*words, "--json", str(facts), log=log) as process:
        wait_for(lambda: "enrolled" in read(run / "reporter" / "log"), "the reporter follows", 60.0)
        reports.rmdir()
        reports.write_text("no folder")
        wait_for(lambda: "1/10000" in log.read_text(), "the rounds begin", 60.0)
        port, enrolment_port = re.findall(r"port=(\d+)", read(run / "aggregator" / "log"))
        operating = {"aggregator": f"127.0.0.1:{port}", "enrolment": f"127.0.0.1:{enrolment_port}"}
        stop, home = ("services.aggregator", "operate", "stop"), run / "join" / "operator"
        with command(*stop, log=tmp_path / "stop", **operating, join_dir=home) as operator:
            assert operator.wait(30) == 0
        assert process.wait(60) == 1
    assert f"the reporter ended with status 2 and wrote no report, see {run}/reporter/log" in log.read_text()
    assert "ERROR: cannot go on  reason=reports must be writable: " in (said := read(run / "reporter" / "log"))
    assert "Traceback" not in said
    assert "a bank alone, best" in log.read_text()
    assert "report  -" in log.read_text()
    assert json.loads(facts.read_text())["run"]["outcome"] == "stopped"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        (
            "disclose",
            "names",
            "DISCLOSE: a disclosure must be one of rows, fraud_rate, alone, federated or none, got 'names'",
        ),
        ("retry_limit", "0", "RETRY_LIMIT must be greater than 0, got '0'"),
        ("openai_timeout", "0", "OPENAI_TIMEOUT must be greater than 0, got '0'"),
        ("stall_timeout", "0", "STALL_TIMEOUT must be greater than 0, got '0'"),
    ],
    ids=["a bank's rule", "a bank's bound", "the reporter's bound", "the aggregator's bound"],
)
def test_a_setting_of_any_service_is_refused_before_anything_is_started(
    tmp_path: Path, variable: str, value: str, sentence: str
) -> None:
    words, settings = ("services", "--run-dir", str(tmp_path / "run")), {variable: value}
    with command(*words, log=tmp_path / "log", **settings) as process:
        assert process.wait(30) == 2
    assert (tmp_path / "log").read_text() == f"fedfraud: {sentence}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/proc").exists(), reason="needs a folder in which not even root makes files")
def test_reports_that_could_not_be_written_are_refused_before_anything_is_started(tmp_path: Path) -> None:
    words = ("services", "--run-dir", str(tmp_path / "run"), "--reports-dir", "/proc")
    with command(*words, log=tmp_path / "log") as process:
        assert process.wait(30) == 2
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("fedfraud: reports must be writable: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--recipe", "magic"), "fedfraud: recipe must be one of tutorial, default, cards, got 'magic'"),
        (("--population", "mars"), "fedfraud: population must be one of tutorial, cards, got 'mars'"),
        (("--preset", "small"), "fedfraud: the population tutorial has no presets, got 'small'"),
        (("--banks", "3"), "secure aggregation must have at least 4 expected banks, got 3"),
        (
            ("--aggregation", "plain", "--banks", "2", "--quorum", "3"),
            "quorum must be at most the expected banks, 2, got 3",
        ),
    ],
)
def test_what_cannot_run_is_refused_before_anything_is_started(
    tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    with command("services", *words, "--run-dir", str(tmp_path / "run"), log=tmp_path / "log") as process:
        assert process.wait(30) == 2
    assert sentence in (tmp_path / "log").read_text()
    assert len((tmp_path / "log").read_text().splitlines()) == 1
    assert not (tmp_path / "run").exists()


@contextmanager
def serving(home: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, object]]]:
    """An aggregator and an enrolled bank with its shard, as containers start them; and the bank's settings."""
    own = {
        "data_dir": home / "aggregator",
        "join_dir": home / "join",
        "expected_banks": 1,
        "aggregation": "plain",
        **settings,
    }
    ports = {"listen": "127.0.0.1:0", "enrolment_listen": "127.0.0.1:0"}
    log = home / "aggregator.log"
    with command("services.aggregator", "serve", log=log, **own, **ports) as aggregator:
        wait_for(lambda: "serving  port=" in log.read_text(), "the aggregator serves")
        port, enrolment_port = re.findall(r"port=(\d+)", log.read_text())
        addresses = {"aggregator": f"127.0.0.1:{port}", "enrolment": f"127.0.0.1:{enrolment_port}"}
        banking = {"data_dir": home / "bank", "join_dir": home / "join" / "bank", "aggregation": "plain", **addresses}
        for what in ("enrol", "write-shard"):
            with command("services.bank_client", what, log=home / f"{what}.log", **banking) as bank:
                assert bank.wait(60) == 0, (home / f"{what}.log").read_text()
        yield aggregator, banking


def test_the_containers_commands_make_a_network_and_end_on_sigterm(tmp_path: Path) -> None:
    sockets = tmp_path / "a.sock", tmp_path / "b.sock"
    with (
        serving(tmp_path, rounds=1, health_socket=sockets[0]) as (aggregator, banking),
        command("services.bank_client", "serve", log=tmp_path / "b.log", **banking, health_socket=sockets[1]) as bank,
    ):
        wait_for(lambda: journals.events(tmp_path / "aggregator", "run_finished"), "the run ends", 60.0)
        for path in sockets:
            with command("fedfraud.health", str(path), log=tmp_path / "health.log") as probe:
                assert probe.wait(30) == 0
        operating = {**banking, "join_dir": tmp_path / "join" / "operator"}
        with command("services.aggregator", "operate", "list", log=tmp_path / "list.log", **operating) as operator:
            assert operator.wait(30) == 0
        assert (tmp_path / "list.log").read_text().splitlines()[1].split()[:4] == ["bank-01", "present", "1", "1"]
        assert ended_in(bank, 5.0) == 0
        assert ended_in(aggregator, 5.0) == 0
    assert "Traceback" not in (tmp_path / "b.log").read_text() + (tmp_path / "aggregator.log").read_text()


def test_a_bank_ends_on_sigterm_though_it_imports_torch(tmp_path: Path) -> None:
    log = tmp_path / "b.log"
    with (
        serving(tmp_path) as (_, banking),
        command("services.bank_client", "serve", log=log, **banking) as bank,
    ):
        wait_for(lambda: " contributed " in log.read_text(), "the bank answers the first round")
        assert ended_in(bank, 5.0) == 0
    assert "Traceback" not in log.read_text()


def test_a_simulated_bank_is_made_and_serves_by_one_command_and_is_the_same_after_a_restart(tmp_path: Path) -> None:
    log = tmp_path / "b.log"

    def joins(lease: int, settings: dict[str, object]) -> None:
        with command("services.bank_client", "simulate", log=log, **settings) as bank:
            wait_for(lambda: f" joined  seat=bank-02 lease={lease} " in log.read_text(), "the bank joins")
            with command("services.aggregator", "operate", "list", log=tmp_path / "list.log", **operating) as operator:
                assert operator.wait(30) == 0
            assert "libtorch" not in Path(f"/proc/{bank.pid}/maps").read_text()  # until a round comes
            assert ended_in(bank, 5.0) == 0
        assert "Traceback" not in log.read_text()

    with serving(tmp_path, autostart=False) as (_, banking):
        operating = {**banking, "join_dir": tmp_path / "join" / "operator"}
        own = {**banking, "data_dir": tmp_path / "other"}
        joins(1, own)
        joins(2, own)
        issued = [event.seat for event in journals.events(tmp_path / "aggregator", "certificate_issued")]
        assert [seat for seat in issued if seat] == ["bank-01", "bank-02"]


def test_services_that_cannot_start_say_why_in_a_line(tmp_path: Path) -> None:
    cases: list[tuple[tuple[str, str], dict[str, object], str]] = [
        (("services.aggregator", "serve"), {"quorum": 11}, "quorum must be at most the expected banks, 10, got 11"),
        (
            ("services.aggregator", "serve"),
            {"population": "mars"},
            "population must be one of tutorial, cards, got 'mars'",
        ),
        (("services.bank_client", "serve"), {}, "a bank must be enrolled before it serves, "),
        (("services.bank_client", "enrol"), {}, "a join folder must hold ca.pem and token, readable: "),
        (("services.bank_client", "serve"), {"disclose": "names"}, "a disclosure must be one of rows, fraud_rate, "),
    ]
    for words, settings, sentence in cases:
        log = tmp_path / "log"
        with command(*words, log=log, data_dir=tmp_path / "data", join_dir=tmp_path / "join", **settings) as process:
            assert process.wait(30) == 2, words
        assert sentence in log.read_text()
        assert "Traceback" not in log.read_text()
