"""What must hold on bad lines, as trials for the long form: cut, half-open, narrow, slow-loris."""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import pytest

from tests.faults.campaign import Campaign
from tests.faults.drips import Drips, descriptors, resident_bytes, shake_hands
from tests.faults.links import Cut, Links, Way
from tests.federation.networks import FINISHED, Network, network
from tests.federation.oracle import model_sha256
from tests.federation.waiting import wait_for

ROUNDS, BANKS, SEED = 2, 3, 7
KEEPALIVE_SECONDS = 20.0 + 10.0  # fedfraud/channel.py: a ping after so long, and so long for its answer
HANDSHAKE_SECONDS = 10.0
_LENGTHS = {Way.UP: 86_000, Way.DOWN: 24_000}
"""About what a connection carries from its first byte to the end of a training round."""
_POINTS, _CUTS = 120, 6


@lru_cache(maxsize=1)
def undisturbed() -> str:
    """The model's SHA-256 when nothing happens."""
    return model_sha256("default", ROUNDS, BANKS, SEED)


def counted_once(present: Network) -> None:
    """Every bank of every round has one contribution in it, no round was tried twice, and the model has every bit."""
    finished = present.run_ended()
    accepted = [(event.key.round, event.seat) for event in present.events("contribution_accepted")]
    assert len(accepted) == len(set(accepted)) == BANKS * (ROUNDS + 2)
    assert not present.events("round_void")
    assert (finished.outcome, finished.model_sha256.hex()) == (FINISHED, undisturbed())


def cut_uploads(cuts: list[Cut], folder: Path) -> None:
    """One bank's connections end after so many bytes, one after another; nothing of it shows in the model."""
    with Links() as links, network(folder, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        link = links.link(present.address)
        present.start_banks(1, 2)
        present.start_banks(3, aggregator=link.address, retry_limit=0.3)
        before = len(link.connections)
        link.cuts.extend(cuts)
        link.reset()
        present.start_run()
        counted_once(present)
        assert not link.cuts, "every cut was made"
        for connection in link.connections[before : before + len(cuts)]:
            assert connection.cut is not None
            assert connection.carried[connection.cut.way] == connection.cut.after


def _cut(number: int, folder: Path) -> None:
    way = (Way.UP, Way.DOWN)[number % 2]
    spread = _POINTS // _CUTS
    places = [number // 2 + spread * place for place in range(_CUTS)]
    cut_uploads([Cut(way, _LENGTHS[way] * place // _POINTS) for place in places], folder)


def _half_open(number: int, folder: Path) -> None:
    """Both ends believe in a connection that carries nothing: while the bank waits for a run, or within one."""
    with Links() as links, network(folder, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        link = links.link(present.address)
        present.start_banks(1, 2)
        present.start_banks(3, aggregator=link.address)
        if number % 2:
            present.start_run()
        link.refusing = True  # so that the aggregator has to notice by itself
        link.lose()
        bound = KEEPALIVE_SECONDS + 10.0
        wait_for(lambda: present.events("seat_absent"), "the aggregator notices", bound)
        wait_for(lambda: "aggregator lost" in present.log_file("bank-03").read_text(), "the bank notices", bound)
        link.heal()
        present.joined(3, 2)
        if not number % 2:
            present.start_run()
        counted_once(present)


def _narrow(number: int, folder: Path) -> None:
    """Every bank has 64 kbit/s; the second time 200 ms each way too."""
    with Links() as links, network(folder, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        made = [links.link(present.address) for _ in range(BANKS)]
        for bank, link in enumerate(made, start=1):
            link.rate, link.latency = 8_000.0, 0.2 * (number % 2)
            present.start_banks(bank, aggregator=link.address)
        run_id = present.start_run()
        present.wait("run_finished", lambda event: event.run_id == run_id, seconds=300.0)
        counted_once(present)
        assert [len(link.connections) for link in made] == [1] * BANKS, "no connection was given up"


def slow_loris(folder: Path, each: int = 25) -> None:
    """Strangers, and a bank, that send a byte now and then, on both ports, before and after TLS."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("this machine lacks /proc: descriptors and memory of an aggregator under slow-loris are not tested")
    with network(folder, expected_banks=2, quorum=2, rounds=2) as present, Drips() as drips:
        for number in (1, 2, 3):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2)
        pid = present.processes["aggregator"].pid or 0
        before, memory = descriptors(pid), resident_bytes(pid)
        identity, ca = folder / "bank-01" / "identity.pem", present.join_dir / "bank" / "ca.pem"
        for _ in range(each):
            for address in (present.address, present.enrolment_address):
                drips.before_tls(address)
            drips.after_tls(present.address, ca, identity)
            drips.after_tls(present.enrolment_address, ca)
        finished = present.run_ended(present.start_run())  # which enrols an operator too
        assert finished.outcome == FINISHED
        during, most = descriptors(pid), resident_bytes(pid)
        assert during <= before + 4 * each + 20
        assert most - memory < 64 << 20
        drips.all_dropped(HANDSHAKE_SECONDS + 10.0)
        wait_for(lambda: descriptors(pid) <= before + 10, "the descriptors are free again")
        present.start_banks(3)
        print(f"slow-loris: {4 * each} connections, descriptors {before} to {during}, {(most - memory) >> 20} MB more")


def _loris(number: int, folder: Path) -> None:
    slow_loris(folder, 25 * (number + 1))


def handshake_storm(folder: Path, count: int) -> None:
    """So many TLS handshakes on each port, eight at a time, each hung up at once: the aggregator lives and serves."""
    with network(folder, expected_banks=1, quorum=1, rounds=1) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        identity, ca = folder / "bank-01" / "identity.pem", present.join_dir / "bank" / "ca.pem"

        def shake(number: int) -> None:
            port = (present.address, ca, identity) if number % 2 else (present.enrolment_address, ca)
            with Drips() as drips:
                drips.before_tls(port[0])  # its handshake begins at the same time
                shake_hands(*port).close()

        with ThreadPoolExecutor(8) as strangers:
            list(strangers.map(shake, range(2 * count)))
        assert present.run_ended(present.start_run()).outcome == FINISHED
        assert [event.epoch for event in present.events("aggregator_started")] == [1]


LINES = [
    Campaign("cuts", "a connection that is cut after any byte costs nothing", lambda: 2 * _POINTS // _CUTS, 0, _cut),
    Campaign("half-open", "a dead connection is noticed in 30 s and replaced", lambda: 2, 0, _half_open),
    Campaign("narrow", "a run completes over 64 kbit/s and 200 ms", lambda: 2, 0, _narrow),
    Campaign(
        "handshakes",
        "a storm of TLS handshakes, 4,000 a trial, harms nobody",
        lambda: 10,
        0,
        lambda _, folder: handshake_storm(folder, 2000),
    ),
    Campaign("slow-loris", "slow strangers hold nobody up and are dropped", lambda: 4, 0, _loris),
]
