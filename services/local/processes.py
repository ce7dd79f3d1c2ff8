"""The network's processes on this machine: how they are started and stopped together."""

import contextlib
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from fedfraud.central import Central, Purpose
from fedfraud.errors import Misconfigured
from fedfraud.identity import seat_name
from fedfraud.transactions import HAVE_HOLDOUT, preset_of
from services.aggregator.settings import Settings as AggregatorSettings
from services.bank_client.settings import Settings as BankSettings
from services.local import children, fork_server
from services.reporter.settings import Settings as ReporterSettings

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
LOOPBACK = "127.0.0.1"
LOG = "log"
"""The name of every process's log in its folder."""


class LocalNetwork:
    """An aggregator, banks and a reporter as processes of this machine, all in one run folder."""

    def __init__(self, run_dir: Path, aggregator: AggregatorSettings, *, forks: bool = False) -> None:
        """`forks`: what needs no torch is forked from this process on Linux, and is ready when the fork server is. For
        a process of one thread that has begun nothing of gRPC's, and starts each of these once."""
        self.run_dir = run_dir.resolve()
        self.processes: dict[str, BaseProcess] = {}
        self.address = self.enrolment_address = ""
        self._settings = aggregator.model_copy(
            update={"data_dir": self.run_dir / "aggregator", "join_dir": self.run_dir / "join"}
        )
        self._context = fork_server.context()
        self._light = fork_server.light_context() if forks else self._context
        self._holdout: Connection[Any, None] | None = None
        self._ports: Connection[Any, tuple[int, int]] | None = None
        self._untold: list[Connection[tuple[str, str], Any]] = []
        self._page: Connection[Any, int] | None = None
        self._page_url = ""
        self._central: tuple[Purpose, Path] | None = None
        self._hosts = 0
        self._shards: tuple[Path, Event] | None = None
        self._seats: dict[int, Event] = {}
        self._turns: list[Event] = []  # all are kept: a process that has yet to start needs its own

    @property
    def join_dir(self) -> Path:
        """Where the join folders are."""
        return self.run_dir / "join"

    @property
    def operating(self) -> str:
        """The operator's command in this network, for a shell in this folder."""
        settings = {
            "AGGREGATOR": self.address,
            "ENROLMENT": self.enrolment_address,
            "JOIN_DIR": str(self.join_dir / "operator"),
        }
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
        return f"{variables} {shlex.quote(sys.executable)} -m services.aggregator operate status"

    @property
    def spare_banks(self) -> int:
        """How many banks may be missing while there is still a quorum."""
        return self._settings.expected_banks - self._settings.effective_quorum

    def write_population(self, banks: int = 0) -> None:
        """Where a population has a public hold-out: a process of the bank's side writes that, which the aggregator
        waits for; then it takes a shard and a seat for each of so many banks, that need not do it when they start.
        Banks that come later, and those of hosts, do."""
        settings, folder = self._settings, self.run_dir / "population"
        if settings.population not in HAVE_HOLDOUT:
            return
        self._holdout, theirs = self._context.Pipe(duplex=False)
        told, written = self._listener(), self._context.Event()
        self._seats = {number: self._context.Event() for number in range(1, banks + 1)}
        self._turns = list(self._seats.values())
        made = [(self._bank_settings(number, {}), taken) for number, taken in self._seats.items()]
        order = (settings.population, settings.seed, folder, theirs, written, told, made)
        self._start("population", children.write_population, *order, context=self._light)
        for end in (theirs, told):
            end.close()
        self._shards = folder, written
        self._settings = settings.model_copy(update={"holdout_file": folder / children.HOLDOUT})

    def announce_central(self) -> None:
        """Tells the aggregator that a model of all rows in one place will come for the run that its settings start."""
        settings, path = self._settings, self.run_dir / "central" / "central.json"
        purpose = Purpose.of(
            population=settings.population,
            preset=preset_of(settings.population, settings.preset),
            seed=settings.seed,
            recipe=settings.recipe,
            rounds=settings.rounds,
            banks=settings.expected_banks,
            first_day=settings.first_day,
            terms=settings.terms,
        )
        Central(purpose=purpose).write(path)
        self._settings = settings.model_copy(update={"central_file": path})
        self._central = purpose, path

    def start_central(self) -> None:
        """Begins to train what was announced, if it has not begun."""
        if self._central and "central" not in self.processes:
            self._start("central", children.write_central, *self._central)

    def withdraw_central(self) -> None:
        """The run is over: what has not begun does not come."""
        if self._central and "central" not in self.processes:
            self._central[1].unlink(missing_ok=True)

    def start_aggregator(self) -> None:
        """Starts it and waits until it serves; a restart listens where it listened before."""
        self.begin_aggregator()
        self.await_aggregator()

    def begin_aggregator(self) -> None:
        """Starts it."""
        self._ports, theirs = self._context.Pipe(duplex=False)
        listen = {
            "listen": self.address or f"{LOOPBACK}:0",
            "enrolment_listen": self.enrolment_address or f"{LOOPBACK}:0",
        }
        order = (self._settings.model_copy(update=listen), self._holdout, theirs)
        self._start("aggregator", children.aggregate, *order, context=self._light)
        theirs.close()

    def await_aggregator(self) -> None:
        """Waits until it serves, and tells those who wait for it."""
        assert self._ports is not None  # noqa: S101  # for the type checker: it was begun
        with self._ports as ours:
            try:
                wait([ours, self.processes["aggregator"].sentinel], _START_SECONDS)
                port, enrolment_port = ours.recv() if ours.poll() else (0, 0)
            except EOFError:  # it ended before it could say
                port, enrolment_port = 0, 0
        if not port:
            holdout = self._settings.holdout_file
            if holdout is not None and not holdout.exists():
                raise Misconfigured(f"the hold-out must be written, see {self.log_file('population')}")
            raise Misconfigured(f"the aggregator must start, see {self.log_file('aggregator')}")
        self.address, self.enrolment_address = f"{LOOPBACK}:{port}", f"{LOOPBACK}:{enrolment_port}"
        self._tell()

    def _listener(self) -> "Connection[Any, tuple[str, str]]":
        """Where a process hears the aggregator's address and its enrolment's, once it serves."""
        told, ours = self._context.Pipe(duplex=False)
        self._untold.append(ours)
        return told

    def _tell(self) -> None:
        """One that has ended is seen by who watches."""
        while self._untold and self.address:
            with self._untold.pop() as listening, contextlib.suppress(BrokenPipeError):
                listening.send((self.address, self.enrolment_address))

    def start_bank(self, number: int, **settings: object) -> None:
        """Starts a simulated bank in the folder bank-NN; those that have no seat yet enrol in the order in which they
        are started."""
        own = self._bank_settings(number, settings)
        before, done = self._next_turn()
        self._start(seat_name(number), children.bank, own, self._seats.get(number, before), done, self._shards)

    def start_host(self, numbers: range, training_threads: int = 1, **settings: object) -> None:
        """Starts these simulated banks in one process, each in its own folder bank-NN; they enrol in order."""
        banks = tuple(self._bank_settings(number, settings) for number in numbers)
        self._hosts += 1
        self._start(f"host-{self._hosts}", children.host_banks, banks, training_threads, *self._next_turn())

    def start_hosted_banks(self, count: int, hosts: int) -> None:
        """Starts the banks 1 to `count` in `hosts` processes."""
        threads = max(1, (os.cpu_count() or 1) // hosts)
        for host in range(hosts):
            self.start_host(range(1 + count * host // hosts, 1 + count * (host + 1) // hosts), threads)

    def _bank_settings(self, number: int, settings: dict[str, object]) -> BankSettings:
        base: dict[str, Any] = {
            "aggregator": self.address,
            "enrolment": self.enrolment_address,
            "join_dir": self.join_dir / "bank",
            "data_dir": self.run_dir / seat_name(number),
            "retry_limit": 1.0,
            "aggregation": self._settings.aggregation,
        }
        return BankSettings(**{**base, **settings})

    def _next_turn(self) -> tuple[Event | None, Event]:
        """What a process waits for before it enrols, and what it sets when it has."""
        before = self._turns[-1] if self._turns else None
        self._turns.append(self._context.Event())
        return before, self._turns[-1]

    def start_reporter(self, reports_dir: Path, page_port: int = 0) -> None:
        """Starts the reporter, which writes to `reports_dir` and serves the page on loopback: on this port, or on any
        free one if it is 0 or taken; once there is an aggregator. `page_url` says where."""
        self._page, theirs = self._context.Pipe(duplex=False)
        told = self._listener()
        self._page_url = ""
        settings = ReporterSettings(
            join_dir=self.join_dir / "reporter",
            reports_dir=reports_dir.resolve(),
            health_socket=None,
            page_listen=f"{LOOPBACK}:{page_port}",
            page_hosts="localhost,127.0.0.1,[::1]",
        )
        self._start("reporter", children.report, settings, told, theirs, context=self._light)
        for end in (told, theirs):
            end.close()
        self._tell()

    def page_url(self, seconds: float = _START_SECONDS) -> str:
        """Where the page is, once the reporter serves it; empty if it does not within so many seconds."""
        if not self._page_url and self._page is not None:
            with contextlib.suppress(EOFError):  # it ended before it could say
                if self._page.poll(seconds):
                    self._page_url = f"http://localhost:{self._page.recv()}"
        return self._page_url

    def log_file(self, name: str) -> Path:
        """Where a process writes its log."""
        return self.run_dir / name / LOG

    def stop(self) -> None:
        """Ends everything: SIGTERM, five seconds, then SIGKILL. Nothing is left running."""
        for process in self.processes.values():
            if process.is_alive():
                process.terminate()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid or 0, signal.SIGCONT)  # a paused process cannot end
        deadline = time.monotonic() + _STOP_SECONDS
        for process in self.processes.values():
            process.join(max(deadline - time.monotonic(), 0))
        for process in self.processes.values():
            if process.is_alive():
                process.kill()
                process.join()

    def _start(
        self, name: str, target: Callable[..., None], *arguments: object, context: BaseContext | None = None
    ) -> None:
        self.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.run_dir / name).mkdir(exist_ok=True)
        process: BaseProcess = (context or self._context).Process(  # type: ignore[attr-defined]  # every context has it
            target=children.child, args=(self.log_file(name), target, *arguments), name=name
        )
        # Ctrl-C between the two would leave a process that nobody ends; what is forked gets it neither, see child().
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            process.start()
            self.processes[name] = process
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
