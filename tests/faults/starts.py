"""An aggregator whose first start meets a disk that is full, or fails, from one of its calls on, or is killed there."""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

from tests.conftest import say_lacking
from tests.faults.campaign import Campaign
from tests.faults.strace import CannotTrace, under_strace
from tests.federation.waiting import wait_for

CALLS = ("mkdir", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename")
"""What a start makes durable with; not write, by which it also says what is wrong."""
KILL = "KILL"
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Fault:
    """The `count`th call of this name, and all later ones, fail so; or the process is killed there (KILL)."""

    call: str
    count: int
    error: str

    @property
    def injection(self) -> str:
        """The same for strace."""
        killed = f"{self.call}:signal=KILL:when={self.count}"
        return killed if self.error == KILL else f"{self.call}:error={self.error}:when={self.count}+"


@cache
def faults() -> list[Fault]:
    """All of them, in the order of an undisturbed first start."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = Start(folder, _strace(folder / "calls"))
        wait_for(started.serving, "the aggregator serves")
        lines = [line.split() for line in (folder / "calls").read_text().splitlines()]
        started.stop()
    calls = [call.split("(")[0] for thread, call, *_ in lines if thread == lines[0][0]]  # counted for each thread
    places = [(call, calls[: place + 1].count(call)) for place, call in enumerate(calls) if call in CALLS]
    return [Fault(*place, error) for place, error in product(places, ("ENOSPC", "EIO", KILL))]


class Start:
    """One process of an aggregator on a data folder of its own, as a user or a container runs it."""

    def __init__(self, folder: Path, before: list[str] | None = None) -> None:
        settings = {
            "DATA_DIR": str(folder / "data"),
            "JOIN_DIR": str(folder / "join"),
            "LISTEN": "127.0.0.1:0",
            "ENROLMENT_LISTEN": "127.0.0.1:0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._log = folder / "said"
        command = [*(before or []), sys.executable, "-m", "services.aggregator", "serve"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
            )

    def said(self) -> str:
        """Its log up to now."""
        return self._log.read_text()

    def serving(self) -> bool:
        """Whether it has come so far."""
        return " serving " in self.said()

    def settled(self) -> bool:
        """Whether it serves or has ended."""
        return self.exit_status() is not None or self.serving()

    def exit_status(self) -> int | None:
        """How it ended; None while it has not."""
        return self._process.poll()

    def check_refusal(self) -> None:
        """Holds a start that failed to what it has to say: why, in its last line, and no traceback before it."""
        *before, last = self.said().splitlines()
        assert self.exit_status() == 2, self.said()
        assert "ERROR: cannot start  reason=" in last, self.said()
        assert all("ERROR: disk fails: " in line for line in before), self.said()

    def stop(self) -> None:
        """SIGTERM, and its end."""
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait(20)

    def kill(self) -> None:
        """Leaves nothing of it."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)


def trial(number: int, folder: Path) -> None:
    """A start ends with one line that says why, or serves, or is killed; then the next one serves."""
    folder.mkdir(exist_ok=True)
    fault = faults()[number]
    failing = Start(folder, _strace(folder / "calls", fault.injection))
    try:
        if fault.error == KILL:  # the last calls come when it serves already
            wait_for(lambda: failing.exit_status() in _KILLED, f"the call is made in every start: {fault}", 60.0)
        else:
            wait_for(failing.settled, f"the start ends or serves: {fault}", 60.0)
            if not failing.serving():
                failing.check_refusal()
    finally:
        failing.kill()
    serves_until_it_is_killed(folder)


def serves_until_it_is_killed(folder: Path) -> None:
    """A start on a disk that is well."""
    started = Start(folder)
    try:
        wait_for(started.settled, "the start serves", 60.0)
        assert started.serving(), started.said()
    finally:
        started.kill()


def refused(folder: Path) -> None:
    """A start that must fail, in one line."""
    started = Start(folder)
    try:
        wait_for(started.settled, "the start ends", 60.0)
        started.check_refusal()
    finally:
        started.kill()


def _strace(record: Path, inject: str = "") -> list[str]:
    try:
        return under_strace(CALLS, record, inject)
    except CannotTrace as lack:
        say_lacking(f"{lack}: starts on a bad disk are not tried")


CAMPAIGN = Campaign(
    "starts",
    "a start on a bad disk ends with one clear line; after it, and after one that was killed, the next one serves",
    lambda: len(faults()),
    7,
    trial,
)
