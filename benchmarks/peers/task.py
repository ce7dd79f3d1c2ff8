"""The common work, for every framework the same: the tutorial's network, one local epoch over a bank's shard with the
DataLoader, and its scores on the bank's validation rows. It imports torch and numpy alone.

With PEER_PARAMETERS it is the transport's instead: the model is one vector of so many float32, a bank answers with it
unchanged, nothing is scored and there are no shards.

Shards are `<folder>/bank-01.npz` and so on, standardised beforehand by the federation's shared scaler: the frameworks
are spared that round.
"""

import os
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FEATURES, BATCH_SIZE, LEARNING_RATE, DROPOUT = 30, 512, 5e-4, 0.1

PARAMETERS = int(os.environ.get("PEER_PARAMETERS", "0"))
"""Of the transport's work; 0: it is the tutorial's."""

torch.set_num_threads(1)


class Network(nn.Sequential):
    """The tutorial's, with the same first weights for everybody."""

    def __init__(self) -> None:
        torch.manual_seed(7)
        super().__init__(
            *(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Dropout(DROPOUT)),
            *(nn.Linear(64, 32), nn.ReLU(), nn.Dropout(DROPOUT)),
            nn.Linear(32, 1),
        )


class Vector(nn.Module):
    """The transport's."""

    def __init__(self) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.ones(PARAMETERS), requires_grad=False)


def first_model() -> nn.Module:
    """That of the work."""
    return Vector() if PARAMETERS else Network()


@cache
def shard(folder: Path, bank: int) -> tuple[TensorDataset, TensorDataset]:
    """A bank's training and validation rows; banks count from 1. A process reads them once, however often a framework
    asks."""
    with np.load(folder / f"bank-{bank:02d}.npz") as rows:
        parts = [torch.from_numpy(rows[name]) for name in ("inputs", "labels", "own_inputs", "own_labels")]
    return TensorDataset(*parts[:2]), TensorDataset(*parts[2:])


def train(model: nn.Module, rows: TensorDataset) -> float:
    """One epoch by a fresh Adam; the mean loss."""
    model.train()
    optimiser, criterion = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE), nn.BCEWithLogitsLoss()
    losses = []
    for inputs, labels in DataLoader(rows, batch_size=BATCH_SIZE, shuffle=True):
        optimiser.zero_grad()
        loss = criterion(model(inputs).squeeze(1), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return float(np.mean(losses))


@torch.no_grad()
def evaluate(model: nn.Module, rows: TensorDataset) -> float:
    """The mean loss over the validation rows."""
    model.eval()
    inputs, labels = rows.tensors
    if not len(labels):
        return 0.0
    return float(nn.functional.binary_cross_entropy_with_logits(model(inputs).squeeze(1), labels))


def note(folder: Path, number: int) -> None:
    """Leaves word that a round of this number, from 1, has ended (in NVFlare: that the next one begins)."""
    with (folder / "rounds").open("a") as file:
        file.write(f"{number} {time.time():.3f}\n")


def weights(model: nn.Module) -> list[np.ndarray]:
    """In order, as arrays."""
    return [tensor.detach().numpy().copy() for tensor in model.state_dict().values()]


def load(model: nn.Module, values: list[np.ndarray]) -> None:
    """What `weights` gave."""
    names = model.state_dict().keys()
    model.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in zip(names, values, strict=True)})
