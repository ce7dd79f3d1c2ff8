"""`check-data` as somebody runs it: its words, its JSON and its exit status."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def check_data(folder: Path, *words: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "services.bank_client", "check-data", *words]
    environment = {"DATA_DIR": str(folder), **{name.upper(): value for name, value in settings.items()}}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def rows(folder: Path, last: str) -> None:
    names = ",".join(f"feature_{i:02d}" for i in range(1, 31))
    (folder / "rows.csv").write_text(f"{names},fraud\n{'1,' * 30}0\n{last},{'1,' * 29}1\n")


def test_rows_that_pass_and_rows_that_do_not(tmp_path: Path) -> None:
    rows(tmp_path, "2.5")
    ran = check_data(tmp_path, "--contract", "tutorial", dataset="rows.csv")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (0, "passed: the bank may join")
    assert "  rows: 2\n  frauds: 1\n  legitimate: 1\n" in ran.stdout
    rows(tmp_path, "much")
    ran = check_data(tmp_path, "--contract", "tutorial", "--json", str(tmp_path / "r.json"), dataset="rows.csv")
    assert (ran.returncode, ran.stdout.splitlines()[-1]) == (1, "refused: the bank would not join")
    assert "rows.csv: column 'feature_01' must hold finite numbers, got 'much' in row 2" in ran.stdout
    told = json.loads((tmp_path / "r.json").read_text())
    assert (told["passed"], told["source"], told["faults"][0]["row"]) == (False, "rows.csv", 2)


@pytest.mark.parametrize(
    ("words", "settings", "sentence"),
    [
        ((), {}, "a bank that has not enrolled must name the contract: --contract cards"),
        (("--contract", "mars"), {}, "a contract must be one of tutorial, cards, "),
        ((), {"data_preset": "mars"}, "DATA_PRESET must be one of handbook, "),
        (
            ("--contract", "baf"),
            {"data_preset": "handbook"},
            "a column map must be of the contract baf, got one of 'cards'",
        ),
        ((), {"column_map": "none.toml"}, "a column map must be readable: "),
        ((), {"dataset_url_file": "/nowhere"}, "a PostgreSQL server must come with a query: set DATASET_QUERY"),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_another_status(
    tmp_path: Path, words: tuple[str, ...], settings: dict[str, str], sentence: str
) -> None:
    ran = check_data(tmp_path, *words, **settings)
    assert ran.returncode == 2
    assert sentence in ran.stdout + ran.stderr


def test_the_help_says_what_can_be_set(tmp_path: Path) -> None:
    ran = check_data(tmp_path, "--help")
    for name in ("DATA_DIR", "DATASET", "DATASET_QUERY", "DATASET_URL_FILE", "DATA_PRESET", "COLUMN_MAP"):
        assert f"  {name}=" in ran.stdout
