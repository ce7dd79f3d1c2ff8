"""FraudNet in torch: the manifest's layers over one flat vector."""

import torch
from torch import nn

from fedfraud.manifest import Manifest


class FraudNet(nn.Module):
    """Linear layers of the manifest's sizes, ReLU and dropout after each hidden one, one logit.

    The parameters are views of `flat` (parameters,) and their gradients views of `gradient`, in the layout of
    `manifest.tensors`: a model is loaded, stored and stepped as one vector.
    """

    def __init__(self, manifest: Manifest, dropout: float = 0.0, device: str = "cpu") -> None:
        super().__init__()
        self.dropout = dropout
        self.flat = torch.zeros(manifest.parameter_count, device=device)
        self.gradient = torch.zeros_like(self.flat)
        # Drawn on no device: the initial weights come with the vector, and torch's global generator stays untouched.
        sizes = manifest.layer_sizes
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs, device="meta") for inputs, outputs in sizes)
        for tensor in manifest.tensors:
            part = slice(tensor.start, tensor.start + tensor.size)
            parameter = nn.Parameter(self.flat[part].view(tensor.shape))
            parameter.grad = self.gradient[part].view(tensor.shape)
            _, layer, name = tensor.name.split(".")
            setattr(self.layers[int(layer)], name, parameter)

    def forward(self, inputs: torch.Tensor, draws: torch.Generator | None = None) -> torch.Tensor:
        """Standardised (rows, features) to logits (rows,); dropout only with `draws`, one mask a hidden layer."""
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = torch.relu(layer(hidden))
            if draws is not None and self.dropout:
                kept = torch.rand(hidden.shape, generator=draws, device=hidden.device) >= self.dropout
                hidden = hidden * kept / (1 - self.dropout)
        logits: torch.Tensor = self.layers[-1](hidden)
        return logits[:, 0]
