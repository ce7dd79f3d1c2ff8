"""A run's model as files: model.safetensors, model.onnx, and model.json, which holds all that the hashes cover.

Written by the reporter beside the report; read and checked again by anybody who has them, against the journal if they
have that too. Nothing in them is ever unpickled.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from fedfraud import model
from fedfraud.errors import FedfraudError, Invalid, Misconfigured
from fedfraud.feature_plan import FeaturePlan
from fedfraud.identity import write_durably
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, Vector
from fedfraud.transactions import Feature
from fedfraud.v1 import history_pb2

TENSORS, ONNX, DESCRIPTION = "model.safetensors", "model.onnx", "model.json"
_FILE_MODE = 0o664  # as of the report


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Feature(_Strict):
    name: str
    unit: str
    resolution: float


class _FeaturePlan(_Strict):
    first_day: str
    history_days: int
    train_days: int
    delay_days: int
    test_days: int
    windows: tuple[int, ...]
    label_delay_days: int
    bucket_count: int
    version: int


class _Manifest(_Strict):
    version: int
    population: str
    features: list[_Feature]
    hidden_sizes: list[int]
    feature_plan: _FeaturePlan | None = None


class _RunState(_Strict):
    means: list[float]
    deviations: list[float]
    row_count: int
    fraud_count: int
    weight_scale: float
    counters_sha256: str = ""


class Description(_Strict):
    """What `model.json` holds: the model's hashes, what they cover besides the vector, and where the journal has it.

    `model_sha256` is SHA-256 of the manifest's canonical JSON, the run state's bytes and the little-endian float32
    vector; `journal_head` is the journal's head after entry `journal_sequence`, the run's last one.
    """

    run_id: str
    model_sha256: str
    vector_sha256: str
    journal_sequence: int
    journal_head: str
    logit_adjustment: bool
    """Whether the pooled log-odds of fraud are added to the logit, as the recipe asks."""
    manifest: _Manifest
    run_state: _RunState


@dataclass(frozen=True)
class FinalModel:
    """The model that a run ended with, and where the journal says so."""

    run_id: str
    manifest: Manifest
    run_state: RunState
    vector: Vector
    logit_adjustment: bool
    journal_sequence: int
    journal_head: str

    @property
    def sha256(self) -> str:
        """The model's hash, in hex."""
        return model.model_sha256(self.manifest, self.run_state, self.vector).hex()

    @property
    def vector_sha256(self) -> str:
        """That of the vector's bytes, in hex."""
        return hashlib.sha256(model.to_bytes(self.vector)).hexdigest()

    def tensors(self) -> bytes:
        """The content of `model.safetensors`."""
        named = {name: np.ascontiguousarray(part) for name, part in _named(self).items()}
        return save(named, {"model_sha256": self.sha256})

    def onnx(self) -> bytes:
        """The content of `model.onnx`."""
        from services.reporter.onnx_model import to_onnx  # half a second, in a thread

        return to_onnx(self.manifest, self.run_state, self.vector, logit_adjustment=self.logit_adjustment)

    def description(self) -> str:
        """The content of `model.json`."""
        described = Description(
            run_id=self.run_id,
            model_sha256=self.sha256,
            vector_sha256=self.vector_sha256,
            journal_sequence=self.journal_sequence,
            journal_head=self.journal_head,
            logit_adjustment=self.logit_adjustment,
            manifest=_Manifest.model_validate(json.loads(self.manifest.canonical_json())),
            run_state=_RunState.model_validate(
                {**asdict(self.run_state), "counters_sha256": self.run_state.counters_sha256.hex()}
            ),
        )
        return described.model_dump_json(indent=2, exclude_defaults=True) + "\n"  # no plan and no counters: not a word


def _named(final: FinalModel) -> dict[str, Vector]:
    return model.named_tensors(final.manifest, final.vector)


def write(folder: Path, final: FinalModel) -> None:
    """Each file whole or not at all, `model.json` last; Misconfigured where the folder cannot be written."""
    try:
        folder.mkdir(mode=0o775, parents=True, exist_ok=True)
        write_durably(folder / TENSORS, final.tensors(), _FILE_MODE)
        write_durably(folder / ONNX, final.onnx(), _FILE_MODE)
        write_durably(folder / DESCRIPTION, final.description().encode(), _FILE_MODE)
    except OSError as error:
        raise Misconfigured(f"reports must be writable: {error.strerror}, {error.filename or folder}") from error


