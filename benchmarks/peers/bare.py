"""The bare loop: FedAvg over all shards in one process, without a network. `python bare.py SHARDS BANKS ROUNDS`."""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.peers.task import Network, evaluate, load, note, shard, train, weights


def federate(folder: Path, banks: int, rounds: int) -> list[np.ndarray]:
    """All rounds; returns the last one's weights."""
    shards = [shard(folder, bank) for bank in range(1, banks + 1)]
    model = Network()
    present = weights(model)
    for number in range(1, rounds + 1):
        sums, total = [np.zeros_like(part, np.float64) for part in present], 0
        for rows, own in shards:
            load(model, present)
            evaluate(model, own)
            train(model, rows)
            for part, value in zip(sums, weights(model), strict=True):
                part += len(rows) * value
            total += len(rows)
        present = [(part / total).astype(np.float32) for part in sums]
        note(folder, number)
    return present


if __name__ == "__main__":
    federate(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
