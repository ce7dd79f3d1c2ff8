"""The model as one flat vector: initial weights, named tensors, forward pass and hash, in numpy alone."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.manifest import Manifest

Vector = NDArray[np.float32]

_BLOCK_ROWS = 65_536
_BLOCK_DRAWS = 1 << 20


@dataclass(frozen=True)
class RunState:
    """What the preparing rounds computed, fixed for the run. Means and deviations are in the features' units."""

    means: tuple[float, ...]
    deviations: tuple[float, ...]
    row_count: int
    fraud_count: int
    weight_scale: float
    counters_sha256: bytes = b""
    """Of the summed counters that the features follow from, as little-endian words; empty where there are none."""

    def to_bytes(self) -> bytes:
        """Little-endian: float64 means, float64 deviations, int64 rows, int64 frauds, float64 weight scale, and the
        counters' hash if there are counters."""
        return b"".join(
            (
                np.asarray(self.means, "<f8").tobytes(),
                np.asarray(self.deviations, "<f8").tobytes(),
                np.asarray([self.row_count, self.fraud_count], "<i8").tobytes(),
                np.asarray([self.weight_scale], "<f8").tobytes(),
                self.counters_sha256,
            )
        )

    @property
    def log_odds(self) -> float:
        """The pooled log-odds of fraud, with the prior (f + 1) / (n + 2), in nats."""
        return prior_log_odds(self.fraud_count, self.row_count)

    def standardise(self, features: NDArray[np.float64]) -> Vector:
        """(rows, features) in the features' units to (rows, features) of mean 0 and deviation 1."""
        means, deviations = np.asarray(self.means), np.asarray(self.deviations)
        scaled = np.empty(features.shape, np.float32)
        for start in range(0, len(features), _BLOCK_ROWS):  # in float64, of which there are never all rows
            block = slice(start, start + _BLOCK_ROWS)
            scaled[block] = (features[block] - means) / deviations
        return scaled


def prior_log_odds(frauds: int, rows: int) -> float:
    """log(p / (1 - p)) for the prior p = (frauds + 1) / (rows + 2), defined for any counts."""
    return float(np.log((frauds + 1) / (rows - frauds + 1)))


def to_bytes(vector: Vector) -> bytes:
    """The vector's little-endian float32 bytes: what crosses the wire, lies on disk and is hashed."""
    return bytes(as_bytes(vector))


def as_bytes(vector: Vector) -> memoryview:
    """The same bytes without a copy of them, where the processor has them in that order."""
    return np.ascontiguousarray(vector, "<f4").data.cast("B")


def from_bytes(data: bytes | bytearray | memoryview, manifest: Manifest) -> Vector:
    """Checks length and finiteness of what was received or stored."""
    if len(data) != 4 * manifest.parameter_count:
        raise Invalid(f"a model vector must have {4 * manifest.parameter_count} bytes, got {len(data)}")
    vector = np.frombuffer(data, "<f4")
    if not np.isfinite(vector).all():
        raise Invalid(f"a model must be finite, got {int((~np.isfinite(vector)).sum())} NaN or infinite coordinates")
    return vector


def model_sha256(manifest: Manifest, run_state: RunState, vector: Vector) -> bytes:
    """SHA-256 of the canonical manifest JSON, the run state and the vector; no time and no run id is in it."""
    digest = hashlib.sha256(manifest.canonical_json())
    digest.update(run_state.to_bytes())
    digest.update(as_bytes(vector))
    return digest.digest()


def initial_vector(manifest: Manifest, seed: int) -> Vector:
    """Uniform in ±1/sqrt(fan_in) for weights and biases, drawn in order from PCG64(seed), as torch's Linear does."""
    if seed < 0:
        raise Invalid(f"a seed must be at least 0, got {seed}")
    generator = np.random.Generator(np.random.PCG64(seed))
    vector = np.empty(manifest.parameter_count, np.float32)
    for tensor in manifest.tensors:
        for start in range(tensor.start, tensor.start + tensor.size, _BLOCK_DRAWS):  # in float64: never all at once
            stop = min(start + _BLOCK_DRAWS, tensor.start + tensor.size)
            vector[start:stop] = generator.uniform(-1.0, 1.0, stop - start) / np.sqrt(tensor.fan_in)
    return vector


def named_tensors(manifest: Manifest, vector: Vector) -> dict[str, Vector]:
    """Views of the vector in the shapes of the manifest's tensors."""
    return {t.name: vector[t.start : t.start + t.size].reshape(t.shape) for t in manifest.tensors}


def logits(manifest: Manifest, vector: Vector, inputs: Vector) -> Vector:
    """Forward pass without dropout: standardised (rows, features) to logits (rows,), in float32."""
    tensors = named_tensors(manifest, vector)
    hidden = inputs
    last = len(manifest.layer_sizes) - 1
    for layer in range(last + 1):
        hidden = hidden @ tensors[f"layers.{layer}.weight"].T
        hidden += tensors[f"layers.{layer}.bias"]
        if layer < last:
            np.maximum(hidden, 0, out=hidden)
    return hidden[:, 0]


def calibrated_logits(
    manifest: Manifest, run_state: RunState, vector: Vector, features: NDArray[np.float64], *, logit_adjustment: bool
) -> Vector:
    """(rows, features) in the features' units to (rows,) logits of the probability of fraud.

    A model trained with logit adjustment has learned the likelihood ratio; the pooled log-odds make it a probability
    (Menon et al. 2021, "Long-tail learning via logit adjustment").
    """
    return standardised_logits(
        manifest, run_state, vector, run_state.standardise(features), logit_adjustment=logit_adjustment
    )


def standardised_logits(
    manifest: Manifest, run_state: RunState, vector: Vector, inputs: Vector, *, logit_adjustment: bool
) -> Vector:
    """The same of (rows, features) that the run state has standardised."""
    raw = logits(manifest, vector, inputs)
    return raw + np.float32(run_state.log_odds) if logit_adjustment else raw
