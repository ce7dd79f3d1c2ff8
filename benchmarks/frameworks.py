"""Runs Flower and NVFlare by their environments' interpreters, and reads the times that their runs leave (peers/)."""

import os
import statistics
import subprocess
import tempfile
from argparse import ArgumentParser
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks import options
from benchmarks.measuring import Row, Value
from benchmarks.peers import set_up
from benchmarks.usage import SELDOM, Usage, used

PEERS = Path(__file__).parent / "peers"
ENVIRONMENTS = {
    "Flower simulation": "flower",
    "NVFlare simulator": "nvflare",
    "NVFlare POC": "nvflare",
    "Flower deployment": "flower",
}
"""Which each of them runs in."""
ENDS = 3
"""Of rounds, in the transport's work."""
_LEAST_SAMPLES = 4
"""Of CPU seconds, half a second apart, in what is told of them."""


@dataclass(frozen=True)
class Run:
    """A run that was to make so many rounds: what it took, and the times that it told, one a round."""

    name: str
    rounds: int
    usage: Usage
    told: Sequence[float]

    @property
    def warm(self) -> list[float]:
        """Seconds of each round from the second on."""
        return [end - begin for begin, end in pairwise(self.ends)]

    @property
    def ends(self) -> Sequence[float]:
        """When rounds ended; NVFlare tells when one begins, which is the end of the one before."""
        return self.told[1:] if ENVIRONMENTS.get(self.name) == "nvflare" else self.told

    @property
    def cpu_a_round(self) -> float | None:
        """CPU seconds of the whole process tree in a round from the second on; None of rounds that were over within
        few samples: what is drawn between those is no measurement."""
        within = [time for time, _ in self.usage.samples if self.warm and self.ends[0] <= time <= self.ends[-1]]
        if len(within) < _LEAST_SAMPLES:
            return None
        times, seconds = zip(*self.usage.samples, strict=True)
        begin, end = np.interp([self.ends[0], self.ends[-1]], np.array(times), np.array(seconds))
        return float(end - begin) / len(self.warm)

    @property
    def note(self) -> str:
        """Why it did not finish; empty if it did."""
        finished = self.usage.status == 0 and len(self.told) >= self.rounds
        return "" if finished else failure(self.usage, len(self.ends))


def add_options(parser: ArgumentParser, known: Collection[str]) -> None:
    """Those of a benchmark that has frameworks do the transport's work beside it."""
    parser.add_argument(
        "--frameworks",
        type=options.several(options.one_of(known)),
        default=[],
        help=f"that do the same beside ours, with commas, of {', '.join(known)}; none by itself",
    )
    parser.add_argument("--limit", type=options.scale, default=300.0, help="seconds that a framework's run may take")


def unchanged(name: str, banks: int, parameters: int, limit: float, own: float | None) -> Row:
    """The transport's work by a framework: a round from the second on, and how many times our seconds it takes."""
    begun: dict[str, Value] = {"framework": name, "banks": banks}
    if why := without(name):
        return {**begun, "note": why}
    rounds = ENDS + (ENVIRONMENTS[name] == "nvflare")  # it does not tell when the last one ends
    # Not in the benchmark's folder: the names of Ray's sockets go on for 68 characters, and their paths have 107.
    # Who still writes there when all is over does not fail what was measured.
    with tempfile.TemporaryDirectory(prefix="beside-", ignore_cleanup_errors=True) as folder:
        found = run(Path(folder), name, banks, rounds, limit, parameters)
    seconds = statistics.median(found.warm) if found.warm else None
    row = {
        **begun,
        "rounds": len(found.ends),
        "s a round": seconds,
        "CPU s a round": found.cpu_a_round,
        "peak MB, all processes": found.usage.peak,
        "whole run s": found.usage.seconds,
        "times our s a round": seconds / own if seconds and own else None,
    }
    return {**row, "note": found.note} if found.note else row


def without(name: str) -> str:
    """Why a framework cannot run; empty if it can."""
    environment = ENVIRONMENTS[name]
    made = set_up.python_of(environment)
    return "" if made else f"left out: peers/set_up.py made no environment {environment}"


def versions(names: Iterable[str]) -> dict[str, Value]:
    """Of the frameworks' packages, by name, as the environments have them that there are."""
    found: dict[str, Value] = {}
    for environment in dict.fromkeys(ENVIRONMENTS[name] for name in names):
        if python := set_up.python_of(environment):
            package = set_up.PACKAGES[environment][0].partition("=")[0].partition("[")[0]
            ask = f"from importlib.metadata import version; print(version({package!r}))"
            done = subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True)
            found[package] = done.stdout.strip()
    return found


def run(
    folder: Path, name: str, banks: int, rounds: int, limit: float, parameters: int = 0, *, looks: float = SELDOM
) -> Run:
    """So many rounds of a framework over `folder`'s shards, or of the transport's work with so many parameters."""
    python = set_up.python_of(ENVIRONMENTS[name])
    if python is None:
        raise ValueError(f"a framework must have its environment: {without(name)}")
    shards, home, scratch = folder / "shards", folder / "home", folder / "tmp"
    for place in (shards, scratch):
        place.mkdir(exist_ok=True)
    variables = {
        "PEER_SHARDS": str(shards),
        "PEER_BANKS": str(banks),
        "PEER_ROUNDS": str(rounds),
        "PEER_PARAMETERS": str(parameters),
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_TMPDIR": str(folder),  # what it spills and logs goes with the folder
        "OMP_NUM_THREADS": "1",
        "TMPDIR": str(scratch),  # and so do NVFlare's pymp-*
        "NVFLARE_POC_WORKSPACE": str(home),
        "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
    }
    if ENVIRONMENTS[name] == "flower":
        app = folder / "app"
        lay_app(app)
        words = [str(app)] if name == "Flower simulation" else [str(app), str(home)]
        script = "flower_simulation.py" if name == "Flower simulation" else "flower_deployment.py"
    else:
        kind = "simulator" if name == "NVFlare simulator" else "poc"
        words, script = [kind, str(shards), str(banks), str(rounds), str(home)], "nvflare_run.py"
    usage = used([str(python), str(PEERS / script), *words], limit, folder / "log", PEERS, variables, looks=looks)
    return Run(name, rounds, usage, times_in(shards))


def lay_app(folder: Path) -> None:
    """Flower packs an app's folder: the common work has to be in it."""
    (folder / "peer").mkdir(parents=True)
    for path in [*(PEERS / "flower").glob("*.toml"), *(PEERS / "flower" / "peer").glob("*.py")]:
        (folder / path.relative_to(PEERS / "flower")).write_bytes(path.read_bytes())
    (folder / "peer" / "task.py").write_bytes((PEERS / "task.py").read_bytes())


def times_in(shards: Path) -> list[float]:
    """What the common work left there, round by round."""
    path = shards / "rounds"
    return [float(line.split()[1]) for line in path.read_text().splitlines()] if path.exists() else []


def failure(usage: Usage, rounds: int = 0) -> str:
    """How a run ended that was not to end so. What one that was cut says last is how we killed it: not quoted."""
    after = f" after {rounds} round{'s' * (rounds > 1)}" if rounds else ""
    if usage.status is None:
        return f"was not done{after} in {usage.seconds:.0f} s"
    return f"ended with status {usage.status}{after}: {usage.said.strip().rpartition(chr(10))[2][:200]}"
