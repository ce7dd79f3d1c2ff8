"""The server in Flower: its own FedAvg, by rows, with an evaluation each round (but of the transport's work); says
when a round ended."""

import os
from collections.abc import Iterable
from pathlib import Path

from flwr.app import ArrayRecord, Context, Message, MetricRecord
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from peer import task

app = ServerApp()


class Timed(FedAvg):
    """FedAvg that says when each round ended."""

    folder = Path()

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg does."""
        aggregated = super().aggregate_evaluate(server_round, replies)
        task.note(self.folder, server_round)
        return aggregated


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds."""
    banks, rounds = int(os.environ["PEER_BANKS"]), int(os.environ["PEER_ROUNDS"])
    strategy = Timed(
        fraction_train=1.0,
        fraction_evaluate=0.0 if task.PARAMETERS else 1.0,
        min_train_nodes=banks,
        min_evaluate_nodes=banks,
        min_available_nodes=banks,
    )
    strategy.folder = Path(os.environ["PEER_SHARDS"])
    strategy.start(
        grid=grid, initial_arrays=ArrayRecord(task.first_model().state_dict()), num_rounds=rounds, timeout=600
    )
