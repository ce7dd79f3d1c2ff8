"""Does a run's arithmetic again from what is on disk: sums from contributions, models from sums, scores from both."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud import fixed_point, masking_journal, model
from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, Words
from fedfraud.layout import Layout, standardise_codec, train_codec
from fedfraud.masking_wire import task_sha256
from fedfraud.model import RunState, Vector
from fedfraud.packing import Packing
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import RoundKey, round_key_from_proto, run_state_from_proto, segments_from_proto
from services.aggregator import averaging, messages
from services.aggregator.depth import Depth
from services.aggregator.progress import Progress
from services.aggregator.score_check import check_scores
from services.aggregator.vectors import Vectors


class Recomputation:
    """One run, followed beside its progress. `check` an entry first, then let the progress apply it."""

    def __init__(
        self,
        progress: Progress,
        vectors: Vectors,
        signing_keys: dict[str, bytes],
        federation_id: bytes,
        former: Sequence[Progress] = (),
    ) -> None:
        """`signing_keys` by seat, in the order of enrolment, grow with the journal; `former` are the runs before."""
        self._former = former
        self._signing_keys = signing_keys
        self._federation_id = federation_id
        self.progress = progress
        self.depth: Depth | None = None
        self.named: set[Path] = set()
        self._vectors = vectors
        self._vector: Vector | None = None
        self._velocity: NDArray[np.float64] | None = None
        self._state: RunState | None = None

    def check_start(self, started: history_pb2.RunStarted) -> set[Path]:
        """A run that begins under a former run's state names an initial model; the files that it names."""
        known = [run for run in self._former if run.manifest == self.progress.manifest]
        if started.counters_sha256 and started.counters_sha256 not in {run.counters_sha256 for run in known}:
            raise Invalid(f"counters must be those of a former run, {started.counters_sha256.hex()[:12]} are not")
        if not started.HasField("run_state"):
            return set()
        recipe, state = self.progress.recipe, self.progress.run_state
        if state not in [averaging.rescaled(run.run_state, recipe) for run in known if run.run_state]:
            raise Invalid("a run state must come from a run's own sums, or be that of a former run, this one is not")
        path = self._vectors.model(started.model.vector_sha256)
        self._state, manifest = self.progress.run_state, self.progress.manifest
        self._vector = model.initial_vector(manifest, self.progress.seed)
        self._velocity = np.zeros(len(self._vector))
        data = _hashed("a run's initial model", path, started.model.vector_sha256)
        if data != model.to_bytes(self._vector) or self._state is None:
            raise Invalid(f"an initial model must be that of the run's seed, {path.name} is not")
        named = model.model_sha256(manifest, self._state, self._vector)
        _same("the hash of a run's initial model", named.hex(), started.model.model_sha256.hex())
        return {path}

    def check(self, entry: history_pb2.Entry) -> None:
        """Holds the entry to the run so far and to the files that it names; Invalid says what is wrong."""
        self.depth = None
        match entry.WhichOneof("event"):
            case "round_opened":
                self._opened(entry.round_opened)
            case "contribution_accepted":
                self._accepted(entry.contribution_accepted)
            case "round_committed":
                self._committed(entry.round_committed)
            case "round_void":
                self._ended(entry.round_void, "void")
            case "round_abandoned":
                self._ended(entry.round_abandoned, "abandoned")
            case "run_finished":
                present = self.progress.model.model_sha256 if self.progress.model else b""
                _same("a run's model", present.hex(), entry.run_finished.model_sha256.hex())

    def files_of(self, key: RoundKey) -> set[Path]:
        """What may lie on disk for a round that is still open."""
        by_hash = set(self._vectors.named_by_hash())  # one may be there that its commit has not named yet
        return {self._vectors.sum(key), self._vectors.velocity(key), *by_hash}

    @property
    def _key(self) -> RoundKey | None:
        return round_key_from_proto(self.progress.open.key) if self.progress.open else None

    def _step(self, step: int) -> str:
        count = self.progress.round_count
        return "preparing" if step == 0 else "final" if step > count else f"{step}/{count}"

    def _ended(self, end: history_pb2.RoundVoid | history_pb2.RoundAbandoned, outcome: str) -> None:
        self.depth = Depth(round_key_from_proto(end.key), self._step(end.step), outcome, len(end.seats))
        self.named = {self._vectors.sum(self.depth.key)}  # one that was opened and found out of its bounds
        if self.progress.open is not None:
            _same(f"a round that is {outcome}", self._key, self.depth.key)

    def _opened(self, opened: history_pb2.RoundOpened) -> None:
        if self.progress.open is not None:
            raise Invalid(f"a round must end before the next opens, {self._key} had not")
        _same("rounds, one after the other,", self.progress.last_round + 1, opened.key.round)
        model_sha256 = self.progress.model.model_sha256 if self.progress.model else b""
        _same("a round's model", model_sha256.hex(), opened.model_sha256.hex())
        if self.progress.secure:
            _same("the task that banks signed", self._task(opened).hex(), opened.task_sha256.hex())

    def _task(self, opened: history_pb2.RoundOpened) -> bytes:
        """What a round asks for beyond its attempt, by the run so far."""
        progress, present = self.progress, None
        if progress.model is not None and progress.run_state is not None:
            nothing = np.zeros(0, np.float32)
            present = averaging.Model(nothing, progress.run_state, progress.model)
        asked = messages.instruction(progress, messages.plan_of(opened, 0), present, None)
        state = present.run_state if present else None
        return task_sha256(asked, progress.manifest, progress.recipe, state)

    def _accepted(self, accepted: history_pb2.ContributionAccepted) -> None:
        _same("a contribution's round", self._key, round_key_from_proto(accepted.key))
        if self.progress.open is not None and accepted.seat not in self.progress.open.cohort:
            raise Invalid(f"a contribution must come from the cohort, {accepted.seat} is not in it")
        if accepted.seat in self.progress.accepted:
            raise Invalid(f"a seat must count once a round, {accepted.seat} counts twice in {self._key}")

    def _committed(self, committed: history_pb2.RoundCommitted) -> None:
        key = round_key_from_proto(committed.key)
        self.depth = Depth(key, self._step(committed.step), "committed", len(committed.seats))
        self.named = {self._vectors.sum(key), self._vectors.velocity(key)}
        counted = model_pb2.SEGMENT_KIND_COUNT in committed.segments
        self.named.add(
            self._vectors.counters(committed.sum_sha256)
            if counted
            else self._vectors.model(committed.model.vector_sha256)
        )
        _same("a committed round", self._key, key)
        _same("the seats of a sum", sorted(self.progress.accepted), list(committed.seats))
        faults = []
        for part in (self._check_sum, self._check_counters if counted else self._check_model):
            try:
                part(key, committed, self.depth)
            except (Invalid, OSError) as error:
                faults.append(str(error))
        if faults:
            raise Invalid("; ".join(faults))

    def _check_sum(self, key: RoundKey, committed: history_pb2.RoundCommitted, depth: Depth) -> None:
        depth.sum = "wrong"
        words = self._sum(key, committed)
        depth.sum, depth.contributions = "whole", "not kept"
        kept = {seat: self._vectors.contribution(key, seat) for seat in committed.seats}
        there = {seat: path for seat, path in kept.items() if path.exists()}
        try:
            layout = self._layout(committed)
            self._check_contributions(key, there, words, layout, depth, whole=len(there) == len(kept))
        except (Invalid, OSError):
            if all(path.exists() for path in there.values()):
                raise
            depth.contributions = "not kept"  # their retention ended while they were read

    def _check_contributions(
        self, key: RoundKey, there: dict[str, Path], words: Words, layout: Layout, depth: Depth, *, whole: bool
    ) -> None:
        """Holds what is kept to the receipts and, if that is `whole`, the sum to it."""
        if not there:
            return
        depth.contributions = f"{len(there)} kept"
        for seat, path in there.items():
            _hashed(f"the contribution of {seat} to {key}", path, self.progress.accepted[seat].vector_sha256)
        if whole:
            again = self._opened_again(there) if self.progress.secure else _added_again(there, Packing(layout))
            if not np.array_equal(again, words):
                raise Invalid(f"a sum must be that of its contributions, {key}'s is not")
            depth.contributions = "opened again" if self.progress.secure else "added again"
            depth.sum = "recomputed"

    def _opened_again(self, there: dict[str, Path]) -> Words:
        """The sum of masked contributions, from every bank's signed answers: each signature is checked again."""
        if self.progress.open is None:
            raise Invalid("a masked round must have been opened, this one was not")
        attempt = masking_journal.begun(
            self.progress.open,
            self.progress.manifest,
            self.progress.recipe,
            self._signing_keys,
            self._federation_id,
            self.progress.terms,
        )
        masking_journal.replay(
            attempt, self.progress.stage_events, lambda seat: fixed_point.from_bytes(there[seat].read_bytes())
        )
        return attempt.open()

    def _check_counters(self, key: RoundKey, committed: history_pb2.RoundCommitted, depth: Depth) -> None:
        """The counters of a run are the sum of its count round, under their own name."""
        depth.model = "wrong"
        _hashed(f"the counters of {key}", self._vectors.counters(committed.sum_sha256), committed.sum_sha256)
        depth.model = "counters"

    def _check_model(self, key: RoundKey, committed: history_pb2.RoundCommitted, depth: Depth) -> None:
        depth.model = "wrong"
        reference = committed.model
        data = _hashed(f"the model of {key}", self._vectors.model(reference.vector_sha256), reference.vector_sha256)
        vector = model.from_bytes(data, self.progress.manifest)
        if committed.HasField("run_state"):
            self._state = run_state_from_proto(committed.run_state, self.progress.manifest)
        if self._state is None:
            raise Invalid(f"a model must have a run state, {key}'s has none")
        named = model.model_sha256(self.progress.manifest, self._state, vector)
        _same(f"the hash of {key}'s model", named.hex(), reference.model_sha256.hex())
        depth.model = "whole"
        try:
            depth.model = self._recomputed(key, committed, vector)
        finally:
            self._vector = vector

    def _recomputed(self, key: RoundKey, committed: history_pb2.RoundCommitted, vector: Vector) -> str:
        """In words, what the model was computed again from; Invalid when something else comes out."""
        layout, words = self._layout(committed), self._sum(key, committed)
        segments = tuple(layout.codecs)
        if Segment.EVALUATE in segments:
            check_scores(key, committed, layout, words, self.progress.terms)
        if Segment.STANDARDISE in segments:
            opened = standardise_codec(self.progress.manifest).decode(layout.part(words, segments[0]))
            _same(
                f"{key}'s run state",
                averaging.run_state(opened, self.progress.recipe, self.progress.counters_sha256),
                self._state,
            )
            expected = model.initial_vector(self.progress.manifest, self.progress.seed)
            self._velocity = np.zeros(len(expected))
            return _equal(key, expected, vector, "from sum, seed")
        if Segment.TRAIN not in segments:
            return _equal(key, self._vector, vector, "unchanged")
        return self._trained(key, committed, layout.part(words, Segment.TRAIN), vector)

    def _trained(self, key: RoundKey, committed: history_pb2.RoundCommitted, part: Words, vector: Vector) -> str:
        if self._vector is None or self._velocity is None:
            return "whole"  # what it was made from is at fault, and named
        codec, recipe = train_codec(self.progress.manifest, self.progress.recipe), self.progress.recipe
        opened = codec.decode(part)
        expected, self._velocity = averaging.server_step(self._vector, self._velocity, opened.average, recipe.momentum)
        if committed.velocity_sha256:
            _hashed(f"the momentum after {key}", self._vectors.velocity(key), committed.velocity_sha256)
            momentum = hashlib.sha256(self._velocity.astype("<f8").tobytes()).digest()
            _same(f"the momentum after {key}", momentum.hex(), committed.velocity_sha256.hex())
        return _equal(key, expected, vector, "from sum")

    def _layout(self, committed: history_pb2.RoundCommitted) -> Layout:
        segments = segments_from_proto(list(committed.segments))
        return Layout(segments, self.progress.manifest, self.progress.recipe, self.progress.terms)

    def _sum(self, key: RoundKey, committed: history_pb2.RoundCommitted) -> Words:
        return fixed_point.from_bytes(_hashed(f"the sum of {key}", self._vectors.sum(key), committed.sum_sha256))


def _added_again(there: dict[str, Path], packing: Packing) -> Words:
    return averaging.exact_sum((packing.unpack(path.read_bytes()) for path in there.values()), packing.word_count)


def _hashed(what: str, path: Path, sha256: bytes) -> bytes:
    """The file's bytes, if they have this hash."""
    if not path.exists():
        raise Invalid(f"{what} must be on disk, {path.name} is missing")
    data = path.read_bytes()
    found = hashlib.sha256(data).digest()
    if found != sha256:
        raise Invalid(f"{what} must have the hash {sha256.hex()[:12]}, {path.name} has {found.hex()[:12]}")
    return data


def _same(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise Invalid(f"{what} must be {str(expected)[:80] or 'none'}, got {str(got)[:80] or 'none'}")


def _equal(key: RoundKey, expected: Vector | None, vector: Vector, how: str) -> str:
    if expected is None:
        return "whole"
    if not np.array_equal(expected, vector):
        raise Invalid(f"a model must be what its sum makes of the former one, {key}'s differs")
    return how
