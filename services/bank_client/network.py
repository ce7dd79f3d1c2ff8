"""FraudNet in torch: the manifest's layers over one flat vector, forward and backward.

The gradient is written out, by the operations that torch's autograd would run and to its bits: a batch is small, and
what autograd keeps of each operation costs more than the arithmetic.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence

import torch

from fedfraud.manifest import Manifest
from services.bank_client.dropout import Dropout

_threshold_backward = torch.ops.aten.threshold_backward.default
_EVEN_WIDTH = 16
"""Products with a multiple of so many columns are quick as they are; 512 rows of 30 take two thirds the other way round
(MKL on AMD)."""


class FraudNet:
    """Linear layers of the manifest's sizes, ReLU and dropout after each hidden one, one logit.

    The parameters are views of `flat` (parameters,) and their gradients views of `gradient`, in the layout of
    `manifest.tensors`: a model is loaded, stored and stepped as one vector.
    """

    def __init__(self, manifest: Manifest, dropout: float = 0.0, device: str = "cpu") -> None:
        self._dropout = Dropout(dropout)
        self._widths = manifest.hidden_sizes
        self.flat = torch.zeros(manifest.parameter_count, device=device)
        self.gradient = torch.zeros_like(self.flat)
        views = [
            (self.flat[part].view(tensor.shape), self.gradient[part].view(tensor.shape))
            for tensor in manifest.tensors
            if (part := slice(tensor.start, tensor.start + tensor.size))
        ]
        self._weights, self._biases = views[::2], views[1::2]
        self._turned = [weight.t() for weight, _ in self._weights]
        self._on_cpu = self.flat.device.type == "cpu"
        self._uneven = [self._on_cpu and weight.shape[1] % _EVEN_WIDTH != 0 for weight, _ in self._weights]
        self._seen: list[torch.Tensor] = []
        """What each layer was given in the last forward pass: 0 where ReLU or dropout let nothing through."""
        self._divisors: Sequence[torch.Tensor] = ()

    def dropouts(self, rows: int, batch_rows: int, draws: torch.Generator) -> Iterator[tuple[torch.Tensor, ...]]:
        """For each batch of so many rows what its hidden units, (rows, units) a layer, are divided by: the share that
        is kept, and infinity for a unit that is dropped. Nothing a batch without dropout.

        They are drawn at once, in the order in which a batch after the other, a layer after the other would draw them.
        """
        if not self._dropout.share:
            yield from itertools.repeat((), -(-rows // batch_rows))
            return
        units = sum(self._widths)
        drawn = self._dropout.divisors(rows * units, draws)
        whole, rest = divmod(rows, batch_rows)
        ends = whole * batch_rows * units
        yield from self._batches(drawn[:ends], whole, batch_rows)
        yield from self._batches(drawn[ends:], 1 if rest else 0, rest)

    def _batches(self, drawn: torch.Tensor, count: int, rows: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """So many batches of so many rows each, a layer after the other in each: views, made by a few calls."""
        layers = torch.split(drawn.view(count, rows * sum(self._widths)), [rows * width for width in self._widths], 1)
        of_each = (layer.view(count, rows, width) for layer, width in zip(layers, self._widths, strict=True))
        yield from zip(*(layer.unbind() for layer in of_each), strict=True)

    def forward(self, inputs: torch.Tensor, divisors: Sequence[torch.Tensor] = ()) -> torch.Tensor:
        """Standardised (rows, features) to logits (rows,); dropout only with a batch of `dropouts`."""
        self._seen, self._divisors = [inputs], divisors
        for layer, (turned, (bias, _)) in enumerate(zip(self._turned[:-1], self._biases[:-1], strict=True)):
            hidden = torch.addmm(bias, self._seen[-1], turned).relu_()
            self._seen.append(hidden.div_(divisors[layer]) if divisors else hidden)
        return torch.addmm(self._biases[-1][0], self._seen[-1], self._turned[-1]).squeeze(1)

    def backward(self, by_logits: torch.Tensor) -> None:
        """Fills `gradient` from the loss's derivative by the logits (rows,) of the last forward pass."""
        given = by_logits.unsqueeze(1)
        for layer in reversed(range(len(self._weights))):
            weight, by_weight = self._weights[layer]
            if self._uneven[layer] and _is_the_same_turned(*given.shape, by_weight.shape[1]):
                by_weight.copy_(torch.mm(self._seen[layer].t(), given).t())
            else:
                torch.mm(given.t(), self._seen[layer], out=by_weight)
            torch.sum(given, 0, out=self._biases[layer][1])
            if layer:
                given = torch.mm(given, weight)
                if self._divisors and self._on_cpu:  # a dropped unit has 0 in what was seen, and lets nothing through
                    given.div_(1 - self._dropout.share)
                elif self._divisors:  # a number would be multiplied by its reciprocal there: other bits
                    given.div_(self._divisors[layer - 1])
                given = _threshold_backward(given, self._seen[layer], 0)


@functools.cache
def _is_the_same_turned(rows: int, units: int, inputs: int) -> bool:
    """Whether this machine adds up in one order for a weight's gradient, (units, inputs) from so many rows, and for its
    transpose: on any numbers it tells by the bits of their sums."""
    draws = torch.Generator().manual_seed(rows)
    given, seen = (torch.randn((rows, columns), generator=draws) for columns in (units, inputs))
    return torch.equal(torch.mm(given.t(), seen), torch.mm(seen.t(), given).t())
