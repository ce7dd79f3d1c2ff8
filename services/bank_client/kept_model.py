"""The final model of a bank's newest run as it lies on the bank's own volume, with all that scoring needs of a run.

Two files. The counters are written when the bank has learnt them, under a name that is their hash; the model, which
names its counters, when the bank has scored it in the final round. Each is whole or not there, and none is unpickled.
"""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

from fedfraud import fixed_point, model, stored
from fedfraud.errors import Invalid, NotFound
from fedfraud.fixed_point import Words
from fedfraud.identity import write_secret
from fedfraud.layout import count_codec
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector
from services.bank_client.own_trade import Threshold
from services.bank_client.transactions import Integers

FILE = "kept-model.json"
"""A line of JSON, and the SHA-256 of that line in hexadecimal on the next."""
FEDERATED = "federated"
TABLE_DAY = 1_000
"""Rows of a feature table that count as a day: its rows have none, and an alert budget is so many alerts a day."""
_COUNTERS = "kept-counters"

_log = Log("bank")


@dataclass(frozen=True)
class Variant:
    """One vector under the run's manifest and state, as little-endian float32, and the threshold for the bank's alert
    budget under it; None where no threshold keeps to the budget."""

    name: str
    vector: bytes
    model_sha256: bytes
    threshold: Threshold | None


@dataclass(frozen=True)
class KeptModel:
    """What a run left. `variants` are the federated model and, after it, what the bank made of it for itself, if it
    did: the last one scores.

    `merchant_key` is the fingerprint of the key that the bank's merchants were counted by, empty without counters.
    """

    run_id: str
    manifest: Manifest
    run_state: RunState
    logit_adjustment: bool
    alert_budget: int
    merchant_key: str
    variants: tuple[Variant, ...]

    @property
    def scoring(self) -> Variant:
        """The variant that scores."""
        return self.variants[-1]

    @property
    def vector(self) -> Vector:
        """(parameters,) of the variant that scores."""
        return model.from_bytes(self.scoring.vector, self.manifest)

    @property
    def feature_plan_sha256(self) -> bytes:
        """Of the plan that features follow from payments by; empty where a dataset has the features."""
        plan = self.manifest.feature_plan
        return plan.sha256 if plan else b""


def day_count(manifest: Manifest, row_count: int) -> float:
    """The days that so many validation rows are of, for an alert budget: the plan's, or a day for each TABLE_DAY rows
    of a feature table."""
    plan = manifest.feature_plan
    return float(plan.test_days) if plan else row_count / TABLE_DAY


def keep(folder: Path, kept: KeptModel) -> None:
    """Takes the place of the model that was kept before; a disk that fails costs that and nothing else."""
    line = stored.to_bytes(kept)
    try:
        for torn in (*folder.glob(f".{FILE}.*"), *folder.glob(f".{_COUNTERS}-*")):  # of a process that was killed
            torn.unlink()
        write_secret(folder / FILE, line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n")
        for path in folder.glob(f"{_COUNTERS}-*"):
            if path != _counters_path(folder, kept.run_state.counters_sha256):
                path.unlink()
    except OSError as error:
        _log.warning("the final model is not kept for scoring", run=kept.run_id, reason=error)
        return
    told = kept.scoring.threshold
    printed = "-" if told is None else f"{told.probability:.4f}"
    sha256 = kept.scoring.model_sha256.hex()
    _log.info("the final model is kept for scoring", run=kept.run_id, model=sha256, threshold=printed)


def keep_counters(folder: Path, sha256: bytes, words: Words) -> None:
    """Beside others: a model that is kept may still follow from those. The disk that fails costs scoring alone."""
    try:
        write_secret(_counters_path(folder, sha256), zlib.compress(fixed_point.to_bytes(words), 1))
    except OSError as error:
        _log.warning("counters are not kept for scoring", counters=sha256.hex(), reason=error)


def load(folder: Path) -> KeptModel:
    """The model that was kept last; refused where the file is not what was written."""
    try:
        line, end, digest = (folder / FILE).read_bytes().partition(b"\n")
    except FileNotFoundError:
        raise NotFound(
            f"a bank must have kept a model to score with, {folder} has none: its first run that ends leaves one"
        ) from None
    except OSError as error:
        raise Invalid(f"a kept model must be readable: {error}") from error
    found = hashlib.sha256(line).hexdigest().encode()
    if not end or found + b"\n" != digest:
        raise Invalid(
            f"a kept model must have the hash in its last line, {digest[:12].decode(errors='replace') or 'none'}, "
            f"got {found[:12].decode()}: {folder / FILE}"
        )
    kept = stored.from_bytes(KeptModel, line)
    if not kept.variants:
        raise Invalid("a kept model must have at least 1 variant, got 0")
    for variant in kept.variants:
        vector = model.from_bytes(variant.vector, kept.manifest)
        sha256 = model.model_sha256(kept.manifest, kept.run_state, vector)
        if sha256 != variant.model_sha256:
            raise Invalid(
                f"a kept model must have the hash that it was kept with, {variant.model_sha256.hex()[:12]}, "
                f"got {sha256.hex()[:12]}"
            )
    return kept


def load_counters(folder: Path, kept: KeptModel) -> Integers:
    """(buckets, counted days, 2): the summed counters that a kept model's features follow from."""
    codec, sha256 = count_codec(kept.manifest), kept.run_state.counters_sha256
    path, size = _counters_path(folder, sha256), 8 * codec.length
    unpacking = zlib.decompressobj()
    try:
        data = unpacking.decompress(path.read_bytes(), size + 1)
    except (OSError, zlib.error) as error:
        raise Invalid(f"the counters of a kept model must be beside it, {path}: {error}") from error
    if unpacking.unused_data:
        raise Invalid(f"the counters of a kept model must end with their file, {path.name} goes on after them")
    if len(data) != size or hashlib.sha256(data).digest() != sha256:
        got = hashlib.sha256(data).hexdigest()[:12]
        raise Invalid(f"the counters of a kept model must have the hash in their name, {path.name}, got {got}")
    return codec.decode(fixed_point.from_bytes(data))


def _counters_path(folder: Path, sha256: bytes) -> Path:
    return folder / f"{_COUNTERS}-{sha256.hex()}.z"
