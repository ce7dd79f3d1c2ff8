"""A network of real processes for the tests: LocalNetwork, its journal, and the operator's commands."""

import argparse
import contextlib
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fedfraud.transactions import TUTORIAL
from fedfraud.v1 import history_pb2
from services.aggregator import operate
from services.aggregator.settings import OperatorSettings, Settings
from services.bank_client import dataset
from services.local.processes import LocalNetwork
from tests.federation import journals
from tests.federation.waiting import wait_for

FINISHED = history_pb2.RUN_OUTCOME_FINISHED
STOPPED = history_pb2.RUN_OUTCOME_STOPPED
FAILED = history_pb2.RUN_OUTCOME_FAILED


def drawn_rows(number: int, count: int) -> dataset.Rows:
    """A small dataset of the tutorial's schema; another for each number."""
    labels = np.arange(count) % 10 == 0
    return dataset.Rows(np.random.default_rng(number).normal(size=(count, len(TUTORIAL))) + labels[:, None], labels)


class Network(LocalNetwork):
    """Processes whose journal the test reads while they work."""

    def __init__(self, run_dir: Path, settings: Settings) -> None:
        super().__init__(run_dir, settings)
        self._entries: list[history_pb2.Entry] = []

    def entries(self) -> list[history_pb2.Entry]:
        """The journal up to now."""
        self._entries += journals.entries(self.run_dir / "aggregator", len(self._entries))
        return self._entries

    def events(self, kind: str) -> list[Any]:
        """The events of one kind up to now."""
        return [getattr(entry, kind) for entry in self.entries() if entry.WhichOneof("event") == kind]

    def wait(
        self,
        kind: str,
        condition: Callable[[Any], bool] = lambda _: True,
        what: str = "",
        count: int = 1,
        seconds: float = 60.0,
    ) -> Any:  # noqa: ANN401  # one of the events
        """The `count`th event of the kind that meets the condition, as soon as it is in the journal."""

        def met() -> list[Any]:
            found = [event for event in self.events(kind) if condition(event)]
            return found if len(found) >= count else []

        return wait_for(met, f"{count} {kind} {what}", seconds)[count - 1]

    def give_rows(self, number: int, count: int) -> None:
        """A dataset and a hold-out for a bank to find, instead of its shard: every tenth row is a fraud."""
        folder = self.run_dir / f"bank-{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in (("dataset", count), ("holdout", 20)):
            dataset.write(folder / f"{name}.parquet", drawn_rows(number, rows), TUTORIAL)

    def start_banks(self, *numbers: int, **settings: object) -> None:
        """Starts these and waits until each has its lease and has read its rows."""
        for number in numbers:
            self.start_bank(number, **settings)
        for number in numbers:
            self.joined(number)

    def joined(self, number: int, times: int = 1) -> None:
        """Waits until a bank has its lease, for the `times`th time in this log, and has read its rows."""
        log = self.log_file(f"bank-{number:02d}")
        wait_for(lambda: log.exists() and log.read_text().count(" rows=") >= times, f"bank {number} joins", 60.0)

    def signal(self, number: int, which: signal.Signals) -> None:
        """Sends it to a bank."""
        os.kill(self.processes[f"bank-{number:02d}"].pid or 0, which)

    def pause(self, number: int) -> None:
        """Stops a bank where it is."""
        self.signal(number, signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Lets it go on."""
        self.signal(number, signal.SIGCONT)

    def kill(self, number: int) -> None:
        """Ends a bank without a word, and waits until it is gone."""
        self.signal(number, signal.SIGKILL)
        self.processes[f"bank-{number:02d}"].join(10)

    def restart(self, number: int, **settings: object) -> None:
        """Starts a bank again that has its seat: it waits for nobody's turn to enrol, were that one killed or not."""
        for turn in self._turns:
            turn.set()
        self.start_bank(number, **settings)

    def kill_aggregator(self) -> None:
        """Ends the aggregator without a word, and waits until it is gone."""
        self.processes["aggregator"].kill()
        self.processes["aggregator"].join(10)

    def exit_status(self, name: str, seconds: float) -> int | None:
        """How the process ended, at most so much later; None if it did not."""
        self.processes[name].join(seconds)
        return self.processes[name].exitcode

    def operate(self, *words: str) -> tuple[int, str]:
        """Exit status and words of an operator's command."""
        parser = argparse.ArgumentParser()
        operate.add_commands(parser)
        settings = OperatorSettings(
            aggregator=self.address, enrolment=self.enrolment_address, join_dir=self.join_dir / "operator"
        )
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = operate.main(parser.parse_args(words), settings)
        return status, said.getvalue().strip()

    def status(self) -> dict[str, Any]:
        """What `operate status --json` says."""
        status, said = self.operate("status", "--json")
        assert status == 0, said
        told: dict[str, Any] = json.loads(said)
        return told

    def start_run(self, *words: str) -> str:
        """Starts a run as an operator; returns its id."""
        status, said = self.operate("start", *words)
        assert (status, said.startswith("run "), said.endswith(" begins")) == (0, True, True), said
        run_id = said.split()[1]
        self.wait("run_started", lambda event: event.run_id == run_id, f"of {run_id}")
        return run_id

    def run_ended(self, run_id: str = "") -> history_pb2.RunFinished:
        """Waits for the end of this run, or of the first."""
        finished: history_pb2.RunFinished = self.wait(
            "run_finished", lambda event: event.run_id == (run_id or event.run_id)
        )
        return finished

    def accepted(self, run_id: str, number: int, seat: str) -> None:
        """Waits until the run's round `number` has the seat's contribution."""
        self.wait(
            "contribution_accepted",
            lambda event: (event.key.run_id, event.key.round, event.seat) == (run_id, number, seat),
            f"of {seat} in round {number}",
        )


@contextlib.contextmanager
def network(run_dir: Path, **settings: object) -> Iterator[Network]:
    """A network without processes yet; all that the test starts are ended."""
    base: dict[str, Any] = {"hostnames": "127.0.0.1,localhost", "autostart": False, "aggregation": "plain"}
    present = Network(run_dir, Settings(**{**base, **settings}))
    try:
        yield present
    finally:
        present.stop()
        assert not any(process.is_alive() for process in present.processes.values())
