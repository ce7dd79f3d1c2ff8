"""SIGKILL of the aggregator at every system call by which its writer thread makes something durable."""

import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

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
    keep_up,
)
from tests.faults.strace import CannotTrace, Quiet, attached, writer_thread
from tests.federation.networks import Network
from tests.federation.waiting import wait_for

DURABLE = ("pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink", "unlinkat", "mkdir", "rmdir")
"""What changes a disk, in CPython's and SQLite's words on Linux."""
TOLD = "write"
"""To no disk: how the thread wakes the event loop when its work is done: durable, and nobody has heard of it."""
CALLS = (*DURABLE, TOLD)


@dataclass(frozen=True)
class Point:
    """Before the `count`th call of this name."""

    call: str
    count: int


@cache
def points(aggregation: str) -> list[Point]:
    """All of them, in the order of an undisturbed run, whose model is that of the oracle."""
    with tempfile.TemporaryDirectory() as folder:
        calls = _run(Path(folder), aggregation, None)
    return [Point(call, calls[: place + 1].count(call)) for place, call in enumerate(calls)]


def trial(aggregation: str, number: int, folder: Path) -> None:
    """Kills at one point. The aggregator is started again, the run ends as if nothing had happened."""
    _run(folder, aggregation, points(aggregation)[number])


def _run(folder: Path, aggregation: str, point: Point | None) -> list[str]:
    """Enrolment of four banks and a run, with the first aggregator's writer thread under strace; its calls."""
    with four_banks(folder, aggregation=aggregation) as present:
        present.start_aggregator()
        first = aggregator_pid(present)
        inject = f"{point.call}:signal=KILL:when={point.count}" if point else ""
        try:
            with attached(writer_thread(first), CALLS, folder / "calls", inject) as tracer:
                _enrol_and_finish(present)
                quiet = Quiet(tracer)
                if point:  # the last points come when the run's end can be read already
                    wait_for(lambda: keep_up(present) or aggregator_pid(present) != first or quiet(), f"{point}")
                calls = tracer.calls()
        except CannotTrace as lack:
            say_lacking(f"{lack}: crash points are not tried")
        if aggregator_pid(present) == first:  # answers that come at once share a sync: there may be fewer calls
            assert point is None or calls.count(point.call) < point.count, f"killed at {point}"
        check_everything(present)
        assert present.events("run_finished")[0].model_sha256.hex() == computed_sha256((SEATS,) * 4)
        leases = {event.seat for event in present.events("lease_granted")}
        issued = [event.seat for event in present.events("certificate_issued") if not event.renewal]
        assert (leases, issued) == (set(SEATS), list(SEATS))
        return calls


def _enrol_and_finish(present: Network) -> None:
    for number in BANKS:
        enrol(present, number)
    for number in BANKS:
        present.start_bank(number)
    finished(present)


PLAIN = Campaign(
    "crash-points",
    "an aggregator killed at any durable call of its writer thread loses nothing; same model",
    lambda: len(points("plain")),
    20,
    partial(trial, "plain"),
)
SECURE = Campaign(
    "crash-points-secure",
    "an aggregator killed at any durable call of a masked run goes on in the same stage; same model",
    lambda: len(points("secure")),
    12,
    partial(trial, "secure"),
)
