"""The public hold-out over the wire: every round's model is scored on it, and the last one has a curve."""

from pathlib import Path

import numpy as np

from fedfraud.transactions import TUTORIAL
from tests.federation.hands import pair
from tests.federation.waiting import until


async def test_each_model_is_scored_on_the_hold_out_and_the_final_one_has_a_curve(tmp_path: Path) -> None:
    rows, file = 40, tmp_path / "holdout.npz"
    features = np.random.default_rng(7).normal(size=(rows, len(TUTORIAL)))
    np.savez(file, features=features, labels=np.arange(rows) % 4 == 0)
    async with pair(tmp_path, holdout_file=file, rounds=1) as network:
        await network.answer()
        await network.answer()
        for bank, upload in zip(network.banks, network.good(), strict=True):
            await bank.submit(upload.messages)
        await until(lambda: network.aggregator.events("run_finished"), "the run ends")
        committed = network.aggregator.events("round_committed")
    assert [(event.holdout.row_count, event.holdout.fraud_count) for event in committed] == [(rows, rows // 4)] * 3
    assert [bool(event.holdout_curve) for event in committed] == [False, False, True]
    assert committed[1].holdout == committed[2].holdout != committed[0].holdout
