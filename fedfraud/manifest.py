"""What a model is: its features and layers, and the layout of its one flat vector."""

import itertools
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.transactions import Feature

VERSION = 1
_MOST_LAYERS = 16
_MOST_PARAMETERS = 2**28  # 1 GiB of float32: what a peer may make this machine hold


@dataclass(frozen=True)
class Tensor:
    """A named part of the flat vector: `vector[start:start + size]` in row-major order."""

    name: str
    shape: tuple[int, ...]
    start: int
    size: int
    fan_in: int


@dataclass(frozen=True)
class Manifest:
    """A model's features and layers, fixed when a bank joins; with a feature plan where banks have transactions and
    compute the features from these."""

    population: str
    features: tuple[Feature, ...]
    hidden_sizes: tuple[int, ...] = (64, 32)
    version: int = VERSION
    feature_plan: FeaturePlan | None = None

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise Invalid(f"manifest version must be {VERSION}, got {self.version}")
        if not self.features:
            raise Invalid("a manifest must have at least 1 feature, got 0")
        if not 1 <= len(self.hidden_sizes) <= _MOST_LAYERS:
            raise Invalid(f"hidden layers must be 1 to {_MOST_LAYERS}, got {len(self.hidden_sizes)}")
        if min(self.hidden_sizes) < 1:
            raise Invalid(f"hidden sizes must be at least 1, got {list(self.hidden_sizes)}")
        if self.parameter_count > _MOST_PARAMETERS:
            raise Invalid(f"a model must have at most {_MOST_PARAMETERS} parameters, got {self.parameter_count}")

    @property
    def layer_sizes(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of each linear layer, first to last."""
        widths = (len(self.features), *self.hidden_sizes, 1)
        return tuple(itertools.pairwise(widths))

    @cached_property
    def tensors(self) -> tuple[Tensor, ...]:
        """The layout of the flat vector: each layer's weight (outputs, inputs), then its bias (outputs,)."""
        tensors: list[Tensor] = []
        start = 0
        for layer, (inputs, outputs) in enumerate(self.layer_sizes):
            for name, shape in (("weight", (outputs, inputs)), ("bias", (outputs,))):
                size = inputs * outputs if name == "weight" else outputs
                tensors.append(Tensor(f"layers.{layer}.{name}", shape, start, size, inputs))
                start += size
        return tuple(tensors)

    @cached_property
    def parameter_count(self) -> int:
        """The length of the flat vector: 4,097 for 30-64-32-1."""
        return sum(tensor.size for tensor in self.tensors)

    def canonical_json(self) -> bytes:
        """The bytes that go into every model hash: sorted keys, no spaces, UTF-8."""
        return self._canonical_json

    @cached_property
    def _canonical_json(self) -> bytes:
        description: dict[str, Any] = {
            "version": self.version,
            "population": self.population,
            "features": [{"name": f.name, "unit": f.unit, "resolution": float(f.resolution)} for f in self.features],
            "hidden_sizes": list(self.hidden_sizes),
        }
        if self.feature_plan is not None:
            description["feature_plan"] = asdict(self.feature_plan)
        return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
