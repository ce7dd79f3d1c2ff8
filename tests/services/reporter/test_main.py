"""The two commands as processes: serve until SIGTERM, write a report again."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from fedfraud.health import probe
from services.reporter.desk import is_written
from tests.services.reporter.aggregators import Network, network, until
from tests.services.reporter.journals import RUN, two_banks
from tests.services.reporter.responses_api import Answer, response, serving

ROOT = Path(__file__).parents[3]


def start(home: Network, **variables: str) -> subprocess.Popen[str]:
    """Starts `serve` with these variables and nothing of the test's environment that it reads."""
    environment = {
        "PATH": os.environ["PATH"],
        "AGGREGATOR": f"127.0.0.1:{home.port}",
        "ENROLMENT": f"127.0.0.1:{home.enrolment_port}",
        "JOIN_DIR": str(home.join / "reporter"),
        "REPORTS_DIR": str(home.home / "reports"),
        "HEALTH_SOCKET": str(home.home / "health.sock"),
        "PAGE_LISTEN": "127.0.0.1:0",
        **variables,
    }
    command = [sys.executable, "-m", "services.reporter", "serve"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def write(reports: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `write` without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "services.reporter", "write", "--reports-dir", str(reports), *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


async def terminate(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Sends SIGTERM; how many seconds it took to end, and what it logged. Killed if the test failed before."""
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    try:
        _, said = await asyncio.to_thread(process.communicate, timeout=10)
    finally:
        process.kill()
    return time.monotonic() - started, said


async def test_serve_writes_the_report_says_it_is_well_and_ends_within_five_seconds(tmp_path: Path) -> None:
    home, reports = network(tmp_path), tmp_path / "reports"
    await home.tell(two_banks())
    async with home.up():
        process = start(home)
        try:
            await until(lambda: is_written(reports / RUN, RUN))
            assert await asyncio.to_thread(probe, tmp_path / "health.sock")
        finally:
            seconds, said = await terminate(process)
    assert (process.returncode, seconds < 5) == (0, True)
    assert f"report written  run={RUN} path={reports / RUN / 'report.md'}" in said


async def test_serve_ends_within_five_seconds_while_a_model_has_not_answered(tmp_path: Path) -> None:
    home, reports = network(tmp_path), tmp_path / "reports"
    await home.tell(two_banks())
    with serving(Answer(hang=True)) as api:
        async with home.up():
            process = start(home, OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL=api.url, LOG_LEVEL="debug")
            try:
                await until(lambda: len(api.asked) == 1)
            finally:
                seconds, said = await terminate(process)
    assert (process.returncode, seconds < 5) == (0, True)
    assert "the reporter was stopped before the model answered" in (reports / RUN / "report.md").read_text()
    assert "sk-secret" not in said


def test_serve_refuses_a_key_file_that_cannot_be_read(tmp_path: Path) -> None:
    process = start(network(tmp_path), OPENAI_API_KEY_FILE=str(tmp_path))
    _, said = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "OPENAI_API_KEY_FILE must be readable: Is a directory" in said
    assert "Traceback" not in said


def test_write_writes_the_last_runs_report_again_by_template_without_a_key(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "facts.json").write_text(two_banks().facts().to_json())
    done = write(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / RUN / 'report.md'}\n")
    assert "Narrative by template." in (tmp_path / RUN / "report.md").read_text()


def test_write_asks_the_model_when_there_is_a_key(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "facts.json").write_text(two_banks().facts().to_json())
    key = tmp_path / "key"
    key.write_text("sk-secret\n")
    with serving(response()) as api:
        done = write(tmp_path, "--run", RUN, OPENAI_API_KEY_FILE=str(key), OPENAI_BASE_URL=api.url)
    assert done.returncode == 0, done.stderr
    assert "0.700 with the federated model; the mean difference is +0.150" in (tmp_path / RUN / "report.md").read_text()
    assert "sk-secret" not in done.stdout + done.stderr


def test_write_on_a_terminal_asks_for_a_key_and_does_not_show_it(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "facts.json").write_text(two_banks().facts().to_json())
    mine, its = pty.openpty()
    with serving(response()) as api:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.reporter", "write", "--reports-dir", str(tmp_path)],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "OPENAI_BASE_URL": api.url},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        shown = b""
        while b"OpenAI API key" not in shown:
            shown += os.read(mine, 1000)
        os.write(mine, b"sk-typed\n")
        assert process.wait(timeout=30) == 0
        shown += os.read(mine, 100_000)
    os.close(mine)
    os.close(its)
    assert api.asked[0]["authorization"] == "Bearer sk-typed"
    assert b"sk-typed" not in shown
    assert "0.700 with the federated model; the mean difference is +0.150" in (tmp_path / RUN / "report.md").read_text()


def test_write_shows_the_exact_request_and_calls_nobody(tmp_path: Path) -> None:
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "facts.json").write_text(two_banks().facts().to_json())
    with serving(response()) as api:
        done = write(tmp_path, "--show-prompt", OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL=api.url)
        assert (done.returncode, api.asked) == (0, [])
        assert not (tmp_path / RUN / "report.md").exists()
        write(tmp_path, OPENAI_API_KEY="sk-secret", OPENAI_BASE_URL=api.url)
    asked = {name: value for name, value in api.asked[0].items() if name not in {"path", "authorization"}}
    assert json.loads(done.stdout) == asked
    assert "sk-secret" not in done.stdout + done.stderr


def test_write_says_that_there_is_no_run(tmp_path: Path) -> None:
    done = write(tmp_path)
    assert done.returncode == 1
    assert f"There must be facts of a run under {tmp_path}" in done.stderr
    assert write(tmp_path, "--run", "../x").returncode == 2
