"""The tutorial: ten banks, ten rounds, by us, by the bare loop, and by Flower and NVFlare.

    .venv/bin/python benchmarks/peers/set_up.py     # once: environments for the frameworks; what is missing is left out
    .venv/bin/python benchmarks/tutorial.py
    .venv/bin/python benchmarks/tutorial.py --only "plain,bare loop,Flower simulation"

Everybody has the same shards, network, optimiser and batches (recipe `tutorial`), averages by rows and evaluates each
round. Ours is the whole of `python -m services`, to its report: keys and certificates, mutual TLS, the scaler's round,
journal, page, and `central`, a model of all rows for comparison, which the frameworks do not make; they get their
shards standardised. Ours is as it comes, with a process for each core that its banks share, as the clients of Flower's
simulation do; in `plain, own processes` each bank has its own (`--hosts 0`). A warm round is the median of the times
between the ends of two rounds, from the first on: ours by its journal. CPU is of the whole process tree. Flower's
deployment makes three rounds: ten take the better part of an hour; `end to end` of it is what ten would take at its
warm round. Who looks at memory is waited for, and a first run reads from the disk what later ones have in memory: each
has a run for memory alone, its first, that is not timed. The table `each` has every timed run; `runs` has their
medians. How many times as fast ours is: the median of the turns, in each of which all run after each other.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, frameworks, options
from benchmarks.frameworks import PEERS, Run
from benchmarks.measuring import Report, Row, Value, add_json, beside_aim, number, printed
from benchmarks.peers import write_shards
from benchmarks.usage import ALWAYS, SELDOM, Usage, used

ROUNDS, DEPLOYMENT_ROUNDS = 10, 3
_LIMIT = 900.0
NETWORK = {
    "plain": ("--aggregation", "plain", "--recipe", "tutorial"),
    "plain, own processes": ("--aggregation", "plain", "--recipe", "tutorial", "--hosts", "0"),
    "secure": ("--aggregation", "secure", "--recipe", "tutorial"),
    "plain, recipe default": ("--aggregation", "plain"),
    "secure, recipe default": ("--aggregation", "secure"),
}
FRAMEWORKS = {
    "Flower simulation": (3.0, 5.0),
    "NVFlare simulator": (7.0, 10.0),
    "NVFlare POC": (12.0, 10.0),
    "Flower deployment": (40.0, 100.0),
}
"""How many times as fast as each we are to be: end to end, and in a warm round."""
SHARES = "Flower simulation"
"""Whose clients share a process for each core, as our banks do but in `own processes`. It is the quickest of them and
runs as often as ours."""
AIMS = {
    "plain": {"quorum to model s": 3.0, "wall s": 8.0, "CPU s": 12.0},
    "secure": {"quorum to model s": 5.0, "wall s": 10.0, "CPU s": 16.0},
}
"""At most, on two cores that take the bare loop through in 5 to 6 s."""


def ours(folder: Path, banks: int, name: str, looks: float) -> Row:
    """One run of the whole network."""
    facts = folder / "facts.json"
    command = [sys.executable, "-m", "services", "--banks", str(banks), *NETWORK[name], "--json", str(facts)]
    command += ["--run-dir", str(folder / "run"), "--reports-dir", str(folder / "reports")]
    usage = used(command, _LIMIT, folder / "log", looks=looks)
    if usage.status != 0:
        return failed(name, usage)
    told = json.loads(facts.read_text())
    return row(name, usage, ROUNDS, warm_rounds(told)) | since_quorum(told)


def warm_rounds(facts: dict[str, Any]) -> list[float]:
    """Seconds between the commits of two training rounds, which have in them what a round's own seconds do not: that
    the commit is on disk, and that the next one opens."""
    ended = _ended(facts)
    return [(ended[number] - ended[number - 1]).total_seconds() for number in range(2, ROUNDS + 1)]


def since_quorum(facts: dict[str, Any]) -> dict[str, Value]:
    """Seconds from the start of the run, which its quorum is, to the model of the last training round, and to the run's
    end: after the final round's scores, and what the run waits for central."""
    start, end = (datetime.fromisoformat(facts["run"][f"{which}_time"]) for which in ("started", "ended"))
    model = _ended(facts)[ROUNDS]
    return {"quorum to model s": (model - start).total_seconds(), "quorum to end s": (end - start).total_seconds()}


