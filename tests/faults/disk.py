"""ENOSPC and EIO at every tenth write and fsync of the aggregator's writer thread, once and until space returns."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

from fedfraud.health import probe
from tests.conftest import say_lacking
from tests.faults.campaign import Campaign
from tests.faults.four_banks import (
    BANKS,
    SEATS,
    aggregator_pid,
    check_everything,
    computed_sha256,
    enrol,
    finished,
    four_banks,
)
from tests.faults.strace import CannotTrace, Quiet, Tracer, attached, writer_thread
from tests.federation.networks import Network
from tests.federation.waiting import wait_for

CALLS = ("pwrite64", "fsync", "fdatasync")
"""What gives the disk something. The thread's only `write` is to no disk: it wakes the event loop."""
EVERY = 10
FAILURES = 3
"""So many calls fail before space returns: the service has tried again meanwhile."""


@dataclass(frozen=True)
class Fault:
    """The `count`th call of this name fails so, and if it lasts all later ones of the name until space returns."""

    call: str
    count: int
    error: str
    lasts: bool


@cache
def faults(aggregation: str) -> list[Fault]:
    """All of them, in the order of an undisturbed run."""
    with tempfile.TemporaryDirectory() as folder, _watched(Path(folder), aggregation, "") as (present, tracer):
        finished(present)
        calls = tracer.calls()
    places = range(0, len(calls), EVERY)
    return [
        Fault(calls[place], calls[: place + 1].count(calls[place]), error, lasts)
        for place, lasts, error in product(places, (False, True), ("ENOSPC", "EIO"))
    ]


def trial(aggregation: str, number: int, folder: Path) -> None:
    """Lets one call fail, or all from it on. The process stays, says how it is, and makes the same model."""
    fault = faults(aggregation)[number]
    inject = f"{fault.call}:error={fault.error}:when={fault.count}{'+' if fault.lasts else ''}"
    with _watched(folder, aggregation, inject) as (present, tracer):
        socket, first = _socket(present), aggregator_pid(present)
        quiet = Quiet(tracer)
        over = f"the call is made, or the run is over: {fault}"
        wait_for(lambda: tracer.injected() or (present.events("run_finished") and quiet()), over, 60.0)
        if not tracer.injected():  # contributions that come at once share a sync: there may be fewer calls
            assert tracer.calls().count(fault.call) < fault.count, f"made to fail: {fault}"
        elif fault.lasts:
            wait_for(lambda: not probe(socket), "the health says that the disk fails")
            wait_for(lambda: tracer.injected() >= FAILURES, f"{FAILURES} calls have failed")
            assert not present.events("run_finished")
            tracer.detach()
        assert finished(present)
        wait_for(lambda: probe(socket), "the health says that the disk takes data again")
        assert aggregator_pid(present) == first, "the process stays"
        check_everything(present)
        assert present.events("run_finished")[0].model_sha256.hex() == computed_sha256((SEATS,) * 4)


@contextmanager
def _watched(folder: Path, aggregation: str, inject: str) -> Iterator[tuple[Network, Tracer]]:
    """Three enrolled banks that join and run under an aggregator whose writer thread is under strace."""
    with four_banks(folder / "run", health_socket=folder / "health", aggregation=aggregation) as present:
        present.start_aggregator()
        for number in BANKS:
            enrol(present, number)
        try:
            with attached(writer_thread(aggregator_pid(present)), CALLS, folder / "calls", inject) as tracer:
                for number in BANKS:
                    present.start_bank(number)
                yield present, tracer
        except CannotTrace as lack:
            say_lacking(f"{lack}: disk errors are not tried")


def _socket(present: Network) -> Path:
    return present.run_dir.parent / "health"


PLAIN = Campaign(
    "disk",
    f"ENOSPC and EIO at every {EVERY}th write or fsync: nothing acknowledged is lost; same model, without a restart",
    lambda: len(faults("plain")),
    7,
    partial(trial, "plain"),
)
SECURE = Campaign(
    "disk-secure",
    "the same of a masked run, whose stages are journalled too",
    lambda: len(faults("secure")),
    3,
    partial(trial, "secure"),
)
