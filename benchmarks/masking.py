"""What masking costs: CPU, bytes and wall time of the protocol by itself, and of whole rounds beside plain ones.

    .venv/bin/python benchmarks/masking.py            # the protocol, all parties in one process; then the network
    .venv/bin/python benchmarks/masking.py --large    # with 1,000 banks too (minutes)

CPU is this process's own, measured around each party's calls; banks are measured one by one, and their mean is shown.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from typing import ParamSpec, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks import ending, options
from fedfraud.fixed_point import FRACTION_BITS, WEIGHT_CAP
from fedfraud.identity import seat_name
from fedfraud.masking_bank import Masker
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import Inputs, Openings, Policy
from fedfraud.masking_sum import MaskedSum
from fedfraud.masking_wire import answer_to_proto
from fedfraud.recipe import CLIP
from fedfraud.thresholds import sizes

P = ParamSpec("P")
T = TypeVar("T")
FEDERATION = bytes(32)


@dataclass
class Cost:
    """What one attempt took: CPU seconds of all banks and of the aggregator, bytes that one bank sent."""

    banks: float = 0.0
    aggregator: float = 0.0
    sent: list[int] = field(default_factory=list)
    exact: bool = False

    def bank(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Does it on the banks' account."""
        began = time.process_time()
        result = work(*arguments, **named)
        self.banks += time.process_time() - began
        return result

    def server(self, work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """Does it on the aggregator's account."""
        began = time.process_time()
        result = work(*arguments, **named)
        self.aggregator += time.process_time() - began
        return result


def attempt(banks: int, words: int, dropped: int) -> Cost:
    """One attempt in this process; `dropped` banks leave before they mask."""
    keys = {seat_name(number): Ed25519PrivateKey.generate() for number in range(1, banks + 1)}
    roster, size = Roster.of({seat: key.public_key().public_bytes_raw() for seat, key in keys.items()}), sizes(banks)
    parameters = Parameters(
        FEDERATION,
        "run",
        1,
        1,
        bytes(32),
        bytes(32),
        roster.sha256,
        tuple(sorted(keys)),
        words,
        ("train",),
        FRACTION_BITS,
        CLIP,
        WEIGHT_CAP,
        size.quorum,
        size.holders,
        size.threshold,
    )
    policy = Policy(FEDERATION, roster, True, FRACTION_BITS, CLIP, WEIGHT_CAP)
    inputs, cost = Inputs(bytes(32), bytes(32), CLIP, ("train",), (bytes(32),), bytes(32), words), Cost()
    total = MaskedSum(parameters, roster)
    maskers = {
        seat: cost.bank(
            Masker.begin, parameters, roster, seat, inputs, policy, Openings(), keys[seat], random_bytes=token_bytes
        )
        for seat in parameters.cohort
    }
    _stages(cost, total, maskers, words, dropped)
    return cost


def _stages(cost: Cost, total: MaskedSum, maskers: dict[str, Masker], words: int, dropped: int) -> None:
    """All five, and the opening; what the first `dropped` banks sent before they left is not counted."""
    sent, staying = dict.fromkeys(maskers, 0), list(maskers)[dropped:]
    for seat, masker in maskers.items():
        advertisement = cost.bank(masker.advertise)
        sent[seat] += answer_to_proto(advertisement).ByteSize()
        cost.server(total.advertise, advertisement)
    cost.server(total.close)
    for seat, masker in maskers.items():
        shares = cost.bank(masker.share, total.advertisements)
        sent[seat] += answer_to_proto(shares).ByteSize()
        cost.server(total.share, shares)
    cost.server(total.close)
    expected = np.zeros(words, np.uint64)
    for number, seat in enumerate(staying):
        own = np.full(words, number + 1, np.uint64)
        delivery = cost.server(total.delivery, seat)
        masked, vector, _ = cost.bank(maskers[seat].mask, delivery, own, Openings())
        sent[seat] += 8 * len(vector)
        cost.server(total.mask, masked, vector)
        expected += own
    cost.server(total.close)
    for seat in staying:
        consent, _ = cost.bank(maskers[seat].consent, total.masked, Openings())
        sent[seat] += answer_to_proto(consent).ByteSize()
        cost.server(total.consent, consent)
    cost.server(total.close)
    for seat in staying:
        unmasking = cost.bank(maskers[seat].unmask, total.consents)
        sent[seat] += answer_to_proto(unmasking).ByteSize()
        cost.server(total.unmask, unmasking)
    cost.exact = bool((cost.server(total.open) == expected).all())
    cost.sent = [sent[seat] for seat in staying]


def protocol(cases: Sequence[tuple[int, int, int]]) -> None:
    """A table of attempts, all parties in one process."""
    print("| banks | words | dropped | exact | CPU a bank, ms | CPU aggregator, ms | bytes a bank sent | wall, s |")
    print("|---|---|---|---|---|---|---|---|")
    for banks, words, dropped in cases:
        began = time.monotonic()
        cost = attempt(banks, words, dropped)
        wall, exact = time.monotonic() - began, "yes" if cost.exact else "NO"
        each, server, sent = 1000 * cost.banks / banks, 1000 * cost.aggregator, statistics.mean(cost.sent)
        row = f"{banks} | {words:,} | {dropped} | {exact} | {each:.1f} | {server:.1f} | {sent:,.0f} | {wall:.2f}"
        print(f"| {row} |", flush=True)


def network(rounds: int, runs: int) -> None:
    """Seconds a training round of `python -m services`, ten banks, plain and secure in turn."""
    medians: dict[str, list[float]] = {"plain": [], "secure": []}
    for _ in range(runs):
        for aggregation, found in medians.items():
            with tempfile.TemporaryDirectory() as folder:
                facts = Path(folder) / "facts.json"
                words = [sys.executable, "-m", "services", "--rounds", str(rounds), "--aggregation", aggregation]
                words += ["--run-dir", f"{folder}/run", "--reports-dir", f"{folder}/reports", "--json", str(facts)]
                subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # our own command
                told = json.loads(facts.read_text())["rounds"]
            found.append(statistics.median(r["seconds"] for r in told if r["number"] not in (0, rounds + 1)))
    plain, secure = (statistics.median(medians[name]) for name in ("plain", "secure"))
    print(f"\nten banks, {rounds} rounds, {runs} runs of each kind; the median of a training round's seconds:")
    print(f"plain {plain:.3f}, secure {secure:.3f}: masking costs {secure - plain:.3f} (the aim is at most .2)")


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="with 1,000 banks too")
    parser.add_argument("--runs", type=options.times, default=3, help="runs of the network of each kind (default: 3)")
    arguments = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, Python {platform.python_version()}\n")
    cases = [(10, 4_097, 0), (10, 4_097, 3), (10, 100_000, 0), (10, 1_000_000, 0), (100, 10_000, 5)]
    protocol([*cases, *([(1000, 10_000, 50)] if arguments.large else [])])
    network(10, arguments.runs)


if __name__ == "__main__":
    ending.run(main)
