"""A random nemesis that kills, pauses, cuts and slows while a run goes on; then the contract and bounds are checked.

Every other trial is masked.
"""

import os
import random
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fedfraud.wire import round_key_from_proto
from services.aggregator.vectors import Vectors
from services.aggregator.verify import verify
from tests.faults.campaign import Campaign
from tests.faults.drips import descriptors, resident_bytes
from tests.faults.four_banks import BANKS, aggregator_pid, check_everything, finished, four_banks
from tests.faults.links import Link, Links
from tests.federation.networks import Network
from tests.federation.waiting import wait_for

ROUNDS, TRIALS = 100, 5
_LATENCY = 0.03
"""Seconds each way of every line: a round takes a fifth of a second, so that a fault meets every part of one."""
_DEADLINE = 1.5
_MEMORY, _DESCRIPTORS = 24 << 20, 8
"""How much more of each a process may hold after the second half of the faults than after the first."""
_JOURNAL_BYTES, _LOG_BYTES = 1024, 8 << 20
"""Of one journal entry, with SQLite's pages; of the write-ahead log and its index."""


@dataclass
class Nemesis:
    """What it does, on one bank and the aggregator at a time, drawn from its seed."""

    present: Network
    links: dict[int, Link]
    draws: random.Random
    restarts: list[float] = field(default_factory=list)
    """Seconds from each start of a killed aggregator until it served."""
    done: list[str] = field(default_factory=list)
    spared: frozenset[str] = frozenset()
    """What may not be killed, because it is measured: "aggregator", "1"."""

    def strike(self) -> None:
        """One fault, at a moment that nobody chose, and its end; all banks are asked again when it returns."""
        opened = len(self.present.events("round_opened"))
        time.sleep(self.draws.uniform(0, 0.2))
        bank = self.draws.choice(BANKS)
        faults: list[Callable[[int], None]] = [self.pause, self.hold, self.reset, self.lose, self.slow, self.stop]
        faults += [] if str(bank) in self.spared else [self.kill]
        faults += [] if "aggregator" in self.spared else [self.kill_aggregator] * 2
        fault = self.draws.choice(faults)
        self.done.append(fault.__name__)
        fault(bank)
        wait_for(lambda: self._over or self._all_asked_after(opened), f"all banks are back after: {self.done}", 60.0)

    def kill_aggregator(self, bank: int) -> None:
        """Kills the aggregator and starts it again."""
        self.present.kill_aggregator()
        began = time.monotonic()
        self.present.start_aggregator()
        self.restarts.append(time.monotonic() - began)

    def stop(self, bank: int) -> None:
        """Stops the aggregator for a moment."""
        os.kill(aggregator_pid(self.present), signal.SIGSTOP)
        time.sleep(self.draws.uniform(0, 0.5))
        os.kill(aggregator_pid(self.present), signal.SIGCONT)

    def kill(self, bank: int) -> None:
        """Kills a bank and starts it again, sometimes once the others went on without it."""
        self.present.kill(bank)
        self._sometimes_a_round_later()
        self.present.restart(bank, aggregator=self.links[bank].address)

    def pause(self, bank: int) -> None:
        """Stops a bank where it is."""
        self.present.pause(bank)
        self._sometimes_a_round_later()
        self.present.resume(bank)

    def hold(self, bank: int) -> None:
        """Parts a bank from the network; sometimes the aggregator is killed meanwhile."""
        self.links[bank].hold()
        if "aggregator" not in self.spared and self.draws.random() < 0.3:
            self.kill_aggregator(bank)
        self._sometimes_a_round_later()
        self.links[bank].heal()
        self.links[bank].latency = _LATENCY

    def reset(self, bank: int) -> None:
        """Resets a bank's connections."""
        self.links[bank].reset()

    def lose(self, bank: int) -> None:
        """Makes them half-open; half a minute is too long for us, so they are reset after a while."""
        self.links[bank].lose()
        self._sometimes_a_round_later()
        self.links[bank].reset()

    def slow(self, bank: int) -> None:
        """A bank's line carries 200 KB/s for a round: its contribution takes most of a second."""
        self.links[bank].rate = 200_000.0
        self._a_round_later()
        self.links[bank].rate = float("inf")

    @property
    def _over(self) -> bool:
        return bool(self.present.events("run_finished"))

    def _sometimes_a_round_later(self) -> None:
        if self.draws.random() < 0.5:
            self._a_round_later()

    def _a_round_later(self) -> None:
        before = committed(self.present)
        wait_for(lambda: self._over or committed(self.present) > before, "the others go on", 60.0)

    def _all_asked_after(self, before: int) -> bool:
        return any(len(event.cohort) == len(BANKS) for event in self.present.events("round_opened")[before:])


