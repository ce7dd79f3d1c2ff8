"""SIGKILL of the aggregator and of banks in running containers: the engine starts them again, the run goes on."""

import random
import sys
import time
from pathlib import Path
from typing import Any

import torch

from fedfraud.v1 import history_pb2
from tests.compose.network import SEED, Inspected, Network, docker, execute, run_python, until
from tests.compose.running import running
from tests.faults.campaign import Campaign
from tests.federation.oracle import model_sha256

BANKS, TRIALS, KILLS = 4, 5, 4
"""Each trial kills the aggregator and banks so often; not more, as the engine waits longer before each restart."""
LONG = 10_000
"""Rounds of a run that is stopped after its last kill."""

JOURNAL = """
import json
from pathlib import Path
from fedfraud.v1 import history_pb2
from services.aggregator.journal_file import read_lines
lines = list(read_lines(Path("/data/journal.sqlite3")))
entries = [history_pb2.Entry.FromString(line.entry) for line in lines]
def events(kind):
    return [getattr(entry, kind) for entry in entries if entry.WhichOneof("event") == kind]
print(json.dumps({
    "heads": [line.head.hex() for line in lines],
    "epochs": len(events("aggregator_started")),
    "void": len(events("round_void")),
    "opened": [[event.key.round, event.key.attempt] for event in events("round_opened")],
    "committed": [[event.key.round, list(event.seats)] for event in events("round_committed")],
    "finished": [[event.outcome, event.model_sha256.hex()] for event in events("run_finished")],
}))
"""
RECEIPTS = """
import json
from pathlib import Path
from services.bank_client.receipts import Receipts
_, receipts = Receipts(Path("/data")).read(Path("/join/ca.pem").read_bytes())
print(json.dumps([[one.sequence, one.head.hex(), one.key.round, one.seat] for one in receipts]))
"""
VERSIONS = "import sys, torch; print(*sys.version_info[:2], torch.__version__)"


def killed_run(kills: int, seed: int) -> None:
    """A run in which the aggregator and banks are killed so often each: every round has every bank, the model is the
    undisturbed one, and each receipt is of a line of the journal."""
    draws = random.Random(seed)  # noqa: S311  # so that it can be done again
    victims = ["aggregator", "bank_client"] * kills
    draws.shuffle(victims)
    with running(BANKS, BANKS=str(BANKS), QUORUM=str(BANKS), ROUNDS=str(LONG)) as network:
        for service in victims:
            _further_round(network)
            _kill(network, draws.choice(network.containers(service)), draws.uniform(0, 0.5))
        _further_round(network)
        network.operator("stop")
        until(lambda: network.events("aggregator", "run stopped"), "the run ends")
        _check(network, kills)


def _further_round(network: Network) -> None:
    committed = len(network.events("aggregator", "round committed"))
    until(lambda: len(network.events("aggregator", "round committed")) > committed, "a further round is committed")


def _kill(network: Network, container: Inspected, seconds: float) -> None:
    """Kills what runs in a container, some time from now; the engine starts it again."""
    time.sleep(seconds)
    restarts = container["RestartCount"]
    # Not `docker kill`: after that the engine does not start it again.
    docker("exec", "--detach", container["Id"], "sh", "-c", "kill -9 -1")
    until(lambda: _restarts(network, container) > restarts, f"{container['Name']} is started again")


def _restarts(network: Network, container: Inspected) -> int:
    return next(int(one["RestartCount"]) for one in network.containers() if one["Id"] == container["Id"])


def _check(network: Network, kills: int) -> None:
    seats = [f"bank-{number:02d}" for number in range(1, BANKS + 1)]
    (aggregator,) = network.containers("aggregator")
    journal: dict[str, Any] = run_python(aggregator["Id"], JOURNAL)
    numbers = list(range(1, len(journal["committed"]) + 1))
    assert journal["opened"] == [[number, 1] for number in numbers]
    assert (journal["committed"], journal["void"]) == ([[number, seats] for number in numbers], 0)
    assert journal["epochs"] == 1 + kills
    banks = network.containers("bank_client")
    assert sum(one["RestartCount"] for one in banks) == kills
    receipts = [receipt for bank in banks for receipt in run_python(bank["Id"], RECEIPTS)]
    assert {seat for _, _, _, seat in receipts} == set(seats)
    for sequence, head, number, _ in receipts:
        assert (journal["heads"][sequence - 1], number in numbers) == (head, True)
    ((outcome, sha256),) = journal["finished"]
    assert outcome == history_pb2.RUN_OUTCOME_STOPPED
    ours = [str(sys.version_info.major), str(sys.version_info.minor), torch.__version__]
    if execute(banks[0]["Id"], "python", "-c", VERSIONS).split() == ours:  # equal bits are promised for equal versions
        assert sha256 == model_sha256("default", len(numbers) - 1, BANKS, SEED)


def trial(number: int, folder: Path) -> None:
    """A network of its own, four kills of its aggregator and four of its banks."""
    killed_run(KILLS, number)


CAMPAIGN = Campaign(
    "container-kills",
    f"aggregator and banks killed in containers, {KILLS} times each a trial: nothing acknowledged is lost; same model",
    lambda: TRIALS,
    0,
    trial,
)
