"""The network in containers, as the tests see it: the commands that a user types, and what `docker inspect` says."""

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
BANKS, ROUNDS, SEED = 10, 2, 7
SERVICES = ("aggregator", "bank_client", "reporter")
"""What runs for long; also the names of the images."""
HOST_USER, HOST_GROUP = os.geteuid() or 12_345, os.getegid() or 12_345
"""Who owns the reports folder on the host: never root."""

T = TypeVar("T")
Inspected = dict[str, Any]
"""One container, as `docker inspect` describes it."""


def docker(*arguments: str, env: dict[str, str] | None = None, seconds: float = 400) -> str:
    """What one docker command says; a failure shows it too."""
    output, merge = subprocess.PIPE, subprocess.STDOUT
    done = subprocess.run(["docker", *arguments], cwd=ROOT, env=env, stdout=output, stderr=merge, timeout=seconds)
    text = done.stdout.decode()
    assert done.returncode == 0, f"docker {' '.join(arguments)} ended with {done.returncode}:\n{text}"
    return text


def until(look: Callable[[], T], what: str, seconds: float = 90) -> T:
    """The first true answer of `look`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, f"within {seconds:g} seconds: {what}"
        time.sleep(0.2)  # every look is a process or two
    return answer


@dataclass(frozen=True)
class Network:
    """One Compose project of this repository, with its own reports folder and key file on the host."""

    project: str
    reports: Path
    key_file: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    """What goes before every command; COMPOSE_FILE for other files than the root's."""

    def compose(self, *arguments: str, **settings: str) -> str:
        """A `docker compose` command; `settings` go before it, as a user would write them."""
        known = re.findall(r"^#([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.M)
        own = {
            "ROUNDS": str(ROUNDS),
            "SEED": str(SEED),
            "START_WAIT": "600",
            "ROUND_DEADLINE": "300",
            "STAGE_DEADLINE": "30",  # of ten banks on two cores that do other things as well
            "LOG_FORM": "json",
            "PAGE_PORT": "0",  # any free one
            "REPORTS_DIR": str(self.reports),
            "OPENAI_API_KEY_FILE": str(self.key_file),
            "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",  # nobody is there: no test calls out
        }
        theirs = {name: value for name, value in os.environ.items() if name == "TORCH_INDEX" or name not in known}
        command = ("compose", "--env-file", os.devnull, "--project-name", self.project, *arguments)
        return docker(*command, env={**theirs, **own, **self.settings, **settings})

    def down(self, *options: str) -> None:
        """`docker compose down`; an engine that has kept an endpoint of a removed container is helped to let it go.

        Docker 20.10 now and then forgets to free one when many containers leave a network at once.
        """
        try:
            self.compose("--profile", "operator", "down", *options)
        except AssertionError as error:
            if "has active endpoints" not in str(error):
                raise
            for name in self._networks():
                held = json.loads(docker("network", "inspect", name))[0]["Containers"].values()
                for endpoint in held:
                    docker("network", "disconnect", "--force", name, endpoint["Name"])
            self.compose("down", *options)

    def _networks(self) -> list[str]:
        return docker("network", "ls", "--quiet", f"--filter=label=com.docker.compose.project={self.project}").split()

    def operator(self, *command: str) -> str:
        """What the operator is told."""
        return self.compose("run", "--rm", "operator", *command)

    def containers(self, *services: str) -> list[Inspected]:
        """The containers of these services (of all, if none is named), whatever their state."""
        filters = (f"label=com.docker.compose.project={self.project}", "label=com.docker.compose.oneoff=False")
        ids = docker("ps", "--all", "--quiet", *(f"--filter={one}" for one in filters)).split()
        found: list[Inspected] = json.loads(docker("inspect", *ids)) if ids else []
        wanted = [one for one in found if not services or service_of(one) in services]
        return sorted(wanted, key=lambda one: int(one["Config"]["Labels"]["com.docker.compose.container-number"]))

    def volumes(self) -> set[str]:
        """The names of all volumes that the containers mount."""
        return {mount["Name"] for one in self.containers() for mount in one["Mounts"] if mount["Type"] == "volume"}

    def image(self, service: str) -> str:
        """The image of a service."""
        return f"{self.project}-{service}"

    def events(self, service: str, what: str) -> list[dict[str, Any]]:
        """What a service's containers have logged under that name, in order."""
        lines = [line for one in self.containers(service) for line in docker("logs", one["Id"]).splitlines()]
        logged = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in logged if event["what"] == what]

    def reported_run(self, number: int) -> str:
        """The id of the run whose report the reporter wrote as its first, second …, once it has."""
        written = until(
            lambda: self.events("reporter", "report written")[number - 1 :], f"report {number} is written", 180
        )
        return str(written[0]["run"])

    def facts(self, run_id: str) -> dict[str, Any]:
        """What facts.json says of a run."""
        facts: dict[str, Any] = json.loads((self.reports / run_id / "facts.json").read_text())
        return facts

    def seats(self) -> dict[str, str]:
        """Each bank's seat, by its container's id, as the bank's own volume says."""
        banks = [one["Id"] for one in self.containers("bank_client")]
        return {bank: json.loads(execute(bank, "cat", "/data/enrolment.json"))["seat"] for bank in banks}


def service_of(container: Inspected) -> str:
    """The service that a container belongs to."""
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def execute(container: str, *command: str) -> str:
    """What a command says that is run in a container."""
    return docker("exec", container, *command)


def run_python(container: str, code: str, *arguments: str) -> Any:  # noqa: ANN401  # whatever the code prints as JSON
    """What Python code prints in a container, read as JSON."""
    return json.loads(execute(container, "python", "-c", code, *arguments))


def address(container: Inspected, network: str) -> str:
    """The container's address in one of the project's networks."""
    project = container["Config"]["Labels"]["com.docker.compose.project"]
    return str(container["NetworkSettings"]["Networks"][f"{project}_{network}"]["IPAddress"])
