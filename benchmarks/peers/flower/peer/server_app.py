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
    """FedAvg that says when each round ended, and goes on with all banks alone."""

    folder, banks = Path(), 0

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """As FedAvg does."""
        return super().aggregate_train(server_round, self._of_all(replies))

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As FedAvg does."""
        aggregated = super().aggregate_evaluate(server_round, replies if task.PARAMETERS else self._of_all(replies))
        task.note(self.folder, server_round)
        return aggregated

    def _of_all(self, replies: Iterable[Message]) -> list[Message]:
        """FedAvg itself only logs errors, and a round in which nobody did the work would count."""
        there = list(replies)
        wrong = [reply.error.reason for reply in there if reply.has_error()]
        if wrong or len(there) != self.banks:
            raise RuntimeError(f"all {self.banks} banks must answer, {len(there) - len(wrong)} did: {wrong[:1]}")
        return there


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
    strategy.folder, strategy.banks = Path(os.environ["PEER_SHARDS"]), banks
    strategy.start(
        grid=grid, initial_arrays=ArrayRecord(task.first_model().state_dict()), num_rounds=rounds, timeout=600
    )
