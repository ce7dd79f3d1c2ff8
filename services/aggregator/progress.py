"""A run as the journal tells it: what is committed, which round is open and who has answered it.

State only changes by `apply`, so a restart that applies the journal again stands where the former process stood.
"""

from dataclasses import dataclass, field

from fedfraud.manifest import Manifest
from fedfraud.masking_journal import StageEvent
from fedfraud.model import RunState
from fedfraud.recipe import Recipe
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_wire import terms_from_proto
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import (
    RoundKey,
    manifest_from_proto,
    recipe_from_proto,
    round_key_from_proto,
    run_state_from_proto,
)


@dataclass(frozen=True)
class Accepted:
    """A contribution that counts: its SHA-256, and the journal entry that says so."""

    vector_sha256: bytes
    sequence: int


@dataclass
class Progress:
    """One run, from its start to its end."""

    run_id: str
    seed: int
    recipe: Recipe
    manifest: Manifest
    round_count: int
    quorum: int
    expected_banks: int
    committed_count: int = 0
    """Committed training rounds."""
    last_round: int = 0
    """The number of the newest round; rounds count every kind from 1."""
    voids: int = 0
    """Void rounds in a row, up to now."""
    void_reason: str = ""
    model: model_pb2.ModelReference | None = None
    run_state: RunState | None = None
    counters_sha256: bytes = b""
    """Of the summed counters, once they are; empty in a run without counters."""
    velocity: tuple[RoundKey, bytes] | None = None
    """The round after which the server's momentum is stored, and its SHA-256; None while it is zero."""
    open: history_pb2.RoundOpened | None = None
    accepted: dict[str, Accepted] = field(default_factory=dict)
    """By seat, of the round that is open or else was last."""
    former: tuple[history_pb2.RoundOpened, dict[str, Accepted]] | None = None
    """The round that closed last, and who is in it: a bank may not have heard yet that it counts."""
    missed: set[str] = field(default_factory=set)
    """Seats that let their last deadline pass and were not heard of since."""
    trainers: set[str] = field(default_factory=set)
    """Seats whose updates are in the model."""
    scored: bool = False
    """Whether the final round is committed."""
    stopping: bool = False
    secure: bool = False
    """Whether contributions are masked."""
    terms: TradeTerms = USUAL_TERMS
    """What its figures of the trade are for."""
    retry: int = 0
    """Rounds in a row that may have been opened without a commit: their inputs are not sent again."""
    stage_events: list[StageEvent] = field(default_factory=list)
    """Of the open masked round, in order: what brings an attempt to where it stands."""
    ended: history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned | None = None
    """The newest round that is over, as the journal tells it."""
    finished: history_pb2.RunFinished | None = None

    @classmethod
    def begun(cls, started: history_pb2.RunStarted) -> "Progress":
        """A run of which nothing but its start is known."""
        progress = cls(
            started.run_id,
            started.seed,
            recipe_from_proto(started.recipe),
            manifest_from_proto(started.manifest),
            started.round_count,
            started.quorum,
            started.expected_bank_count,
            secure=started.aggregation == model_pb2.AGGREGATION_SECURE,
        )
        progress.counters_sha256, progress.terms = started.counters_sha256, terms_from_proto(started)
        if started.HasField("run_state"):
            progress.run_state = run_state_from_proto(started.run_state, progress.manifest)
            progress.model, progress.counters_sha256 = started.model, progress.run_state.counters_sha256
        return progress

    @property
    def next_key(self) -> RoundKey:
        """Names the round after the newest; void ones count too."""
        return RoundKey(self.run_id, self.last_round + 1, 1)

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one entry of the journal into account; those of other runs and kinds change nothing here."""
        match entry.WhichOneof("event"):
            case "lease_granted":
                self.missed.discard(entry.lease_granted.seat)
            case "contribution_refused":
                self.missed.discard(entry.contribution_refused.seat)
            case "run_stop_requested" if entry.run_stop_requested.run_id == self.run_id:
                self.stopping = True
            case "round_opened" if entry.round_opened.key.run_id == self.run_id:
                self.open, self.accepted, self.stage_events = entry.round_opened, {}, []
                self.last_round = entry.round_opened.key.round
            case "contribution_accepted" if entry.contribution_accepted.key.run_id == self.run_id:
                accepted = entry.contribution_accepted
                self.accepted[accepted.seat] = Accepted(accepted.vector_sha256, entry.sequence)
                self.stage_events.append(accepted)
            case "stage_answered" if entry.stage_answered.key.run_id == self.run_id:
                self.stage_events.append(entry.stage_answered)
            case "stage_closed" if entry.stage_closed.key.run_id == self.run_id:
                self.stage_events.append(entry.stage_closed)
            case "round_committed" if entry.round_committed.key.run_id == self.run_id:
                self._committed(entry.round_committed)
            case "round_void" if entry.round_void.key.run_id == self.run_id:
                self.voids, self.void_reason = self.voids + 1, entry.round_void.reason
                self._closed(entry.round_void)
            case "round_abandoned" if entry.round_abandoned.key.run_id == self.run_id:
                self.voids, self.void_reason = self.voids + 1, entry.round_abandoned.reason
                self.retry += 1
                self._closed(entry.round_abandoned)
            case "run_finished" if entry.run_finished.run_id == self.run_id:
                self.finished = entry.run_finished

    def _committed(self, committed: history_pb2.RoundCommitted) -> None:
        self.voids, self.void_reason, self.retry = 0, "", 0
        if model_pb2.SEGMENT_KIND_COUNT in committed.segments:
            self.counters_sha256 = committed.sum_sha256
        else:
            self.model = committed.model
        if committed.HasField("run_state"):
            self.run_state = run_state_from_proto(committed.run_state, self.manifest)
        if model_pb2.SEGMENT_KIND_TRAIN in committed.segments:
            self.committed_count = committed.step
            self.trainers |= set(committed.seats)
        if committed.velocity_sha256:
            self.velocity = round_key_from_proto(committed.key), committed.velocity_sha256
        self.scored = self.open is not None and self.open.final
        self._closed(committed)

    def _closed(self, ended: history_pb2.RoundCommitted | history_pb2.RoundVoid | history_pb2.RoundAbandoned) -> None:
        if self.open is not None:
            self.missed |= set(self.open.cohort) - self.accepted.keys()
            self.former = self.open, self.accepted
        self.open, self.last_round, self.stage_events, self.ended = None, ended.key.round, [], ended


class FormerSums:
    """What the preparing rounds of all runs came to. Further runs use it again: its sums are opened once."""

    def __init__(self) -> None:
        self._state: tuple[Manifest, RunState] | None = None
        self._counters: tuple[Manifest, bytes] | None = None

    def take(self, run: Progress) -> None:
        """After an entry of the newest run."""
        if run.counters_sha256:
            self._counters = run.manifest, run.counters_sha256
        if run.run_state is not None:
            self._state = run.manifest, run.run_state

    def state_of(self, manifest: Manifest) -> RunState | None:
        """The newest run state under this manifest."""
        return self._state[1] if self._state and self._state[0] == manifest else None

    def counters_of(self, manifest: Manifest) -> bytes:
        """The hash of the newest counters under this manifest; empty if there are none."""
        return self._counters[1] if self._counters and self._counters[0] == manifest else b""
