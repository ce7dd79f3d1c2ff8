"""What each process of the local network runs, from its log and its signals on."""

import asyncio
import contextlib
import fcntl
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from fedfraud.central import Purpose
from fedfraud.errors import FedfraudError, Misconfigured
from fedfraud.identity import make_folder
from fedfraud.logs import Log, configure
from services.aggregator import server
from services.aggregator.settings import Settings as AggregatorSettings
from services.bank_client.settings import Settings as BankSettings
from services.reporter.settings import Settings as ReporterSettings

if TYPE_CHECKING:
    from services.bank_client.enrol import Enrolment

_TURN_SECONDS, _HOSTS_TURN_SECONDS, _HOLDOUT_SECONDS = 10.0, 120.0, 45.0
HOLDOUT = "holdout.npz"
"""The aggregator's, in the folder of the population."""


def child(log_file: Path, target: Callable[..., None], *arguments: object) -> None:
    """The first thing in every process: its log, its signals, and an end if the parent is gone."""
    descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    configure()  # what has no settings is the writing of the hold-out
    for argument in arguments:
        settings = argument[0] if isinstance(argument, tuple) else argument  # a host's banks are set alike
        if isinstance(settings, AggregatorSettings | BankSettings | ReporterSettings):
            configure(settings.log_level, settings.log_form)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the parent, which ends everybody in order
    _take_turns()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    target(*arguments)


def _take_turns() -> None:
    """A dozen processes share few cores: none is interrupted because another has something to do, but has its turn
    first. A round takes a twentieth less. Who chose a policy for the network (`chrt`) keeps it."""
    if sys.platform == "linux" and os.sched_getscheduler(0) == os.SCHED_OTHER:
        with contextlib.suppress(OSError):  # a sandbox
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        # What is forked after another holds that one's sentinel open: it says nothing while any of these lives.
        with contextlib.suppress(ProcessLookupError):
            wait([parent.sentinel, *_descriptors(parent.pid)])
        os.kill(os.getpid(), signal.SIGTERM)


def _descriptors(pid: int | None) -> list[int]:
    """What is readable once the process has ended, where there is such a thing. Raises ProcessLookupError."""
    try:
        return [os.pidfd_open(pid)] if sys.platform == "linux" and pid else []
    except ProcessLookupError:
        raise
    except OSError:  # an old kernel, or a sandbox
        return []


def _until_terminated(service: Callable[[asyncio.Event], Coroutine[Any, Any, int | None]]) -> None:
    async def main() -> int | None:
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        return await service(stop)

    try:
        status = uvloop.run(main())
    except FedfraudError as error:
        Log(multiprocessing.current_process().name).error("cannot go on", reason=error)
        status = 2
    sys.exit(status or 0)


def write_population(
    population: str,
    seed: int,
    folder: Path,
    holdout: "Connection[None, Any]",
    written: Event,
    addresses: "Connection[Any, tuple[str, str]]",
    banks: Sequence[tuple[BankSettings, Event]],
) -> None:
    """The public hold-out, for the aggregator, to folder/holdout.npz; then the shards of these banks; then, once it is
    told where the aggregator and its enrolment are, their seats in order, an event each. A bank that gets none of it
    does it for itself."""
    from services.bank_client import write_shard

    try:
        write_shard.write_holdout(population, seed, folder / HOLDOUT)
        holdout.send(None)
        write_shard.write_shards(population, seed, len(banks), folder)
        written.set()
        if banks:
            aggregator, enrolment = addresses.recv()
            told = {"aggregator": aggregator, "enrolment": enrolment}
            uvloop.run(_take_seats([(settings.model_copy(update=told), taken) for settings, taken in banks]))
    finally:
        for event in (written, *(taken for _, taken in banks)):
            event.set()


async def _take_seats(banks: Sequence[tuple[BankSettings, Event]]) -> None:
    for settings, taken in banks:
        await enrolled(settings)
        taken.set()


async def enrolled(settings: BankSettings) -> "Enrolment":
    """The bank's enrolment. Who wants it while another process is at it waits: it is one bank, and gets one seat."""
    from services.bank_client.enrol import ensure_enrolled

    make_folder(settings.data_dir, 0o700)
    folder = os.open(settings.data_dir, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        return await ensure_enrolled(settings)
    finally:
        os.close(folder)


def write_central(purpose: Purpose, path: Path) -> None:
    """What a model of all rows in one place comes to."""
    from services.bank_client import write_central as central

    central.write_central(purpose, path)


def aggregate(
    settings: AggregatorSettings, holdout: "Connection[Any, None] | None", ready: "Connection[tuple[int, int], Any]"
) -> None:
    """The aggregator, once who writes the hold-out has said so or has ended; `ready` gets its two ports."""
    if holdout is not None:
        wait([holdout], _HOLDOUT_SECONDS)
    _until_terminated(lambda stop: server.serve(settings, stop, lambda *ports: ready.send(ports)))


def bank(settings: BankSettings, turn: Event | None, done: Event, shards: tuple[Path, Event] | None) -> None:
    """What a container does by `simulate`: enrol, write the shard, serve. `shards` are where those of all slots
    are, once the event is set."""

    from services.bank_client.participant import BankClient
    from services.bank_client.write_shard import take_shard, write_shard

    # Until it serves, SIGTERM ends the process as it is: nothing is half done that the next start would miss.
    if turn is not None:
        turn.wait(_TURN_SECONDS)
    enrolment = uvloop.run(enrolled(settings))
    done.set()
    Log(enrolment.seat).info("enrolled", seat=enrolment.seat, slot=enrolment.slot)
    if shards is not None and enrolment.slot:
        folder, written = shards
        written.wait(_TURN_SECONDS)
        take_shard(folder, enrolment.slot, settings.data_dir)
    write_shard(**enrolment.shard, data_dir=settings.data_dir)
    _until_terminated(lambda stop: BankClient(settings, stop).serve())


def host_banks(banks: tuple[BankSettings, ...], training_threads: int, turn: Event | None, done: Event) -> None:
    """The same for many banks."""
    from services.local import host

    if turn is not None:
        turn.wait(_HOSTS_TURN_SECONDS)
    _until_terminated(lambda stop: host.serve(banks, training_threads, stop, done.set))


def report(
    settings: ReporterSettings, addresses: "Connection[Any, tuple[str, str]]", ready: "Connection[int, Any]"
) -> None:
    """The reporter, once it is told where the aggregator and its enrolment are; `ready` gets the page's port."""
    from services.reporter.__main__ import serve

    aggregator, enrolment = addresses.recv()
    told = settings.model_copy(update={"aggregator": aggregator, "enrolment": enrolment})
    any_port = told.model_copy(update={"page_listen": f"{(told.page_listen or '').rpartition(':')[0]}:0"})
    served: list[int] = []

    def on_page(port: int) -> None:
        served.append(port)
        ready.send(port)

    async def serve_page(stop: asyncio.Event) -> None:
        try:
            return await serve(told, stop, on_page)
        except Misconfigured:
            if served:
                raise
        await serve(any_port, stop, on_page)  # the port is taken, or what else is wrong is said again

    _until_terminated(serve_page)
