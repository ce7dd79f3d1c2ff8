"""FraudNet in torch: the manifest's layers over one flat vector, forward and backward.

The gradient is written out, by the operations that torch's autograd would run and to its bits: a batch is small, and
what autograd keeps of each operation costs more than the arithmetic.
"""

import torch

from fedfraud.manifest import Manifest

_threshold_backward = torch.ops.aten.threshold_backward.default


class FraudNet:
    """Linear layers of the manifest's sizes, ReLU and dropout after each hidden one, one logit.

    The parameters are views of `flat` (parameters,) and their gradients views of `gradient`, in the layout of
    `manifest.tensors`: a model is loaded, stored and stepped as one vector.
    """

    def __init__(self, manifest: Manifest, dropout: float = 0.0, device: str = "cpu") -> None:
        self._dropout = dropout
        self.flat = torch.zeros(manifest.parameter_count, device=device)
        self.gradient = torch.zeros_like(self.flat)
        views = [
            (self.flat[part].view(tensor.shape), self.gradient[part].view(tensor.shape))
            for tensor in manifest.tensors
            if (part := slice(tensor.start, tensor.start + tensor.size))
        ]
        self._weights, self._biases = views[::2], views[1::2]
        self._turned = [weight.t() for weight, _ in self._weights]
        self._seen: list[torch.Tensor] = []
        """What each layer was given in the last forward pass."""
        self._active: list[torch.Tensor] = []
        self._kept: list[torch.Tensor] = []

    def forward(self, inputs: torch.Tensor, draws: torch.Generator | None = None) -> torch.Tensor:
        """Standardised (rows, features) to logits (rows,); dropout only with `draws`, one mask a hidden layer."""
        self._seen, self._active, self._kept = [inputs], [], []
        for turned, (bias, _) in zip(self._turned[:-1], self._biases[:-1], strict=True):
            hidden = torch.addmm(bias, self._seen[-1], turned).relu_()
            self._active.append(hidden)
            if draws is not None and self._dropout:
                drawn = torch.rand(hidden.shape, generator=draws, device=hidden.device)
                self._kept.append(drawn.ge_(self._dropout))
                hidden = (hidden * drawn).div_(1 - self._dropout)
            self._seen.append(hidden)
        return torch.addmm(self._biases[-1][0], self._seen[-1], self._turned[-1]).squeeze(1)

    def backward(self, by_logits: torch.Tensor) -> None:
        """Fills `gradient` from the loss's derivative by the logits (rows,) of the last forward pass."""
        given = by_logits.unsqueeze(1)
        for layer in reversed(range(len(self._weights))):
            weight, by_weight = self._weights[layer]
            torch.mm(given.t(), self._seen[layer], out=by_weight)
            torch.sum(given, 0, out=self._biases[layer][1])
            if layer:
                given = torch.mm(given, weight)
                if self._kept:
                    given.div_(1 - self._dropout).mul_(self._kept[layer - 1])
                given = _threshold_backward(given, self._active[layer - 1], 0)