def described(folder: Path) -> Description:
    """What `model.json` says; Invalid if it is not one."""
    try:
        return Description.model_validate_json((folder / DESCRIPTION).read_bytes())
    except (OSError, ValidationError) as error:
        raise Invalid(f"{DESCRIPTION}: it must be there and hold a description, got {_short(error)}") from error


def read(folder: Path) -> FinalModel:
    """The model of these files, each held to the hashes; Invalid names the file that is not what it was."""
    told = described(folder)
    try:
        features = tuple(Feature(**feature.model_dump()) for feature in told.manifest.features)
        shape = told.manifest
        plan = FeaturePlan(**shape.feature_plan.model_dump()) if shape.feature_plan else None
        manifest = Manifest(shape.population, features, tuple(shape.hidden_sizes), shape.version, plan)
        state = told.run_state
        run_state = RunState(
            tuple(state.means),
            tuple(state.deviations),
            state.row_count,
            state.fraud_count,
            state.weight_scale,
            bytes.fromhex(state.counters_sha256),
        )
        if {len(run_state.means), len(run_state.deviations)} != {len(features)}:
            raise Invalid(f"a run state must have a mean and a deviation for each of {len(features)} features")
    except (FedfraudError, ValueError) as error:
        raise Invalid(f"{DESCRIPTION}: {error}") from error
    final = FinalModel(
        told.run_id,
        manifest,
        run_state,
        _vector(folder, manifest),
        told.logit_adjustment,
        told.journal_sequence,
        told.journal_head,
    )
    if final.vector_sha256 != told.vector_sha256:
        raise Invalid(
            f"{TENSORS}: its vector must have the SHA-256 of {DESCRIPTION}, {told.vector_sha256[:12]}, "
            f"got {final.vector_sha256[:12]}"
        )
    if final.sha256 != told.model_sha256:
        raise Invalid(
            f"{DESCRIPTION}: manifest, run state and vector must have its model_sha256, {told.model_sha256[:12]}, "
            f"got {final.sha256[:12]}"
        )
    _check_onnx(folder, final)
    return final


def _vector(folder: Path, manifest: Manifest) -> Vector:
    try:
        tensors = load((folder / TENSORS).read_bytes())
    except (OSError, SafetensorError) as error:
        raise Invalid(f"{TENSORS}: it must be there and be a safetensors file, got {_short(error)}") from error
    wanted = {tensor.name: (tensor.shape, "float32") for tensor in manifest.tensors}
    got = {name: (tensor.shape, str(tensor.dtype)) for name, tensor in tensors.items()}
    if got != wanted:
        raise Invalid(f"{TENSORS}: its tensors must be the manifest's, {wanted}, got {got}"[:500])
    return np.concatenate([tensors[tensor.name].ravel() for tensor in manifest.tensors])


def _check_onnx(folder: Path, final: FinalModel) -> None:
    try:
        found = (folder / ONNX).read_bytes()
    except OSError as error:
        raise Invalid(f"{ONNX}: it must be there, got {_short(error)}") from error
    if found != final.onnx():
        raise Invalid(f"{ONNX}: it must be the graph that {DESCRIPTION} and {TENSORS} make, got another")


def check_against(final: FinalModel, entries: Iterable[tuple[history_pb2.Entry, bytes]]) -> None:
    """Holds a model to a journal's checked entries, each with the head after it; Invalid says what differs."""
    asked, ended, place = None, None, (0, "")
    for entry, head in entries:
        match entry.WhichOneof("event"):
            case "run_started" if entry.run_started.run_id == final.run_id:
                asked = entry.run_started
            case "run_finished" if entry.run_finished.run_id == final.run_id:
                ended, place = entry.run_finished, (entry.sequence, head.hex())
    if asked is None or ended is None:
        raise Invalid(f"{DESCRIPTION}: its run must be one that ended in the journal, got {final.run_id[:80]!r}")
    for rule, wanted, got in (
        ("model_sha256 must be that of the run's model", ended.model_sha256.hex(), final.sha256),
        ("logit_adjustment must be the recipe's", asked.recipe.logit_adjustment, final.logit_adjustment),
        ("journal_sequence must be the entry of the run's end", place[0], final.journal_sequence),
        ("journal_head must be the head after the run's end", place[1], final.journal_head),
    ):
        if wanted != got:
            raise Invalid(f"{DESCRIPTION}: {rule} in the journal, {str(wanted)[:12]}, got {str(got)[:12]}")


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