def _ended(facts: dict[str, Any]) -> dict[int, datetime]:
    return {one["number"]: datetime.fromisoformat(one["ended_time"]) for one in facts["rounds"]}


def bare(folder: Path, banks: int, looks: float) -> Row:
    """The loop in one process."""
    command = [sys.executable, str(PEERS / "bare.py"), str(folder / "shards"), str(banks), str(ROUNDS)]
    usage = used(command, _LIMIT, folder / "log", looks=looks)
    return noted(Run("bare loop", ROUNDS, usage, frameworks.times_in(folder / "shards")))


def framework(folder: Path, banks: int, name: str, looks: float) -> Row:
    """One run of a framework, by its environment's interpreter."""
    if why := frameworks.without(name):
        return {"run": name, "note": why}
    rounds = DEPLOYMENT_ROUNDS if name == "Flower deployment" else ROUNDS
    return noted(frameworks.run(folder, name, banks, rounds, _LIMIT, looks=looks))


def noted(run: Run) -> Row:
    """By the times that the run left."""
    if run.note and not run.warm:
        return failed(run.name, run.usage)
    found = row(run.name, run.usage, run.rounds, run.warm)
    return {**found, "note": run.note} if run.note else found


def row(name: str, usage: Usage, rounds: int, warm: list[float]) -> dict[str, Value]:
    """The figures of one run."""
    return {
        "run": name,
        "rounds": rounds,
        "wall s": usage.seconds,
        "CPU s": usage.cpu,
        "peak MB": usage.peak,
        "warm round s": statistics.median(warm) if warm else None,
    }


def failed(name: str, usage: Usage) -> Row:
    """Why there are no figures."""
    return {"run": name, "wall s": usage.seconds, "note": frameworks.failure(usage)}


def median_row(rows: Sequence[Row], looked: Row | None = None) -> Row:
    """The medians of several runs of one kind, with the memory of the one that was looked at if there was one; or the
    first of them all that failed. A figure that one of them lacks is missing."""
    if bad := [one for one in (*rows, *([looked] if looked else [])) if "note" in one]:
        return bad[0]
    medians: dict[str, Value] = {}
    for name, value in rows[0].items():
        if not isinstance(value, str):
            median = _median([number(one, name) for one in rows])
            medians[name] = None if math.isnan(median) else median
    return {**rows[0], **medians, "rounds": rows[0]["rounds"], **({"peak MB": looked["peak MB"]} if looked else {})}


def end_to_end(one: Row) -> float | None:
    """Wall seconds that ten rounds take: measured, or what fewer took and the rest at the warm round."""
    wall, rounds, warm = (one.get(name) for name in ("wall s", "rounds", "warm round s"))
    if not isinstance(wall, float) or not isinstance(rounds, int) or "note" in one:
        return None
    return wall + (ROUNDS - rounds) * float(warm or 0)


def hold(report: Report, rows: dict[str, Row]) -> None:
    """Ours, plain and secure, beside the aims; the bare loop says how fast the machine was."""
    for name, aims in AIMS.items():
        own = rows.get(name)
        if own is None or "note" in own:
            continue
        for what, aim in aims.items():
            report.find(f"{name}: {what} {beside_aim(number(own, what), aim)}")


def compare(report: Report, rows: dict[str, Row]) -> None:
    """Ours, plain, beside each of the others; beside the one whose clients share processes also where banks do not."""
    for name, (whole, warm) in FRAMEWORKS.items():
        theirs = rows.get(name)
        if theirs is None:
            continue
        if end_to_end(theirs) is None:
            report.find(f"{name}: {theirs.get('note')}")
            continue
        for own_name in ("plain", "plain, own processes") if name == SHARES else ("plain",):
            own = rows.get(own_name)
            if own is None or "note" in own:
                continue
            turns = paired(_timed(report, theirs), _timed(report, own))
            walls = [(end_to_end(other) or math.nan) / number(one, "wall s") for other, one in turns]
            rounds = [number(other, "warm round s") / number(one, "warm round s") for other, one in turns]
            said = beside_aim(_median(walls), whole, least=True)
            warm_said = beside_aim(_median(rounds), warm, least=True) + _spread(rounds)
            report.find(
                f"{name}: ours, {own_name}, is so many times as fast: whole {said}; in a warm round {warm_said}"
            )


