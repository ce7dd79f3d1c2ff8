"""The network in containers: what the images weigh, how soon each service serves, what it holds when idle, and how long
from `docker compose up` to the quorum; and what start-up and idle memory are made of.

    .venv/bin/python benchmarks/containers.py [--banks 10] [--json FILE]

Needs a running Docker engine with Compose. Images are built first and not timed. The project is the benchmark's own;
its containers and volumes are removed, its images stay for the next time.

What start-up and idle memory are made of is measured from inside (benchmarks/inside.py): the idle process says what it
holds and which packages' libraries it has; then the same image imports the service's modules and what else of these
packages the idle process had, and each package's own part is told.
"""

import argparse
import inspect
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, inside, options
from benchmarks.measuring import Report, Row, Value, add_json, beside_aim, number, printed

ROOT = Path(__file__).parent.parent
PROJECT = "fedfraud-benchmark"
SERVING = {"aggregator": "serving", "bank_client": "joined", "reporter": "page served"}
"""Of each service, the line of its log from which on it does its work."""
_MODULES = {
    "aggregator": ["services.aggregator.__main__"],
    "bank_client": ["services.bank_client.__main__", "services.bank_client.participant"],
    "reporter": ["services.reporter.__main__"],
}
"""What each imports before it serves."""
_BASE = "python:3.11-slim-bookworm"
_PARTS, _COSTS = 6, 5
_QUORUM_AIM = 20.0
_DEADLINE = 600.0
_SETTLED_SECONDS = 10.0
"""After the report, before memory is read."""
Container = dict[str, Any]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banks", type=options.banks, default=10, help="how many banks (default: 10)")
    parser.add_argument("--aggregation", choices=("secure", "plain"), default="secure")
    add_json(parser)
    arguments = parser.parse_args()
    options.enough_to_mask(parser, arguments)
    report = Report("containers", f"the network of {arguments.banks} banks in containers, {arguments.aggregation}")
    report.begin()
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "BANKS": str(arguments.banks),
            "AGGREGATION": arguments.aggregation,
            "LOG_FORM": "json",
            "PAGE_PORT": "0",
            "REPORTS_DIR": _reports(Path(folder)),
            "OPENAI_API_KEY_FILE": os.devnull,
        }
        _compose(settings, "build")
        for service in SERVING:
            _weigh(report, service)
        try:
            began = time.time()
            _compose(settings, "up", "--detach")
            returned = time.time() - began
            _start_up(report, began, returned)
            _idle(report)
            for service in SERVING:
                _made_of(report, service)
        finally:
            _take_away(settings)
    report.end(arguments.json)


def _reports(folder: Path) -> str:
    """A folder that the reporter may write to, whoever it is in its container."""
    folder.chmod(0o755)
    (folder / "reports").mkdir()
    (folder / "reports").chmod(0o777)  # a temporary folder of this run alone
    return str(folder / "reports")


def _docker(*arguments: str, env: dict[str, str] | None = None) -> str:
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=_DEADLINE)
    except FileNotFoundError as error:
        raise SystemExit("containers are measured with Docker, there is no docker on the PATH") from error
    if done.returncode:
        raise SystemExit(f"docker {' '.join(arguments)} must succeed, it ended with {done.returncode}:\n{done.stderr}")
    return done.stdout + (done.stderr if arguments[0] == "logs" else "")  # containers log on standard error


def _compose(settings: dict[str, str], *arguments: str) -> str:
    """A command of the benchmark's own project; neither .env nor the caller's settings count."""
    known = set(re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M))
    theirs = {name: value for name, value in os.environ.items() if name not in known or name == "TORCH_INDEX"}
    command = ("compose", "--env-file", os.devnull, "--project-name", PROJECT, *arguments)
    return _docker(*command, env={**theirs, **settings})


def _take_away(settings: dict[str, str]) -> None:
    """An engine that frees a container's place in a network too late is asked again."""
    for _ in range(2):
        try:
            _compose(settings, "down", "--volumes", "--remove-orphans")
            return
        except SystemExit as error:
            print(error, file=sys.stderr)
            time.sleep(_SETTLED_SECONDS)


def _weigh(report: Report, service: str) -> None:
    """An image's size, and what makes it up."""
    image = f"{PROJECT}-{service}"
    size, base = (int(_docker("image", "inspect", "--format", "{{.Size}}", one)) for one in (image, _BASE))
    look = "cd /opt/venv/lib/python3*/site-packages && du -s --block-size=1 -- * | sort -rn | head -n 40"
    parts = [line.split("\t") for line in _docker("run", "--rm", "--entrypoint", "sh", image, "-c", look).splitlines()]
    largest = ", ".join(f"{name} {int(bytes_) / 1e6:.0f}" for bytes_, name in parts[:_PARTS])
    row: dict[str, Value] = {
        "service": service,
        "image MB": size / 1e6,
        "of it the base image MB": base / 1e6,
        "largest, MB": largest,
    }
    report.add("image sizes", row)


def _start_up(report: Report, began: float, returned: float) -> None:
    """Seconds from a container's start to its service's work, and from `up` to the quorum and to the report."""
    quorum = _until("run started", "aggregator") - began
    end = _until("run finished", "aggregator") - began
    written = _until("report written", "reporter") - began
    for service, line in SERVING.items():
        seconds = [_logged(one, line) - _started(one) for one in _containers(service)]
        report.add("start-up", {"service": service, "containers": len(seconds), "seconds": statistics.median(seconds)})
    last = max(_logged(one, SERVING["bank_client"]) for one in _containers("bank_client")) - began
    row: dict[str, Value] = {
        "up returns": returned,
        "quorum": quorum,
        "last bank joined": last,
        "final model": end,
        "report": written,
    }
    report.add("seconds after docker compose up", row)
    report.find(f"quorum, s after docker compose up with built images: {beside_aim(quorum, _QUORUM_AIM)}")


