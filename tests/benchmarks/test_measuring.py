"""What benchmarks measure and print with: the fit, the table and the JSON, in numbers to check in the head."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measuring import (
    Report,
    beside_aim,
    commit,
    cpu_seconds,
    duration,
    fit,
    growth,
    markdown,
    memory,
    printed,
    processes,
)


def test_a_line_is_found_again() -> None:
    line = fit([(10, 3.0), (20, 5.0), (40, 9.0)])
    assert (line.base, line.slope, line.determination) == pytest.approx((1.0, 0.2, 1.0))


@pytest.mark.parametrize(("power", "order"), [(0, 0.0), (1, 1.0), (2, 2.0)])
def test_the_order_tells_proportional_from_squared(power: int, order: float) -> None:
    assert fit([(x, 3.0 * x**power) for x in (10, 50, 100, 1000)]).order == pytest.approx(order)


def test_points_off_the_line_lower_its_determination() -> None:
    # The mean of 0, 3, 0, 3 is 1.5; the best line leaves 7.2 of the 9 about it.
    assert fit([(0, 0.0), (1, 3.0), (2, 0.0), (3, 3.0)]).determination == pytest.approx(0.2)
    assert fit([(1, 2.0), (2, 2.0)]).determination == 1.0


def test_one_point_makes_no_line() -> None:
    with pytest.raises(ValueError, match="two different points"):
        fit([(10, 1.0), (10, 2.0)])


def test_growth_is_a_sentence() -> None:
    said = growth([(10, 3.5), (20, 5.5), (40, 9.5)], "a round", "bank")
    assert said == "a round takes 1.50 s and 200 ms a bank (R² 1.000); the order is 0.72"
    below = growth([(10**6, 1.5), (2 * 10**6, 3.5)], "training", "row")  # two µs a row, half a second less
    assert below == "training takes 2.00 µs a row less 500 ms (R² 1.000); the order is 1.22"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(90.0, "90.0 s"), (0.0123, "12.3 ms"), (2e-6, "2.00 µs"), (-0.5, "-500 ms"), (3e-11, "0.0300 ns"), (0, "0 ns")],
)
def test_a_duration_has_a_unit_to_read(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_figure_stands_beside_its_aim() -> None:
    assert beside_aim(9.9, 10.0) == "9.90 (the aim: at most 10.0): yes"
    assert beside_aim(10.1, 10.0) == "10.1 (the aim: at most 10.0): no"
    assert beside_aim(0.5, 0.5, least=True) == "0.500 (the aim: at least 0.500): yes"
    assert beside_aim(0.37, 0.5, least=True) == "0.370 (the aim: at least 0.500): no"
    assert beside_aim(math.nan, 10.0).endswith(": no")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        (math.nan, "-"),
        (0.0, "0"),
        (0.01234, "0.0123"),
        (1.234, "1.23"),
        (99.96, "100.0"),
        (123.4, "123"),
        (-1.234, "-1.23"),
        (12345.6, "12,346"),
        (1000, "1,000"),
        (7, "7"),
        ("plain", "plain"),
    ],
)
def test_a_cell_has_three_digits_that_count(value: float | str | None, said: str) -> None:
    assert printed(value) == said


def test_a_table_has_every_column_that_a_row_has() -> None:
    table = markdown([{"run": "one", "s": 1.0}, {"run": "two", "note": "left out"}])
    assert table.splitlines() == [
        "| run | s | note |",
        "| --- | --- | --- |",
        "| one | 1.00 | - |",
        "| two | - | left out |",
    ]


def test_the_json_has_machine_tables_and_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = Report("transport", "vectors")
    report.begin()
    report.add("rounds", {"model": "16K", "s": 0.5, "note": None})
    report.find("it is fast")
    path = tmp_path / "results" / "transport.json"
    report.end(path)
    told = json.loads(path.read_text())
    assert told["benchmark"] == "transport"
    assert told["tables"] == {"rounds": [{"model": "16K", "s": 0.5, "note": None}]}
    assert told["findings"] == ["it is fast"]
    assert {"date", "cores", "Python", "grpcio", "torch", "load average"} <= told["machine"].keys()
    assert told["load average at the end"] >= 0
    said = capsys.readouterr().out
    assert "| 16K | 0.500 | - |" in said
    assert "- it is fast" in said
    assert "load average" in said


def test_the_commit_is_named_and_whether_files_were_changed_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "file").touch()
    git("init")
    git("add", "file")
    git("commit", "-m", "first")
    git("tag", "-a", "v1", "-m", "first")
    head = git("rev-parse", "--short", "HEAD")
    assert commit(tmp_path) == head
    (tmp_path / "file").write_text("changed")
    assert commit(tmp_path) == f"{head}+"
    assert commit(inside) == ""  # a copy without git in somebody else's tree
    monkeypatch.setenv("PATH", str(inside))
    assert commit(tmp_path) == ""


def test_a_childs_cpu_and_memory_are_counted() -> None:
    work = "import time\nx = b'x' * 50_000_000\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in list(processes(os.getpid()))
        assert cpu_seconds([child.pid]) > 0.4  # it works for 0.5, however long that takes
        assert memory(child.pid, "VmHWM") > 50
        child.communicate(b"\n")
    assert cpu_seconds([child.pid]) == 0.0
    assert math.isnan(memory(child.pid))
