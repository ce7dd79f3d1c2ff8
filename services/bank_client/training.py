"""A bank's training: deterministic for (run seed, seat, step, model), from explicit generators alone.

Equal bits need one thread, whatever the machine's load: importing this module keeps torch to one.
"""

import contextlib
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from fedfraud.fixed_point import WEIGHT_CAP
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector, initial_vector, model_sha256, prior_log_odds
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseCodec
from services.bank_client.dataset import Rows
from services.bank_client.network import FraudNet
from services.bank_client.seeds import training_seed

torch.set_num_threads(1)

_Batch = tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, ...]]
"""Inputs (rows, features), labels (rows,) and what hidden units are divided by, (rows, units) a layer."""
_GATHERED_ROWS, _DRAWN_UNITS = 16_384, 1 << 20
"""What is made at once: rows, and with dropout hidden units of these rows, 4 MiB; a batch at the least. Of more rows
there are two such groups: one is drawn while the other is trained on."""


class Cancelled(Exception):
    """Training was stopped between two batches because its round is over."""


def never() -> bool:
    """Trains to the end."""
    return False


class Trainer:
    """A bank's training rows, standardised once, and the recipe to train any model of the run on them.

    One network and one set of gradients: not for two threads at once.
    """

    def __init__(
        self, manifest: Manifest, recipe: Recipe, run_state: RunState, training: Rows, device: str = "cpu"
    ) -> None:
        self._recipe = recipe
        self._device = device
        self._network = FraudNet(manifest, recipe.dropout, device)
        units = sum(manifest.hidden_sizes) if recipe.dropout else 1  # a row's, that are drawn
        batches = max(1, min(_GATHERED_ROWS, _DRAWN_UNITS // units) // recipe.batch_size)
        self._group_rows = batches * recipe.batch_size
        self._inputs = torch.from_numpy(run_state.standardise(training.features)).to(device)  # (rows, features)
        self._labels = torch.from_numpy(training.labels.astype(np.float32)).to(device)  # (rows,)
        self._log_odds = prior_log_odds(training.fraud_count, len(training)) if recipe.logit_adjustment else 0.0

    @property
    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Standardised inputs (rows, features) and labels (rows,), as float32."""
        return self._inputs, self._labels

    def train(
        self, vector: Vector, seed: bytes, cancelled: Callable[[], bool] = never, *, epochs: int | None = None
    ) -> Vector:
        """The vector after `epochs` (the recipe's local epochs unless given) with a fresh optimiser.

        `seed` (32 bytes) seeds one generator by its first eight, little-endian: each epoch draws its order, then each
        batch its dropout masks. Raises Cancelled.
        """
        draws = torch.Generator(self._device).manual_seed(int.from_bytes(seed[:8], "little"))
        network = self._network
        network.flat.copy_(torch.from_numpy(np.array(vector)))
        adam = _Adam(network.flat, network.gradient, self._recipe.learning_rate)
        epochs = self._recipe.local_epochs if epochs is None else epochs
        groups = self._groups(epochs, draws)
        if len(self._labels) > self._group_rows:
            groups = _ahead(groups)
        with contextlib.closing(groups), torch.inference_mode():  # whoever keeps the exception keeps no thread
            for group in groups:
                for inputs, labels, divisors in group:
                    if cancelled():
                        raise Cancelled
                    # With logit adjustment the loss sees the odds of this bank, and the model learns what banks share.
                    logits = network.forward(inputs, divisors)
                    if self._log_odds:
                        logits += self._log_odds
                    # The derivative of the mean binary cross-entropy with logits.
                    network.backward(torch.sigmoid(logits).sub_(labels).div_(labels.shape[0]))
                    adam.step()
        return network.flat.cpu().numpy().copy()

    @torch.inference_mode()
    def _groups(self, epochs: int, draws: torch.Generator) -> Generator[list[_Batch], None, None]:
        """The rows in each epoch's order, a group of batches at a time, each batch with its dropout. Many batches' rows
        are gathered at once, and not all rows."""
        size = self._recipe.batch_size
        for _ in range(epochs):
            order = torch.randperm(len(self._labels), generator=draws, device=self._device)
            for rows in torch.split(order, self._group_rows):
                # index_select copies rows; an index in brackets would take the same values one by one.
                inputs, labels = (torch.split(of.index_select(0, rows), size) for of in (self._inputs, self._labels))
                yield list(zip(inputs, labels, self._network.dropouts(len(rows), size, draws), strict=True))


def _ahead(groups: Iterator[list[_Batch]]) -> Generator[list[_Batch], None, None]:
    """The same, each drawn while the one before is trained on: a quarter of the time, where a second core is free."""
    with ThreadPoolExecutor(1, "draws") as beside:
        following = beside.submit(next, groups, None)
        while (group := following.result()) is not None:
            following = beside.submit(next, groups, None)
            yield group


@dataclass
class _Adam:
    """torch.optim.Adam with its defaults, to the bit, over one flat vector.

    Building torch's own imports its compiler: 1.4 CPU seconds and 30 MB in every bank.
    """

    parameters: torch.Tensor
    gradient: torch.Tensor
    learning_rate: float

    def __post_init__(self) -> None:
        self._steps = 0
        self._mean = torch.zeros_like(self.parameters)
        self._square = torch.zeros_like(self.parameters)
        self._deviation = torch.empty_like(self.parameters)

    def step(self) -> None:
        """Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1."""
        self._steps += 1
        self._mean.lerp_(self.gradient, 1 - 0.9)
        self._square.mul_(0.999).addcmul_(self.gradient, self.gradient, value=1 - 0.999)
        size = self.learning_rate / (1 - 0.9**self._steps)
        torch.sqrt(self._square, out=self._deviation).div_((1 - 0.999**self._steps) ** 0.5).add_(1e-8)
        self.parameters.addcdiv_(self._mean, self._deviation, value=-size)


def train_alone(
    manifest: Manifest,
    recipe: Recipe,
    epochs: int,
    training: Rows,
    run_seed: int,
    seat: str,
    cancelled: Callable[[], bool] = never,
    device: str = "cpu",
) -> tuple[RunState, Vector]:
    """The bank without the federation: its own scaler and prior, the same recipe and initial weights, one optimiser
    for all `epochs`; seeded as step 0."""
    codec = StandardiseCodec(tuple(feature.resolution for feature in manifest.features))
    own = codec.decode(codec.encode(training.features, training.labels))
    # The weight scale is 1: there is no average to weigh in.
    state = RunState(tuple(own.means.tolist()), tuple(own.deviations.tolist()), own.row_count, own.fraud_count, 1.0)
    vector = initial_vector(manifest, run_seed)
    seed = training_seed(run_seed, seat, 0, model_sha256(manifest, state, vector))
    return state, Trainer(manifest, recipe, state, training, device).train(vector, seed, cancelled, epochs=epochs)


def weight(recipe: Recipe, run_state: RunState, training: Rows) -> int:
    """The bank's weight in the average, 1 to WEIGHT_CAP, by the recipe's rule on its training rows."""
    measured = recipe.weight_rule.measure(training.fraud_count, len(training))
    return int(np.clip(np.rint(run_state.weight_scale * measured), 1, WEIGHT_CAP))
