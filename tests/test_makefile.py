"""What make would run, without running it."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def words_of(target: str, command: str, *variables: str, **environment: str) -> list[str]:
    """The words that follow `command` in what `make target` would run."""
    shown = subprocess.run(
        ["make", "--dry-run", target, f"PYTHON={sys.executable}", *variables],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.replace("\\\n", " ")
    (line,) = [line for line in shown.splitlines() if command in line]
    return shlex.split(line.partition(command)[2])


def test_another_run_is_asked_for_with_nothing_but_what_was_set() -> None:
    start = "operator start"
    assert words_of("run", start) == []
    assert words_of("run", start, "SEED=9") == ["--seed", "9"]
    assert words_of("run", start, "RECIPE=", ROUNDS="20", RECIPE="tutorial") == ["--rounds", "20"]


def test_a_folder_with_a_space_stays_one_word() -> None:
    for folder in ("a b", "it's", "$$HOME"):
        words = words_of("demo", "python -m services", f"RUN_DIR={folder}")
        assert words[words.index("--run-dir") + 1] == folder.replace("$$", "$")
    assert words_of("verify", "run=", "RUN_DIR=a b")[0].startswith("a b")


def test_the_demo_says_its_defaults() -> None:
    assert words_of("demo", "python -m services") == shlex.split(
        "--banks 10 --population tutorial --seed 7 --aggregation secure"
    )


def test_what_checks_the_manifests_may_be_lacking_unless_all_is_required() -> None:
    assert words_of("lint", "-m deploy.manifests") == []
    assert words_of("manifests", "-m deploy.manifests", REQUIRE="all") == ["--require"]


def test_a_benchmark_that_there_is_not_is_refused_by_name_before_anything_is_made() -> None:
    command = ["make", "bench", f"PYTHON={sys.executable}", "BENCHMARKS=transport nonsense"]
    env = {"PATH": os.environ["PATH"]}  # these tests may be run by make, which tells a make below it what it was told
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=env)
    assert done.returncode == 2
    assert done.stdout == ""
    known = "training many_banks transport tutorial containers scoring"
    assert f"BENCHMARKS must be of {known}, got nonsense." in done.stderr
    words_of("bench", "benchmarks/scoring.py", "BENCHMARKS=scoring")
    with_json = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "    add_json(" in path.read_text()}
    assert with_json == set(known.split())
