"""What runs the frameworks beside us: the times they tell become rounds, and the common work is laid for them."""

import importlib
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmarks import frameworks, many_banks, transport
from benchmarks.frameworks import PEERS, Run
from benchmarks.measuring import Report, Row
from benchmarks.peers import set_up
from benchmarks.usage import Usage, used

SAMPLES = ((0.0, 0.0), (4.0, 2.0), (8.0, 4.0), (10.0, 5.0), (12.0, 9.0), (20.0, 25.0))


def usage(status: int | None = 0, said: str = "") -> Usage:
    return Usage(status, 30.0, 40.0, 100.0, said, SAMPLES)


def test_a_warm_round_is_from_the_end_of_the_first_on() -> None:
    run = Run("Flower simulation", 3, usage(), [5.0, 10.0, 20.0])
    assert run.warm == [5.0, 10.0]
    assert run.cpu_a_round == 22.5 / 2  # 2.5 were spent at 5 s, 25 at 20 s
    assert run.note == ""


def test_rounds_that_were_over_within_three_samples_have_no_figure_of_cpu() -> None:
    run = Run("Flower simulation", 3, usage(), [5.0, 9.0, 19.9])  # the last sample is later
    assert run.warm == pytest.approx([4.0, 10.9])
    assert run.cpu_a_round is None


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
    assert run.note == "was not done after 1 round in 30 s"


ENDED = {
    0: "ended with status 0 after 3 rounds: killed",
    1: "ended with status 1 after 3 rounds: killed",
    None: "was not done after 3 rounds in 30 s",  # what it says last is of our own kill
}


@pytest.mark.parametrize("status", ENDED)
def test_a_run_of_fewer_rounds_is_told_however_it_ended(status: int | None) -> None:
    run = Run("Flower deployment", 4, usage(status, "waits\nkilled"), [5.0, 10.0, 20.0])
    assert run.note == ENDED[status]


@pytest.mark.parametrize("status", [1, None])
@pytest.mark.parametrize(("name", "begun"), [("Flower deployment", []), ("NVFlare POC", [0.0])])
def test_a_run_of_all_rounds_that_ended_otherwise_says_after_how_many(
    name: str, begun: list[float], status: int | None
) -> None:
    run = Run(name, 3 + len(begun), usage(status, "waits\nkilled"), [*begun, 5.0, 10.0, 20.0])
    assert run.note == ENDED[status]


def test_the_app_for_flower_has_the_common_work_in_it(tmp_path: Path) -> None:
    frameworks.lay_app(tmp_path / "app")
    found = sorted(path.relative_to(tmp_path / "app").as_posix() for path in (tmp_path / "app").rglob("*.*"))
    assert found == ["peer/__init__.py", "peer/client_app.py", "peer/server_app.py", "peer/task.py", "pyproject.toml"]


