"""A bank in NVFlare: evaluates and trains what it receives, or answers with it unchanged.

`nvflare_client.py SHARDS`, run by its client.
"""

import sys
from pathlib import Path

import nvflare.client as flare
import task


def main() -> None:
    """Until the job is over."""
    flare.init()
    folder, bank = Path(sys.argv[1]), int(flare.get_site_name().rpartition("-")[2])
    if not task.PARAMETERS:
        model, (rows, own) = task.Network(), task.shard(folder, bank)
    while flare.is_running():
        received = flare.receive()
        if received is None:
            break
        if bank == 1:
            task.note(folder, received.current_round)
        if task.PARAMETERS:
            flare.send(flare.FLModel(params=received.params, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
            continue
        model.load_state_dict(received.params)
        loss = task.evaluate(model, own)
        task.train(model, rows)
        flare.send(
            flare.FLModel(
                params=model.state_dict(), metrics={"loss": loss}, meta={"NUM_STEPS_CURRENT_ROUND": len(rows)}
            )
        )


if __name__ == "__main__":
    main()
