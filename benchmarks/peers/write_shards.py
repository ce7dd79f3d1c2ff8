"""The banks' rows for the frameworks: the same shards, split and standardised as in the federation, as float32.

`python write_shards.py FOLDER BANKS`, by this project's interpreter.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from fedfraud.layout import standardise_codec
from fedfraud.manifest import Manifest
from fedfraud.model import RunState
from fedfraud.transactions import TUTORIAL
from services.aggregator.averaging import exact_sum
from services.bank_client.dataset import Rows, split
from simulation import tutorial

SEED = 7


def write(folder: Path, banks: int) -> None:
    """One file a bank."""
    shards = [split(Rows(*tutorial.shard(SEED, slot))) for slot in range(1, banks + 1)]
    codec = standardise_codec(Manifest("tutorial", TUTORIAL))
    opened = codec.decode(exact_sum((codec.encode(rows.features, rows.labels) for rows, _ in shards), codec.length))
    means, deviations = tuple(opened.means.tolist()), tuple(opened.deviations.tolist())
    state = RunState(means, deviations, opened.row_count, opened.fraud_count, 1.0)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (training, own) in enumerate(shards, start=1):
        np.savez(
            folder / f"bank-{number:02d}.npz",
            inputs=state.standardise(training.features),
            labels=training.labels.astype(np.float32),
            own_inputs=state.standardise(own.features),
            own_labels=own.labels.astype(np.float32),
        )


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
