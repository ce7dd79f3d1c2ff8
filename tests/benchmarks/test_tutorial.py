"""The benchmark of the tutorial: the bare loop averages, a run's words are read, and ratios are what they say."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import frameworks, tutorial
from benchmarks.measuring import Report, Row
from benchmarks.peers import bare, set_up, task, write_shards
from benchmarks.usage import ALWAYS, SELDOM, Usage
from fedfraud.transactions import TUTORIAL

OURS: Row = {"run": "plain", "rounds": 10, "wall s": 10.0, "CPU s": 9.0, "warm round s": 0.1}


def compare(report: Report, rows: dict[str, Row]) -> None:
    """Of rows that are of one run each."""
    named: dict[str, Row] = {name: {**row, "run": name} for name, row in rows.items()}
    for row in named.values():
        report.add("each", row)
    tutorial.compare(report, named)


def test_the_seconds_since_the_quorum_are_by_the_journal() -> None:
    rounds = [{"number": number, "ended_time": f"2026-11-27T08:07:{26 + number}.5Z"} for number in range(12)]
    run = {"started_time": "2026-11-27T08:07:25.500000Z", "ended_time": "2026-11-27T08:07:40.250000Z"}
    found = tutorial.since_quorum({"run": run, "rounds": rounds})
    assert found == {"quorum to model s": 11.0, "quorum to end s": 14.75}


def test_a_warm_round_lasts_from_commit_to_commit() -> None:
    ends = ["01.0", "02.0", "02.5", "03.25", *(f"{second:02d}.25" for second in range(10, 18))]
    rounds = [{"number": number, "ended_time": f"2026-11-27T08:07:{end}Z"} for number, end in enumerate(ends)]
    assert tutorial.warm_rounds({"rounds": rounds}) == [0.5, 0.75, 7.0, *[1.0] * 6]


def test_ours_stands_beside_the_aims() -> None:
    report = Report("tutorial", "", machine={})
    tutorial.hold(report, {"plain": {**OURS, "quorum to model s": 2.0}, "secure": {"run": "secure", "note": "failed"}})
    assert report.findings == [
        "plain: quorum to model s 2.00 (the aim: at most 3.00): yes",
        "plain: wall s 10.0 (the aim: at most 8.00): no",
        "plain: CPU s 9.00 (the aim: at most 12.0): yes",
    ]


def test_fewer_rounds_are_stretched_to_ten_at_the_warm_round() -> None:
    assert tutorial.end_to_end({"wall s": 30.0, "rounds": 3, "warm round s": 10.0}) == 100.0
    assert tutorial.end_to_end({"wall s": 30.0, "rounds": 10, "warm round s": 10.0}) == 30.0
    assert tutorial.end_to_end({"wall s": 30.0, "note": "was not done in 30 s"}) is None


def test_flowers_simulation_is_compared_with_banks_that_do_not_share_processes_too() -> None:
    report = Report("tutorial", "")
    rows = {
        "plain": OURS,
        "plain, own processes": {**OURS, "warm round s": 0.05},
        "Flower simulation": {**OURS, "wall s": 80.0},
    }
    compare(report, rows)
    assert [found.partition(" is so ")[0] for found in report.findings] == [
        "Flower simulation: ours, plain,",
        "Flower simulation: ours, plain, own processes,",
    ]
    assert report.findings[0] != report.findings[1]


def test_ours_is_compared_with_each_that_ran() -> None:
    report = Report("tutorial", "", machine={})
    slow: Row = {"run": "NVFlare POC", "rounds": 10, "wall s": 120.0, "warm round s": 2.0}
    compare(report, {"plain": OURS, "NVFlare POC": slow, "Flower simulation": {"note": "left out"}})
    assert report.findings == [
        "Flower simulation: left out",
        "NVFlare POC: ours, plain, is so many times as fast: whole 12.0 (the aim: at least 12.0): yes; "
        "in a warm round 20.0 (the aim: at least 10.0): yes",
    ]


def test_a_ratio_is_of_what_ran_in_the_same_turn() -> None:
    report, slow = Report("tutorial", "", machine={}), (0.1, 0.2, 0.1)
    flower: Row = {"run": "Flower simulation", "rounds": 10, "wall s": 60.0, "warm round s": 0.5}
    for seconds, theirs in zip(slow, (0.4, 0.9, 0.4), strict=True):
        report.add("each", {**OURS, "wall s": 100 * seconds, "warm round s": seconds})
        report.add("each", {**flower, "wall s": 100 * theirs, "warm round s": theirs})
    tutorial.compare(report, {"plain": OURS, "Flower simulation": flower})
    assert report.findings == [
        "Flower simulation: ours, plain, is so many times as fast: whole 4.00 (the aim: at least 3.00): yes; "
        "in a warm round 4.00 (the aim: at least 5.00): no (4.00, 4.50, 4.00 by turns)"
    ]


def test_figures_are_medians_of_rounds_and_of_turns() -> None:
    found = tutorial.row("plain", Usage(0, 9.0, 8.0, 100.0, ""), 10, [0.5, 0.1, 0.2])
    assert found["warm round s"] == 0.2
    report = Report("tutorial", "", machine={})
    slow: Row = {"run": "NVFlare POC", "rounds": 10, "wall s": 120.0, "warm round s": 2.0}
    for one in (*({**OURS, "wall s": wall} for wall in (10.0, 20.0, 40.0)), slow):
        report.add("each", one)
    tutorial.compare(report, {"plain": OURS, "NVFlare POC": slow})
    assert "whole 6.00 (" in report.findings[0]


def test_who_ran_once_is_beside_each_turn() -> None:
    often, once = [{**OURS, "wall s": wall} for wall in (1.0, 2.0)], [{**OURS, "wall s": 3.0}]
    assert tutorial.paired(once, often) == [(once[0], often[0]), (once[0], often[1])]
    with pytest.raises(ValueError, match="shorter"):
        tutorial.paired([*once, *often], often)


def test_the_quick_ones_run_again_and_again_before_the_others_run_once() -> None:
    names = ["NVFlare POC", "plain", "bare loop", "Flower simulation"]
    often = ["plain", "bare loop", "Flower simulation"]  # it runs as often as ours, for it is quick
    assert tutorial.in_turn(names, 3) == [*often, *often, *often, "NVFlare POC"]
    assert tutorial.in_turn(names, 1) == [*often, "NVFlare POC"]


def test_everybody_has_a_run_before_for_memory_alone() -> None:
    names = ["plain", "Flower simulation", "NVFlare POC"]
    timed = [(name, SELDOM) for name in tutorial.in_turn(names, 2)]
    assert tutorial.planned(names, 2) == [*((name, ALWAYS) for name in reversed(names)), *timed]


def test_the_table_has_every_timed_run_and_their_medians() -> None:
    walls = iter([50.0, 9.0, 30.0, 10.0])

    def run(_: str, looks: float) -> Row:
        return {**OURS, "wall s": next(walls), "peak MB": 980.0 if looks == ALWAYS else 750.0}

    report = Report("tutorial", "", machine={})
    rows = tutorial.measured(report, tutorial.planned(["plain"], 3), run)
    assert (rows["plain"]["wall s"], rows["plain"]["peak MB"]) == (10.0, 980.0)
    assert [one["wall s"] for one in report.tables["each"]] == [9.0, 30.0, 10.0]
    assert report.tables["runs"] == [rows["plain"]]


@pytest.mark.parametrize("fails", [1, 2])
def test_what_failed_once_is_not_run_again(fails: int) -> None:
    bad: Row = {"run": "plain", "note": "ended with status 1: no"}
    made: list[float] = []

    def run(_: str, looks: float) -> Row:
        made.append(looks)
        return bad if len(made) == fails else OURS

    report = Report("tutorial", "", machine={})
    assert tutorial.measured(report, tutorial.planned(["plain"], 3), run) == {"plain": bad}
    assert len(made) == fails
    assert report.tables["runs"] == [bad]


@pytest.mark.parametrize("looks", [ALWAYS, SELDOM])
@pytest.mark.parametrize("name", ["plain", "bare loop", "Flower simulation", "NVFlare POC"])
def test_every_run_is_looked_at_as_asked(monkeypatch: pytest.MonkeyPatch, name: str, looks: float) -> None:
    asked: list[float] = []

    def fails(*_: object, looks: float) -> Usage:
        asked.append(looks)
        return Usage(1, 2.0, 1.0, 100.0, "no\n")

    for module in (tutorial, frameworks):
        monkeypatch.setattr(module, "used", fails)
    monkeypatch.setattr(set_up, "python_of", lambda _: Path(sys.executable))
    monkeypatch.setattr(write_shards, "write", lambda folder, _: folder.mkdir())
    assert "note" in tutorial._run(name, looks, 10)
    assert asked == [looks]


def test_as_many_runs_as_asked_are_timed_and_stand_beside_the_aims(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tutorial.py", "--only=plain,Flower simulation", "--runs=2"])
    monkeypatch.setattr(tutorial, "_run", lambda name, *_, **__: {**OURS, "run": name, "peak MB": 700.0})
    tutorial.main()
    said = capsys.readouterr().out
    assert said.count("  each: run plain, ") == 2
    assert "- plain: wall s 10.0 (the aim: at most 8.00): no" in said
    assert "- Flower simulation: ours, plain, is so many times as fast: whole 1.00 " in said


def test_a_kind_that_there_is_not_is_refused_by_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tutorial.py", "--only", "plain,bare"])
    with pytest.raises(SystemExit):
        tutorial.main()
    assert "--only must be of plain, plain own processes, secure, " in (said := capsys.readouterr().err)
    assert said.endswith("got 'bare'\n")


def test_of_several_runs_the_medians_count_and_a_failure_shows() -> None:
    runs = [{**OURS, "wall s": wall} for wall in (9.0, 30.0, 10.0)]
    assert tutorial.median_row(runs)["wall s"] == 10.0
    bad: Row = {"run": "plain", "note": "ended with status 1: no"}
    assert tutorial.median_row([*runs, bad]) == bad
    assert tutorial.median_row(runs, bad) == bad
    assert tutorial.median_row(runs[:1], bad) == bad


def test_memory_is_of_the_run_that_was_looked_at_and_nothing_else_of_it_counts() -> None:
    timed: list[Row] = [{**OURS, "wall s": wall, "peak MB": 750.0} for wall in (9.0, 10.0)]
    found = tutorial.median_row(timed, {**OURS, "wall s": 30.0, "peak MB": 980.0})
    assert (found["wall s"], found["peak MB"], found["rounds"]) == (9.5, 980.0, 10)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_figure_that_one_of_the_runs_lacks_is_missing(place: int) -> None:
    figures = [11.0, 11.5]
    rows: list[Row] = [{**OURS, "CPU s": cpu} for cpu in [*figures[:place], None, *figures[place:]]]
    assert tutorial.median_row(rows)["CPU s"] is None


@pytest.mark.parametrize("lacks", ["wall s", "warm round s"])
def test_a_ratio_of_a_figure_that_was_not_measured_holds_no_aim(lacks: str) -> None:
    report = Report("tutorial", "", machine={})
    slow: Row = {"run": "NVFlare POC", "rounds": 10, "wall s": 120.0, "warm round s": 2.0}
    compare(report, {"plain": {**OURS, lacks: None}, "NVFlare POC": slow})
    (said,) = report.findings
    assert said.partition({"wall s": "whole ", "warm round s": "warm round "}[lacks])[2].startswith("- (the aim: ")
    assert said.count(": no") == 1


def test_a_figure_that_was_not_measured_holds_no_aim() -> None:
    report = Report("tutorial", "", machine={})
    tutorial.hold(report, {"plain": {"run": "plain", "rounds": 10, "wall s": None, "CPU s": 9.0}})
    assert report.findings == [
        "plain: quorum to model s - (the aim: at most 3.00): no",
        "plain: wall s - (the aim: at most 8.00): no",
        "plain: CPU s 9.00 (the aim: at most 12.0): yes",
    ]


def test_a_framework_without_an_environment_is_left_out_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_up, "ENVIRONMENTS", tmp_path)
    row = tutorial.framework(tmp_path, 10, "NVFlare POC", SELDOM)
    assert row["note"] == "left out: peers/set_up.py made no environment nvflare"
    (tmp_path / "nvflare").mkdir()  # begun, not ended
    assert set_up.python_of("nvflare") is None


def test_the_bare_loop_averages_by_rows_what_each_shard_makes_of_the_model(tmp_path: Path) -> None:
    draws = np.random.default_rng(1)
    for number, count in enumerate((8, 24), start=1):
        inputs, labels = draws.normal(size=(count, len(TUTORIAL))).astype(np.float32), np.ones(count, np.float32)
        path = tmp_path / f"bank-{number:02d}.npz"
        np.savez(path, inputs=inputs, labels=labels, own_inputs=inputs[:4], own_labels=labels[:4])
    found = bare.federate(tmp_path, 2, 1)
    assert (tmp_path / "rounds").read_text().startswith("1 ")
    model = task.Network()
    first, made = task.weights(model), []
    for number in (1, 2):
        task.load(model, first)
        task.train(model, task.shard(tmp_path, number)[0])
        made.append(task.weights(model))
    for start, one, other, average in zip(first, *made, found, strict=True):
        np.testing.assert_allclose(average, one / 4 + other * 3 / 4, atol=1e-7)
        assert np.abs(average - start).max() > 1e-5


def test_shards_are_standardised_and_hold_every_row(tmp_path: Path) -> None:
    write_shards.write(tmp_path, 10)
    parts = [np.load(tmp_path / f"bank-{number:02d}.npz") for number in range(1, 11)]
    inputs = np.concatenate([part["inputs"] for part in parts])
    assert sum(len(part["labels"]) + len(part["own_labels"]) for part in parts) == 48_000
    assert inputs.dtype == np.float32
    assert np.abs(inputs.mean(0)).max() < 1e-3
    assert np.abs(inputs.std(0) - 1).max() < 1e-3


def test_a_row_of_a_run_that_failed_says_why() -> None:
    usage = Usage(1, 2.0, 1.0, 100.0, "Traceback\nValueError: no\n")
    assert tutorial.failed("bare loop", usage)["note"] == "ended with status 1: ValueError: no"


def test_a_run_of_ours_that_does_not_finish_fails_the_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tutorial.py", "--banks=3", "--only=secure", "--runs=1"])
    with pytest.raises(SystemExit, match=r"^every run but a framework's must finish, secure did not: "):
        tutorial.main()
    assert "secure aggregation must have at least 4 expected banks, got 3" in capsys.readouterr().out
