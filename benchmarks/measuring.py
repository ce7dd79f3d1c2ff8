"""What benchmarks measure and print with: the machine, CPU and memory of processes, fits, aims, tables and JSON."""

import argparse
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import options

Value = float | int | str | None
Row = Mapping[str, Value]
VERSIONS = ("grpcio", "uvloop", "protobuf", "numpy", "torch", "cryptography")
_UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Report:
    """One benchmark's results: what was measured where, tables by name, and what they come to in sentences."""

    name: str
    what: str
    machine: dict[str, Value] = field(default_factory=lambda: machine())
    tables: dict[str, list[Row]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def begin(self) -> None:
        """Prints what is measured, and on what."""
        print(f"{self.name}: {self.what}")
        print(", ".join(f"{key} {value}" for key, value in self.machine.items()), flush=True)

    def add(self, table: str, row: Row) -> None:
        """Takes a row in and prints it, so that one sees a long benchmark go on."""
        self.tables.setdefault(table, []).append(row)
        print(f"  {table}: {', '.join(f'{key} {printed(value)}' for key, value in row.items())}", flush=True)

    def find(self, sentence: str) -> None:
        """A sentence that the figures come to."""
        self.findings.append(sentence)

    def end(self, path: Path | None) -> None:
        """Prints the tables and the findings; writes them to `path` as JSON."""
        load = f"{os.getloadavg()[0]:.1f}"
        for name, rows in self.tables.items():
            print(f"\n{name}\n\n{markdown(rows)}")
        print("".join(f"\n- {sentence}" for sentence in self.findings))
        print(f"\nload average {self.machine.get('load average')} at the start, {load} at the end", flush=True)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({**self.as_json(), "load average at the end": float(load)}, indent=2) + "\n")

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        machine, tables = self.machine, {name: [dict(row) for row in rows] for name, rows in self.tables.items()}
        return {
            "benchmark": self.name,
            "what": self.what,
            "machine": machine,
            "tables": tables,
            "findings": self.findings,
        }


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option of each that makes a report."""
    parser.add_argument("--json", type=options.new_file, metavar="FILE", help="where the results go as JSON besides")


def machine() -> dict[str, Value]:
    """Date, processor, memory, versions and how busy the machine is."""
    said: dict[str, Value] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": platform.machine(),
        "processor": _first(r"^model name\s*: (.*)$", Path("/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "memory GB": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "kernel": platform.release(),
        "Python": platform.python_version(),
    }
    for package in VERSIONS:
        with suppress(PackageNotFoundError):
            said[package] = version(package)
    if made_of := commit():
        said["commit"] = made_of
    return {**said, "load average": round(os.getloadavg()[0], 1)}


def commit(root: Path = Path(__file__).parent.parent) -> str:
    """The commit that is measured, with + if files were changed since; empty without git."""
    if not (root / ".git").exists():
        return ""
    ask = ["git", "describe", "--always", "--exclude=*", "--dirty=+"]
    with suppress(OSError):
        return subprocess.run(ask, cwd=root, capture_output=True, text=True).stdout.strip()
    return ""


def processes(pid: int) -> Iterator[int]:
    """The process and all that it started and that still run."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from processes(int(child))


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes, with that of their children that have ended; by ticks of 10 ms."""
    total = 0
    for pid in pids:
        with suppress(OSError):
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, words[11:15]))
    return total / _TICKS


def memory(pid: int, what: str = "VmRSS") -> float:
    """MB of a process: what it holds now (VmRSS), or the most that it held (VmHWM)."""
    found = _first(rf"^{what}:\s+(\d+) kB", Path(f"/proc/{pid}/status"))
    return int(found) / 1000 * 1.024 if found else float("nan")


def shared_out(pids: Iterable[int]) -> float:
    """MB of these processes together; what they share counts once (PSS)."""
    found = [_first(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup")) for pid in pids]
    return sum(int(kilobytes) for kilobytes in found if kilobytes) / 1000 * 1.024


@dataclass(frozen=True)
class Line:
    """y = base + slope x by least squares; `order` is the slope of log y over log x: 1 is proportional, 2 squared."""

    base: float
    slope: float
    determination: float
    order: float


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line through measured points, of which there must be two at least."""
    if len({x for x, _ in points}) < 2:
        raise ValueError(f"a line must go through two different points, got {list(points)}")
    x, y = np.array(points, np.float64).T
    slope, base = np.polyfit(x, y, 1)
    spread = float(((y - y.mean()) ** 2).sum())
    left = float(((y - base - slope * x) ** 2).sum())
    order = np.polyfit(np.log(x), np.log(y), 1)[0] if (x > 0).all() and (y > 0).all() else float("nan")
    return Line(float(base), float(slope), 1 - left / spread if spread else 1.0, float(order))


def growth(points: Sequence[tuple[float, float]], what: str, each: str) -> str:
    """How seconds grow with a number, in a sentence: the line that is fitted to them, and the order."""
    line = fit(points)
    base, slope = duration(abs(line.base)), f"{duration(line.slope)} a {each}"
    takes = f"{base} and {slope}" if line.base >= 0 else f"{slope} less {base}"
    return f"{what} takes {takes} (R² {line.determination:.3f}); the order is {line.order:.2f}"


def duration(seconds: float) -> str:
    """In the unit that leaves something ahead of the point."""
    unit, size = next((one for one in _UNITS if abs(seconds) >= one[1]), _UNITS[-1])
    return f"{printed(seconds / size)} {unit}"


def number(row: Row, name: str) -> float:
    """The row's figure of that name; NaN, which meets no aim, where it has none."""
    value = row.get(name)
    return float(value) if isinstance(value, int | float) else float("nan")


def beside_aim(measured: float, aim: float, *, least: bool = False) -> str:
    """A figure, what is aimed at, and whether it is held: yes or no."""
    held = measured >= aim if least else measured <= aim
    return f"{printed(measured)} (the aim: at {'least' if least else 'most'} {printed(aim)}): {'yes' if held else 'no'}"


def printed(value: Value) -> str:
    """A cell: three digits that count, thousands with commas, a dash for what was not measured."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "-"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}" if value else "0"


def markdown(rows: Sequence[Row]) -> str:
    """A table of all columns that any row has, in the order in which they appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [columns, ["---"] * len(columns), *([printed(row.get(name)) for name in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _first(pattern: str, path: Path) -> str:
    """What the pattern's group is in the file; empty where there is no such file or line."""
    with suppress(OSError):
        if found := re.search(pattern, path.read_text(), re.M):
            return found[1]
    return ""
