"""What a benchmark cannot be run with is refused by name before it begins."""

import errno
import os
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import (
    containers,
    durability,
    handbook,
    many_banks,
    masking,
    own_data,
    page,
    recipes,
    scoring,
    training,
    transport,
    tutorial,
)
from benchmarks.peers import set_up
from fedfraud.recipe import RECIPES


def refusal(
    benchmark: ModuleType, given: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setattr("sys.argv", ["benchmark.py", *given])
    with pytest.raises(SystemExit):
        benchmark.main()
    said = capsys.readouterr()
    assert not said.out
    return said.err.splitlines()[-1].partition("error: ")[2]


@pytest.mark.parametrize(
    ("benchmark", "given", "value"),
    [
        (many_banks, "0", "0"),
        (many_banks, "10, 5000", "5000"),
        (many_banks, "10,x", "x"),
        (containers, "0", "0"),
        (containers, "--5", "--5"),
        (tutorial, "0", "0"),
        (page, "0", "0"),
        (recipes, "0", "0"),
    ],
)
def test_a_number_of_banks_that_no_network_has(
    benchmark: ModuleType,
    given: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = refusal(benchmark, [f"--banks={given}"], capsys, monkeypatch)
    assert said == f"argument --banks: must be a whole number from 1 to 4096, got '{value}'"


@pytest.mark.parametrize(
    ("benchmark", "option", "most"),
    [
        (durability, "--rounds", 10_000),
        (durability, "--starts", 10_000),
        (handbook, "--rounds", 10_000),
        (handbook, "--replicates", 10_000),
        (masking, "--runs", 10_000),
        (own_data, "--rows", 10**9),
        (page, "--rounds", 10_000),
        (page, "--every", 10_000),
        (recipes, "--rounds", 10_000),
        (scoring, "--rows", 10**9),
        (scoring, "--calls", 10_000),
        (tutorial, "--runs", 10_000),
    ],
)
def test_nothing_is_measured_no_times_or_of_no_rows(
    benchmark: ModuleType,
    option: str,
    most: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = refusal(benchmark, [option, "0"], capsys, monkeypatch)
    assert said == f"argument {option}: must be a whole number from 1 to {most}, got '0'"


@pytest.mark.parametrize(("benchmark", "option", "value"), [(handbook, "--seed", "-1"), (recipes, "--seeds", "x")])
def test_a_seed_that_no_population_has(
    benchmark: ModuleType,
    option: str,
    value: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = refusal(benchmark, [f"{option}={value}"], capsys, monkeypatch)
    assert said == f"argument {option}: must be a whole number from 0 to 4294967295, got '{value}'"


@pytest.mark.parametrize(
    ("benchmark", "given", "sentence"),
    [
        (handbook, "--presets=national,x", "argument --presets: must be of national, regional, skewed, got 'x'"),
        (handbook, "--noise=.5,none", "argument --noise: must be a positive number, got 'none'"),
        (handbook, "--noise=0", "argument --noise: must be a positive number, got '0'"),
        (handbook, "--noise=inf", "argument --noise: must be a positive number, got 'inf'"),
        (handbook, "--recipe=x", f"argument --recipe: must be of {', '.join(RECIPES)}, got 'x'"),
        (page, "--recipe=x", f"argument --recipe: must be of {', '.join(RECIPES)}, got 'x'"),
        (recipes, "--recipes=default,x", f"argument --recipes: must be of {', '.join(RECIPES)}, got 'x'"),
        (set_up, "flwr", "names must be of flower, nvflare, got 'flwr'"),
    ],
)
def test_a_name_or_a_scale_that_there_is_not(
    benchmark: ModuleType,
    given: str,
    sentence: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert refusal(benchmark, [given], capsys, monkeypatch) == sentence


@pytest.mark.parametrize(
    ("given", "twice"),
    [("--banks=10,2,10", 10), ("--frameworks=NVFlare simulator,NVFlare simulator", "NVFlare simulator")],
)
def test_what_is_to_be_measured_twice(
    given: str, twice: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(many_banks, [given], capsys, monkeypatch)
    assert said == f"argument {given.partition('=')[0]}: must have each once, got {twice} twice"


@pytest.mark.parametrize("benchmark", [many_banks, training, transport, tutorial])
@pytest.mark.parametrize("place", ["", "file/below.json"])
def test_results_that_cannot_be_written_are_not_measured(
    benchmark: ModuleType,
    place: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    said = refusal(benchmark, [f"--json={tmp_path}/{place}"], capsys, monkeypatch)
    assert said.startswith("argument --json: must be a file that can be written, got ")


@pytest.mark.parametrize("benchmark", [containers, page])
def test_a_network_of_fewer_banks_than_may_be_masked_is_not_begun(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = refusal(benchmark, ["--banks", "3", "--aggregation", "secure"], capsys, monkeypatch)
    assert said == "--banks must be at least 4 with secure aggregation, got 3"


@pytest.mark.parametrize(
    ("benchmark", "option"),
    [(durability, "--folder"), (many_banks, "--folder"), (own_data, "--dir"), (transport, "--folder")],
)
@pytest.mark.parametrize(("place", "why"), [("file/below", errno.ENOTDIR), ("/proc", errno.ENOENT)])
def test_a_folder_that_cannot_be_made_or_written_to(
    benchmark: ModuleType,
    option: str,
    place: str,
    why: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").touch()
    said = refusal(benchmark, [f"{option}={tmp_path / place}"], capsys, monkeypatch)
    assert said.startswith(f"argument {option}: must be a folder to write to, got ")
    assert said.endswith(os.strerror(why))


def test_a_machine_without_docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["containers.py"])
    with pytest.raises(SystemExit, match=r"^containers are measured with Docker, there is no docker on the PATH$"):
        containers.main()
