"""Loads the files that a run's progress names, and refuses what is not as the journal says: never a guess."""

import hashlib
from pathlib import Path

from fedfraud import model
from fedfraud.errors import FedfraudError, Misconfigured
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import round_key_from_proto
from services.aggregator import gathered
from services.aggregator.averaging import Model
from services.aggregator.progress import Progress
from services.aggregator.vectors import Vectors


class NamedVectors:
    """The hashes of all models and counters that the journal names: a fold, `apply` each entry once.

    Another may lie on disk, of a round that was committed otherwise after a restart; it is nobody's.
    """

    def __init__(self) -> None:
        self.sha256s: set[bytes] = set()

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one entry into account."""
        match entry.WhichOneof("event"):
            case "run_started":
                self.sha256s.add(entry.run_started.model.vector_sha256)
            case "round_committed":
                committed = entry.round_committed
                self.sha256s.add(committed.model.vector_sha256)
                if model_pb2.SEGMENT_KIND_COUNT in committed.segments:
                    self.sha256s.add(committed.sum_sha256)


def load_model(progress: Progress, vectors: Vectors) -> Model | None:
    """The run's present model, None before its first; its vector, its momentum and its hash are checked."""
    if progress.model is None or progress.run_state is None:
        return None
    reference, manifest = progress.model, progress.manifest
    try:
        # a bytearray: the next model is written over it
        vector = model.from_bytes(bytearray(vectors.read_model(reference.vector_sha256)), manifest)
    except (OSError, FedfraudError) as error:
        raise Misconfigured(f"a committed model must be whole on disk: {error}") from error
    if (
        hashlib.sha256(model.to_bytes(vector)).digest() != reference.vector_sha256
        or model.model_sha256(manifest, progress.run_state, vector) != reference.model_sha256
    ):
        raise Misconfigured(
            f"a committed model must have the hash that the journal says, {reference.model_sha256.hex()[:12]}, "
            f"its file {reference.vector_sha256.hex()}.f32 has another"
        )
    check_velocity(progress, vectors)
    return Model(vector, progress.run_state, reference)


def check_counters(progress: Progress, vectors: Vectors) -> None:
    """Holds the file of the counters that the run's features follow from to its hash."""
    sha256 = progress.counters_sha256
    if not sha256:
        return
    path = vectors.counters(sha256)
    try:
        found = hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        raise Misconfigured(f"summed counters must be on disk: {error.strerror}, {path}") from error
    if found != sha256:
        raise Misconfigured(f"summed counters must have the hash that the journal says, {path} has another")


def check_contributions(progress: Progress, vectors: Vectors) -> None:
    """Holds the files of the open round's contributions to the hashes that their banks have receipts for."""
    if progress.open is None:
        return
    key = round_key_from_proto(progress.open.key)
    path = vectors.gathered(key)
    try:
        together = gathered.read(path)
        for seat, accepted in progress.accepted.items():
            path = together.path if seat in together.places else vectors.contribution(key, seat)
            _check_contribution(together, path, seat, accepted.vector_sha256)
    except OSError as error:
        raise Misconfigured(f"an accepted contribution must be on disk: {error.strerror}, {path}") from error


def _check_contribution(together: gathered.Reader, path: Path, seat: str, sha256: bytes) -> None:
    if path == together.path:
        found = hashlib.sha256(together.read(seat)).digest()
    else:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    if found != sha256:
        raise Misconfigured(
            f"an accepted contribution must have the hash of its receipt, {sha256.hex()[:12]}, "
            f"got {found.hex()[:12]} of {seat} in {path}"
        )


def cut_contributions(progress: Progress, vectors: Vectors) -> None:
    """Nothing of the open round is to come behind a contribution that has no receipt: the disk may have refused it, and
    the system shows it all the same."""
    if progress.open is not None:
        gathered.read(vectors.gathered(round_key_from_proto(progress.open.key))).cut_behind(progress.accepted)


def check_velocity(progress: Progress, vectors: Vectors) -> None:
    """Holds the file of the server's momentum, if it has one, to the hash that the journal says."""
    if progress.velocity is None:
        return
    key, sha256 = progress.velocity
    path = vectors.velocity(key)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise Misconfigured(f"the server's momentum must be on disk: {error.strerror}, {path}") from error
    if found != sha256:
        raise Misconfigured(f"the server's momentum must have the hash that the journal says, {path} has another")