def server_app(folder: Path, parameters: int, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Flower's, for three banks, on a FedAvg that takes what comes: the environment's only logs errors."""

    class FedAvg:
        def aggregate_train(self, number: int, replies: Iterable[object]) -> int:
            return len(list(replies))

        aggregate_evaluate = aggregate_train

    frameworks.lay_app(folder / "app")
    there = dict.fromkeys(("ArrayRecord", "Context", "Message", "MetricRecord", "Grid"), object)
    flwr = SimpleNamespace(**there, ServerApp=lambda: SimpleNamespace(main=lambda: lambda function: function))
    for name in ("flwr", "flwr.app", "flwr.serverapp"):
        monkeypatch.setitem(sys.modules, name, flwr)
    monkeypatch.setitem(sys.modules, "flwr.serverapp.strategy", SimpleNamespace(FedAvg=FedAvg))
    monkeypatch.setenv("PEER_PARAMETERS", str(parameters))
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)  # of the tests' own process
    monkeypatch.syspath_prepend(folder / "app")
    for name in ("peer", "peer.task", "peer.server_app"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    app = importlib.import_module("peer.server_app")
    app.Timed.folder, app.Timed.banks = folder, 3
    return app


def reply(reason: str = "") -> SimpleNamespace:
    return SimpleNamespace(has_error=lambda: bool(reason), error=SimpleNamespace(reason=reason))


@pytest.mark.parametrize("replies", [[reply(), reply(), reply("raised")], [reply(), reply()], []])
def test_a_round_in_flower_is_one_of_all_banks(
    replies: list[SimpleNamespace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed = server_app(tmp_path, 0, monkeypatch).Timed()
    for part in (timed.aggregate_train, timed.aggregate_evaluate):
        assert part(1, iter([reply()] * 3)) == 3
        with pytest.raises(RuntimeError, match="all 3 banks must answer"):
            part(2, iter(replies))
    assert len(frameworks.times_in(tmp_path)) == 1


def test_nobody_evaluates_in_the_transports_work_by_flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = server_app(tmp_path, 250, monkeypatch).Timed()
    assert timed.aggregate_train(1, iter([reply()] * 3)) == 3
    assert timed.aggregate_evaluate(1, []) == 0
    assert len(frameworks.times_in(tmp_path)) == 1


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
    assert row["note"] == "was not done after 1 round in 30 s"
    assert row["s a round"] is None
    assert row["times our s a round"] is None


INTERPRETER = """#!/bin/sh
printf '%s\\n' "$@"
command -v python
env | grep -E '^(FLWR_HOME|NVFLARE_POC_WORKSPACE|OMP_NUM_THREADS|PEER_[A-Z]+)=' | sort
seq $PEER_ROUNDS | sed 's/.*/& &.5/' > $PEER_SHARDS/rounds
"""
"""Says how it was called, and that it made its rounds, a second each."""


def environments(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With that interpreter."""
    monkeypatch.setattr(set_up, "ENVIRONMENTS", folder)
    for name in set(frameworks.ENVIRONMENTS.values()):
        (folder / name / "bin").mkdir(parents=True)
        (folder / name / "complete").touch()
        (folder / name / "bin" / "python").write_text(INTERPRETER)
        (folder / name / "bin" / "python").chmod(0o755)


@pytest.mark.parametrize(
    ("name", "script", "words"),
    [
        ("Flower simulation", "flower_simulation.py", ["app"]),
        ("Flower deployment", "flower_deployment.py", ["app", "home"]),
        ("NVFlare simulator", "nvflare_run.py", ["simulator", "shards", "5", "4", "home"]),
        ("NVFlare POC", "nvflare_run.py", ["poc", "shards", "5", "4", "home"]),
    ],
)
def test_a_framework_is_called_by_its_environments_interpreter(
    name: str, script: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments(tmp_path / "environments", monkeypatch)
    found = frameworks.run(tmp_path, name, 5, 4, 60.0, 250)
    places = {part: str(tmp_path / part) for part in ("app", "home", "shards")}
    called = [str(PEERS / script), *(places.get(word, word) for word in words)]
    by = str(tmp_path / "environments" / frameworks.ENVIRONMENTS[name] / "bin" / "python")
    homes = [f"FLWR_HOME={places['home']}", f"NVFLARE_POC_WORKSPACE={places['home']}", "OMP_NUM_THREADS=1"]
    work = ["PEER_BANKS=5", "PEER_PARAMETERS=250", "PEER_ROUNDS=4", f"PEER_SHARDS={places['shards']}"]
    assert found.usage.said.splitlines() == [*called, by, *homes, *work]
    assert found.told == [1.5, 2.5, 3.5, 4.5]
    assert found.note == ""
    assert (tmp_path / "app" / "peer" / "task.py").exists() == (words[0] == "app")


@pytest.mark.parametrize("name", frameworks.ENVIRONMENTS)
def test_every_framework_has_two_warm_rounds_in_the_transports_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments(tmp_path, monkeypatch)
    row = frameworks.unchanged(name, 5, 250, 60.0, 0.5)
    assert (row["rounds"], row["s a round"], row["times our s a round"]) == (3, 1.0, 2.0)
    assert "note" not in row


def test_one_that_still_writes_when_all_is_over_does_not_fail_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments(tmp_path / "environments", monkeypatch)
    remove = os.rmdir

    def late(path: str, *, dir_fd: int | None = None) -> None:
        if Path(path).name.startswith("beside-"):
            (tmp_path / path / "late").touch()
        remove(path, dir_fd=dir_fd)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(os, "rmdir", late)
    assert frameworks.unchanged("Flower simulation", 5, 250, 60.0, 0.5)["rounds"] == 3
    assert [path.name for path in tmp_path.glob("beside-*/*")] == ["late"]


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
