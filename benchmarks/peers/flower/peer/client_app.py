"""A bank in Flower: evaluates and trains what it is sent, or answers with it unchanged."""

import os
from pathlib import Path
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from peer import task

app = ClientApp()


def _ready(message: Message, context: Context) -> tuple[Any, Any, Any]:
    """The model as it was sent, and the bank's training and validation rows."""
    folder, bank = Path(os.environ["PEER_SHARDS"]), int(context.node_config["partition-id"]) + 1
    model = task.Network()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return model, *task.shard(folder, bank)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One epoch; of the transport's work, nothing."""
    if task.PARAMETERS:
        unchanged = {"arrays": message.content["arrays"], "metrics": MetricRecord({"num-examples": 1})}
        return Message(content=RecordDict(unchanged), reply_to=message)
    model, rows, _ = _ready(message, context)
    loss = task.train(model, rows)
    content = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"loss": loss, "num-examples": len(rows)}),
    }
    return Message(content=RecordDict(content), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The loss over the validation rows."""
    model, _, own = _ready(message, context)
    metrics = MetricRecord({"loss": task.evaluate(model, own), "num-examples": max(len(own), 1)})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=message)
