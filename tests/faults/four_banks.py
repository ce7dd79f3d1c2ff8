"""A run of four banks with sixty rows each, and what must hold of it whatever was done to it."""

import asyncio
import contextlib
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grpc
import uvloop

from fedfraud.chain import next_head
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import RoundKey, round_key_from_proto
from services.aggregator.journal_file import NAME, read_lines
from services.aggregator.vectors import Vectors
from services.bank_client.enrol import ensure_enrolled
from services.bank_client.receipts import Receipts
from services.bank_client.settings import Settings as BankSettings
from tests.federation.networks import FINISHED, Network, drawn_rows, network
from tests.federation.oracle import replayed_sha256
from tests.federation.waiting import wait_for

BANKS = (1, 2, 3, 4)
SEATS = tuple(f"bank-{number:02d}" for number in BANKS)
RECIPE, SEED, ROWS = "default", 7, 60
ROUNDS = 3
_LAST_LINES = 15
_PATIENCE_SECONDS = 3.0
_LOOP = uvloop.new_event_loop()  # one for all: what gRPC still has to say to a loop that is closed is a traceback
Committed = dict[RoundKey, history_pb2.RoundCommitted]


@contextlib.contextmanager
def four_banks(folder: Path, **settings: object) -> Iterator[Network]:
    """The network without processes yet; a run starts by itself when its banks are there, and waits for all four."""
    base = {"autostart": True, "expected_banks": 4, "quorum": 4, "rounds": ROUNDS, "seed": SEED, "recipe": RECIPE}
    with network(folder, **{**base, **settings}) as present:
        for number in BANKS:
            present.give_rows(number, ROWS)
        try:
            yield present
        except AssertionError:
            print(_last_words(present))
            raise
        finally:
            for process in present.processes.values():
                process.kill()  # what is worth reading is on disk


def _last_words(present: Network) -> str:
    """The end of every process's log: a trial's folder does not outlive it."""
    logs = {name: present.log_file(name).read_text().splitlines()[-_LAST_LINES:] for name in present.processes}
    return "\n".join(f"{name}: {line[:200]}" for name, lines in logs.items() for line in lines)


def aggregator_pid(present: Network) -> int:
    """Of the newest process."""
    return present.processes["aggregator"].pid or 0


def keep_up(present: Network) -> bool:
    """Starts the aggregator again if it was killed, as an engine does; whether it had to."""
    if present.processes["aggregator"].is_alive():
        return False
    present.processes["aggregator"].join()
    present.start_aggregator()
    return True


def enrol(present: Network, number: int) -> None:
    """What a bank does first; again, and with the same key, when the aggregator is killed meanwhile."""
    settings = BankSettings(
        aggregator=present.address,
        enrolment=present.enrolment_address,
        join_dir=present.join_dir / "bank",
        data_dir=present.run_dir / f"bank-{number:02d}",
    )

    def enrolled() -> bool:
        keep_up(present)
        try:
            _LOOP.run_until_complete(asyncio.wait_for(ensure_enrolled(settings), _PATIENCE_SECONDS))
        except (grpc.RpcError, TimeoutError):  # it waits for an aggregator that may need us to come back
            return False
        return True

    wait_for(enrolled, f"bank {number} enrols")


def finished(present: Network) -> history_pb2.RunFinished:
    """The end of the run; whenever the aggregator is killed it is started again."""

    def ended() -> list[history_pb2.RunFinished]:
        return [] if keep_up(present) else present.events("run_finished")

    return wait_for(ended, "the run ends", 90.0)[0]


def check_everything(present: Network, rounds: int = ROUNDS, *, may_miss: bool = False) -> None:
    """The durability contract, held against what is on the disks of the aggregator and the banks.

    Every receipt is of a line of the journal, and of a contribution that is in its round's sum; no round is lost or
    repeated; the model is that of a computation by the oracle from the journal's cohorts. `may_miss`: whether a bank
    may have missed a deadline, and a round be void for it.
    """
    heads = _heads(present)
    committed = {round_key_from_proto(event.key): event for event in present.events("round_committed")}
    ended = present.events("round_void") + present.events("round_abandoned")
    void = {round_key_from_proto(event.key) for event in ended}
    assert may_miss or (not void and all(tuple(event.seats) == SEATS for event in committed.values()))
    check_receipts(present, heads, committed, void)
    check_rounds(present, rounds, committed, void)
    (run,) = present.events("run_finished")
    assert (run.outcome, run.reason) == (FINISHED, "")
    trained = [event for event in committed.values() if set(event.segments) != {model_pb2.SEGMENT_KIND_EVALUATE}]
    assert run.model_sha256.hex() == computed_sha256(tuple(tuple(event.seats) for event in trained))
    for name in present.processes:
        log = present.log_file(name).read_text()
        assert "Traceback" not in log, f"{name} says:\n{log}"


def check_receipts(present: Network, heads: dict[int, bytes], committed: Committed, void: set[RoundKey]) -> None:
    """What banks hold in their hands is in the journal, unchanged, and in the sums of rounds that are not void."""
    ca_pem = (present.join_dir / "bank" / "ca.pem").read_bytes()
    for seat in SEATS:
        _, receipts = Receipts(present.run_dir / seat).read(ca_pem)
        for receipt in receipts:
            assert heads.get(receipt.sequence) == receipt.head, f"entry {receipt.sequence} as {seat} has it"
            assert receipt.seat == seat
            assert receipt.key in void or seat in committed[receipt.key].seats, f"{seat} in round {receipt.key}"


def check_rounds(present: Network, rounds: int, committed: Committed, void: set[RoundKey]) -> None:
    """One preparing round, the training rounds, the final one: each opened once and closed once, its sum on disk."""
    opened = [round_key_from_proto(event.key) for event in present.events("round_opened")]
    assert [(key.round, key.attempt) for key in opened] == [(number, 1) for number in range(1, len(opened) + 1)]
    assert list(committed) == [key for key in opened if key not in void]
    assert len(present.events("round_committed")) == len(committed)
    assert [event.step for event in committed.values()] == list(range(rounds + 2))
    vectors = Vectors(present.run_dir / "aggregator" / "vectors")
    for key, event in committed.items():
        assert hashlib.sha256(vectors.sum(key).read_bytes()).digest() == event.sum_sha256
    counted = {(key, seat) for key, event in committed.items() for seat in event.seats}
    accepted = [(round_key_from_proto(event.key), event.seat) for event in present.events("contribution_accepted")]
    assert len(accepted) == len(set(accepted))
    assert {(key, seat) for key, seat in accepted if key not in void} == counted


def _heads(present: Network) -> dict[int, bytes]:
    """The head after each entry, as the chain gives it; the journal says the same."""
    heads, head = {}, b""
    for number, line in enumerate(read_lines(present.run_dir / "aggregator" / NAME), start=1):
        head = heads[number] = next_head(head, line.entry)
        assert (history_pb2.Entry.FromString(line.entry).sequence, line.head) == (number, head)
    return heads


@cache
def computed_sha256(cohorts: tuple[tuple[str, ...], ...]) -> str:
    """The oracle's model from these cohorts, in hex."""
    drawn = {seat: drawn_rows(number, ROWS) for number, seat in zip(BANKS, SEATS, strict=True)}
    return replayed_sha256(RECIPE, SEED, {seat: (rows.features, rows.labels) for seat, rows in drawn.items()}, cohorts)