def committed(present: Network) -> int:
    """Committed rounds up to now."""
    return len(present.events("round_committed"))


def nemesis_trial(number: int, folder: Path, rounds: int = ROUNDS) -> None:
    """A run of so many committed rounds; in its second half the measured processes are not killed."""
    training = rounds - 2  # a preparing round before, the final one after
    draws = random.Random(number)  # noqa: S311  # so that a trial can be done again
    began = time.monotonic()
    settings = {"rounds": training, "quorum": 3, "round_deadline": _DEADLINE}
    aggregation = "secure" if number % 2 else "plain"
    with Links() as links, four_banks(folder, **settings, aggregation=aggregation) as present:
        present.start_aggregator()
        nemesis = Nemesis(present, {bank: links.link(present.address) for bank in BANKS}, draws)
        for bank, link in nemesis.links.items():
            link.latency = _LATENCY
            present.start_banks(bank, aggregator=link.address)
        while committed(present) < rounds // 2:
            nemesis.strike()
        first, before = sizes(present), len(nemesis.done)
        nemesis.spared = frozenset({"aggregator", "1"})
        while committed(present) < rounds - 2:
            nemesis.strike()
        finished(present)
        check_growth(first, sizes(present), since=len(nemesis.done) - before)
        check_everything(present, training, may_miss=True)
        each = check_disk(present)
    found = verify(folder / "aggregator")
    assert not found.faults, found.text
    times = sorted(nemesis.restarts)
    back = f"median {statistics.median(times):.2f} s, longest {times[-1]:.2f} s" if times else "not killed"
    print(
        f"{rounds} {aggregation} rounds, {len(nemesis.done)} faults, {time.monotonic() - began:.0f} s; "
        f"{each} bytes a round;"
    )
    print(f"{len(times)} restarts of the aggregator, back to serving: {back}", flush=True)


Sizes = dict[str, tuple[int, int]]


def sizes(present: Network) -> Sizes:
    """Resident bytes and descriptors of the aggregator and the first bank, after a quiet round."""
    before = committed(present)
    wait_for(lambda: present.events("run_finished") or committed(present) > before, "a quiet round", 60.0)
    pids = {name: present.processes[name].pid or 0 for name in ("aggregator", "bank-01")}
    return {name: (resident_bytes(pid), descriptors(pid)) for name, pid in pids.items()}


def check_growth(first: Sizes, last: Sizes, since: int) -> None:
    """Neither memory nor descriptors grow with the faults."""
    for name, (memory, opened) in first.items():
        more, further = last[name][0] - memory, last[name][1] - opened
        print(f"{name}: {memory >> 20} MB and {opened} descriptors, after {since} faults more {more / 2**20:+.1f} MB")
        assert more < _MEMORY, f"{name} grew by {more} bytes"
        assert further <= _DESCRIPTORS, f"{name} holds {further} descriptors more"


def check_disk(present: Network) -> int:
    """Of a committed round there are its sum, its model and its momentum, and nothing else; bytes of one round."""
    data = present.run_dir / "aggregator"
    vectors, named = Vectors(data / "vectors"), set()
    for event in present.events("round_committed"):
        key = round_key_from_proto(event.key)
        named.add(vectors.sum(key))
        named.add(vectors.model(event.model.vector_sha256))
        if event.velocity_sha256:
            named.add(vectors.velocity(key))
    found = {path for path in (data / "vectors").rglob("*") if path.is_file()}
    assert found == named, f"files that nothing names: {sorted(found - named)}, missing: {sorted(named - found)}"
    journal = sum(path.stat().st_size for path in data.glob("journal.sqlite3*"))
    assert journal < _LOG_BYTES + _JOURNAL_BYTES * len(present.entries())
    return sum(path.stat().st_size for path in found) // committed(present)


CAMPAIGN = Campaign(
    "nemesis",
    f"{ROUNDS} rounds a trial under random kills, pauses, cuts and slow lines: nothing lost, nothing grows",
    lambda: TRIALS,
    1,
    nemesis_trial,
)