def paired(theirs: Sequence[Row], own: Sequence[Row]) -> list[tuple[Row, Row]]:
    """What ran after each other: a machine that was slow for a turn was so for both. Who ran once is beside each."""
    return list(zip([*theirs] * len(own) if len(theirs) == 1 else theirs, own, strict=True))


def _timed(report: Report, row: Row) -> list[Row]:
    """The runs whose medians the row has."""
    return [one for one in report.tables["each"] if one["run"] == row["run"]]


def _median(figures: Sequence[float]) -> float:
    return math.nan if any(map(math.isnan, figures)) else statistics.median(figures)


def _spread(figures: Sequence[float]) -> str:
    return f" ({', '.join(map(printed, figures))} by turns)" if len(figures) > 1 else ""


def main() -> None:
    """Prints a row a run, and how many times as fast ours is."""
    every = [*NETWORK, "bare loop", *FRAMEWORKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(each.replace(",", "") for each in every), help="which, with commas")
    parser.add_argument("--banks", type=options.banks, default=10)
    parser.add_argument(
        "--runs", type=options.times, default=3, help=f"of ours, of the bare loop and of {SHARES}; the others run once"
    )
    add_json(parser)
    asked = parser.parse_args()
    known = {name.replace(",", ""): name for name in every}
    if unknown := [name for name in asked.only.split(",") if name not in known]:
        parser.error(f"--only must be of {', '.join(known)}, got {unknown[0]!r}")
    names = [name for short, name in known.items() if short in asked.only.split(",")]
    report = Report("tutorial", f"{asked.banks} banks, {ROUNDS} rounds, the tutorial's recipe")
    report.machine |= frameworks.versions(name for name in FRAMEWORKS if name in names)
    report.begin()
    rows = measured(report, planned(names, asked.runs), partial(_run, banks=asked.banks))
    hold(report, rows)
    compare(report, rows)
    report.end(asked.json)
    if unfinished := [name for name, row in rows.items() if name not in FRAMEWORKS and "note" in row]:
        raise SystemExit(
            f"every run but a framework's must finish, {', '.join(unfinished)} did not: the table says why"
        )


def measured(report: Report, plan: Sequence[tuple[str, float]], run: Callable[[str, float], Row]) -> dict[str, Row]:
    """What came of the planned runs, by name. The first one of a name that fails is its last."""
    looked: dict[str, Row] = {}
    timed: dict[str, list[Row]] = {}
    rows: dict[str, Row] = {}
    for name, looks in plan:
        if name in rows:
            continue
        row = run(name, looks)
        if looks == ALWAYS:
            looked[name] = row
        else:
            timed.setdefault(name, []).append(row)
            report.add("each", row)
        if "note" in row or len(timed.get(name, [])) == plan.count((name, SELDOM)):
            rows[name] = median_row(timed.get(name, []), looked.get(name))
            report.add("runs", rows[name])
    return rows


def planned(names: Sequence[str], runs: int) -> list[tuple[str, float]]:
    """Every run and how its memory is looked at: each has one before all, for memory alone, the quick ones last."""
    timed = in_turn(names, runs)
    return [(name, ALWAYS) for name in dict.fromkeys(reversed(timed))] + [(name, SELDOM) for name in timed]


def in_turn(names: Sequence[str], runs: int) -> list[str]:
    """Ours, the bare loop and the framework that is the quickest again and again: a machine that is slow for a while is
    so for all. Then each other one once: the processes that it ends with would be in the way of who comes next."""
    often = [name for name in names if name not in FRAMEWORKS or name == SHARES]
    return often * runs + [name for name in names if name not in often]


def _run(name: str, looks: float, banks: int) -> Row:
    with tempfile.TemporaryDirectory(prefix="tutorial-") as home:
        folder = Path(home)
        write_shards.write(folder / "shards", banks)
        if name == "bare loop":
            return bare(folder, banks, looks)
        return (ours if name in NETWORK else framework)(folder, banks, name, looks)


if __name__ == "__main__":
    ending.run(main)
