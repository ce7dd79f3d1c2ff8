"""What runs the frameworks beside us: the times they tell become rounds, and the common work is laid for them."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from benchmarks import frameworks, many_banks, transport
from benchmarks.frameworks import PEERS, Run
from benchmarks.measuring import Report, Row
from benchmarks.peers import set_up
from benchmarks.usage import Usage, used

SAMPLES = ((0.0, 0.0), (10.0, 5.0), (20.0, 25.0))


def usage(status: int | None = 0, said: str = "") -> Usage:
    return Usage(status, 30.0, 40.0, 100.0, said, SAMPLES)


def test_a_warm_round_is_from_the_end_of_the_first_on() -> None:
    run = Run("Flower simulation", 3, usage(), [5.0, 10.0, 20.0])
    assert run.warm == [5.0, 10.0]
    assert run.cpu_a_round == 22.5 / 2  # 2.5 were spent at 5 s, 25 at 20 s
    assert run.note == ""


def test_nvflare_tells_when_rounds_begin() -> None:
    run = Run("NVFlare simulator", 4, usage(), [0.0, 5.0, 10.0, 20.0])
    assert run.ends == [5.0, 10.0, 20.0]
    assert run.warm == [5.0, 10.0]


def test_the_bare_loop_tells_when_rounds_end() -> None:
    assert Run("bare loop", 3, usage(), [5.0, 10.0, 20.0]).warm == [5.0, 10.0]


def test_a_run_without_a_second_round_has_no_figure_of_one() -> None:
    run = Run("NVFlare POC", 4, usage(None, "waits\nstuck"), [0.0, 5.0])
    assert run.warm == []
    assert run.cpu_a_round is None
    assert run.note == "was not done in time: stuck"


@pytest.mark.parametrize("status", [0, 1, None])
def test_a_run_of_fewer_rounds_is_told_however_it_ended(status: int | None) -> None:
    run = Run("Flower deployment", 4, usage(status), [5.0, 10.0, 20.0])
    assert run.note == "not finished, 3 rounds"


def test_the_app_for_flower_has_the_common_work_in_it(tmp_path: Path) -> None:
    frameworks.lay_app(tmp_path / "app")
    found = sorted(path.relative_to(tmp_path / "app").as_posix() for path in (tmp_path / "app").rglob("*.*"))
    assert found == ["peer/__init__.py", "peer/client_app.py", "peer/server_app.py", "peer/task.py", "pyproject.toml"]


def test_the_transports_work_is_one_vector_of_so_many_parameters() -> None:
    ask = "import task; print([(part.numel(), part.dtype) for part in task.first_model().state_dict().values()])"
    environment = {**os.environ, "PEER_PARAMETERS": "250"}
    done = subprocess.run([sys.executable, "-c", ask], cwd=PEERS, env=environment, capture_output=True, text=True)
    assert done.stdout == "[(250, torch.float32)]\n"


def test_a_framework_without_an_environment_is_left_out_of_every_benchmark_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "ENVIRONMENTS", tmp_path)
    report, own = Report("", "", machine={}), {"banks": 10, "s a round": 0.1}
    report.tables["banks"] = [own]
    transport.beside(report, "NVFlare POC", "10M", 10, 1.0)
    many_banks.beside(report, "Flower simulation", 10, 1.0)
    poc, simulation = report.tables["frameworks"]
    assert poc["note"] == "left out: peers/set_up.py made no environment nvflare"
    assert simulation["note"] == "left out: peers/set_up.py made no environment flower"


def test_a_number_of_banks_that_a_framework_is_not_measured_with_is_said() -> None:
    report = Report("", "", machine={})
    many_banks.left_out(report, "NVFlare simulator", [10, 20, 100])
    many_banks.left_out(report, "Flower simulation", [10, 100])
    assert report.findings == ["NVFlare simulator was left out with 20, 100 banks: it is measured with 10, 50"]


def test_a_benchmark_says_why_a_framework_did_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--banks=2", "--rounds=1", "--frameworks=NVFlare simulator", f"--folder={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["many_banks.py", *words])
    many_banks.main()
    assert "- NVFlare simulator was left out with 2 banks: it is measured with 10, 50\n" in capsys.readouterr().out


def environment(folder: Path, name: str) -> Path:
    """One whose interpreter is ours."""
    python = folder / name / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (folder / name / "complete").touch()
    return python


def test_the_versions_of_frameworks_are_their_environments_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(set_up, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(set_up, "PACKAGES", {"flower": ("grpcio[protobuf]==0",), "nvflare": ("nvflare==0",)})
    environment(tmp_path, "flower")
    found = frameworks.versions(["Flower simulation", "NVFlare POC", "Flower deployment"])
    assert found == {"grpcio": version("grpcio")}
    assert frameworks.versions([]) == {}


def test_a_framework_has_its_temporary_files_in_the_folder_of_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "ENVIRONMENTS", tmp_path)
    environment(tmp_path, "nvflare").write_text('#!/bin/sh\necho "$TMPDIR"; ls -d "$TMPDIR"\n')
    (tmp_path / "run").mkdir()
    found = frameworks.run(tmp_path / "run", "NVFlare simulator", 2, 2, 30.0)
    assert found.usage.said == 2 * f"{tmp_path / 'run' / 'tmp'}\n"


def ran(monkeypatch: pytest.MonkeyPatch, run: Run) -> Row:
    monkeypatch.setattr(frameworks, "without", lambda _: "")
    monkeypatch.setattr(frameworks, "run", lambda *_: run)
    return frameworks.unchanged(run.name, 10, 250, 60.0, 0.5)


def test_a_row_of_the_transports_work_says_how_many_times_our_round_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ran(monkeypatch, Run("Flower simulation", 3, usage(), [5.0, 10.0, 20.0]))
    assert row == {
        "framework": "Flower simulation",
        "banks": 10,
        "rounds": 3,
        "s a round": 7.5,
        "CPU s a round": 11.25,
        "peak MB, all processes": 100.0,
        "whole run s": 30.0,
        "times our s a round": 15.0,
    }


def test_a_row_of_a_run_that_was_cut_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    row = ran(monkeypatch, Run("Flower deployment", 3, usage(None, "waits"), [5.0]))
    assert row["note"] == "was not done in time: waits"
    assert row["s a round"] is None
    assert row["times our s a round"] is None


@pytest.mark.parametrize(
    ("benchmark", "known"),
    [
        (transport, "Flower simulation, NVFlare simulator, NVFlare POC, Flower deployment"),
        (many_banks, "Flower simulation, NVFlare simulator"),
    ],
)
def test_a_framework_that_there_is_not_is_refused_by_name(
    benchmark: ModuleType, known: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark.py", "--frameworks", "Flower simulation,NVFlare"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert capsys.readouterr().err.endswith(f"argument --frameworks: must be of {known}, got 'NVFlare'\n")


def test_cpu_seconds_are_sampled_while_a_command_runs(tmp_path: Path) -> None:
    work = "import time\nwhile time.process_time() < 1.5: pass"
    found = used([sys.executable, "-c", work], 60.0, tmp_path / "log")
    times, seconds = np.array(found.samples).T
    assert (np.diff(times) > 0).all()
    assert (np.diff(seconds) >= 0).all()
    assert 0 < seconds[-1] <= found.cpu + 0.02  # by ticks of 10 ms