def _idle(report: Report) -> None:
    """What each service holds when the run is over."""
    time.sleep(_SETTLED_SECONDS)
    for service in SERVING:
        names = [one["Name"].lstrip("/") for one in _containers(service)]
        used = _docker("stats", "--no-stream", "--format", "{{.MemUsage}}", *names).splitlines()
        held = [_bytes(line.split("/")[0].strip()) / 1e6 for line in used]
        report.add("idle memory", {"service": service, "containers": len(held), "MB each": statistics.median(held)})


def _made_of(report: Report, service: str) -> None:
    """What the idle process holds, what imports cost in the same image, and a note on both."""
    held = _inside("exec", _containers(service)[0]["Id"], "python", words=["held"])
    image = ("run", "--rm", "--entrypoint", "python", f"{PROJECT}-{service}")
    costs = _inside(*image, words=[*_MODULES[service], "then", *held["packages"]])
    for when in ("start-up", "later"):
        row: dict[str, Value] = {"service": service, "imports": when}
        for part, what in enumerate(("CPU s", "MB")):
            of_each = {name: both[part] for name, both in costs[when].items()}
            row |= {what: sum(of_each.values()), f"largest, {what}": largest(of_each)}
        report.add("imports", row)
    note(report, service, held, costs["begun"])


def note(report: Report, service: str, held: Container, begun: Sequence[float]) -> None:
    """What was measured of a service, in sentences; `begun` is what Python alone takes, CPU seconds and MB."""
    start, idle = (_of(report, table, service)[0] for table in ("start-up", "idle memory"))
    first, later = _of(report, "imports", service)
    cpu, megabytes = begun[0] + number(first, "CPU s"), begun[1] + number(first, "MB") + number(later, "MB")
    report.find(
        f"{service}, start-up of {printed(start['seconds'])} s: Python and its imports are {printed(cpu)} CPU s "
        f"({first['largest, CPU s']}), times {start['containers']} on {os.cpu_count()} cores"
    )
    report.find(
        f"{service}, idle memory of {printed(idle['MB each'])} MB by Docker: its process has "
        f"{printed(held['resident'])}, {printed(held['own'])} its own and {printed(held['files'])} of files, which "
        f"containers of one image share; Python and its imports alone have {printed(megabytes)} (at start-up "
        f"{first['largest, MB']}; later {later['largest, MB']})"
    )


def _of(report: Report, table: str, service: str) -> list[Row]:
    return [row for row in report.tables[table] if row["service"] == service]


def largest(costs: dict[str, float]) -> str:
    """The packages that cost the most, each with a hundredth of the whole or more."""
    order = sorted(costs, key=lambda name: -costs[name])[:_COSTS]
    least = sum(costs.values()) / 100
    return ", ".join(f"{name} {printed(costs[name])}" for name in order if costs[name] > least) or "nothing"


def _inside(*command: str, words: Sequence[str]) -> Container:
    """What inside.py answers there."""
    found: Container = json.loads(_docker(*command, "-c", inspect.getsource(inside), *words))
    return found


def _containers(service: str) -> list[Container]:
    filters = (f"project={PROJECT}", f"service={service}", "oneoff=False")
    ids = _docker("ps", "--quiet", *(f"--filter=label=com.docker.compose.{one}" for one in filters)).split()
    found: list[Container] = json.loads(_docker("inspect", *ids)) if ids else []
    return found


def _until(line: str, service: str) -> float:
    """When the service's container logged that line; waits for it. The log is followed, since looking again and again
    would take a third of a core from what is measured."""
    command = ["docker", "logs", "--follow", "--timestamps", _containers(service)[0]["Id"]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as following:
        ending = threading.Timer(_DEADLINE, following.kill)
        ending.start()
        try:
            assert following.stdout is not None  # noqa: S101  # for the type checker: it is a pipe
            for text in following.stdout:
                if when := _when(text, line):
                    return when
        finally:
            ending.cancel()
            following.kill()
    raise SystemExit(f"the {service} must log {line!r} within {_DEADLINE:g} s, it did not")


def _logged(container: Container, line: str) -> float:
    """When a container first logged that line, in seconds since 1970; 0 before it did."""
    lines = _docker("logs", "--timestamps", container["Id"]).splitlines()
    return next((when for text in lines if (when := _when(text, line))), 0.0)


def _when(text: str, line: str) -> float:
    """Of a stamped line of a log: when it was written if it is that line, else 0."""
    stamp, _, said = text.partition(" ")
    return _seconds(stamp) if said.startswith("{") and json.loads(said)["what"] == line else 0.0


def _started(container: Container) -> float:
    return _seconds(container["State"]["StartedAt"])


def _seconds(stamp: str) -> float:
    """Docker's nanoseconds are more than Python reads."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", stamp)).timestamp()


def _bytes(text: str) -> float:
    """Of docker's 12.3MiB."""
    number, unit = re.fullmatch(r"([\d.]+)([KMG]?i?)B", text).groups()  # type: ignore[union-attr]  # docker's own form
    return float(number) * {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "K": 1e3, "M": 1e6, "G": 1e9}[unit]


if __name__ == "__main__":
    ending.run(main)
