"""The journal as OpenTelemetry traces, by setting: a trace a run, in it a span a round, in that stages and messages.

Spans follow from journal entries alone and begin and end at their times: nothing that a bank sent is in them but its
seat, sizes and how long it took. A run's ids follow from its name, so that a restart goes on in the same trace.
"""

from dataclasses import dataclass, field
from hashlib import sha256

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, StatusCode, TraceFlags, set_span_in_context

from fedfraud.masking_journal import STAGES
from fedfraud.v1 import history_pb2
from fedfraud.wire import segments_from_proto
from services.aggregator.conductor import OUTCOMES

_EXPORT_SECONDS = 5.0
_NAMES = {told: stage.name.lower() for stage, told in STAGES.items()}
Attributes = dict[str, str | int | float]


@dataclass
class _Round:
    """What was heard of the open round; times in nanoseconds since 1970."""

    opened: history_pb2.RoundOpened
    began: int
    since: int
    stages: list[tuple[str, int, int]] = field(default_factory=list)
    contributions: list[tuple[history_pb2.ContributionAccepted, int]] = field(default_factory=list)
    refusals: list[tuple[history_pb2.ContributionRefused, int]] = field(default_factory=list)


class _Ids(RandomIdGenerator):
    """Random ids, but for the next span when it is a run's."""

    def __init__(self) -> None:
        self.run: SpanContext | None = None

    def generate_trace_id(self) -> int:
        return self.run.trace_id if self.run else super().generate_trace_id()

    def generate_span_id(self) -> int:
        run, self.run = self.run, None
        return run.span_id if run else super().generate_span_id()


class Traces:
    """A fold of the journal: `apply` each entry once, in order; what ends after `begin` is exported."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._ids = _Ids()
        self._provider = TracerProvider(
            id_generator=self._ids,
            resource=Resource.create({"service.name": "fedfraud-aggregator"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("fedfraud")
        self._live = False
        self._run = 0
        self._round: _Round | None = None

    def begin(self) -> None:
        """The past is over: what a former process has told is not told again."""
        self._live = True

    def close(self) -> None:
        """Exports what is left; a receiver that does not answer costs seconds, not more."""
        self._provider.shutdown()

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one entry into account."""
        now = entry.time.ToNanoseconds()
        match entry.WhichOneof("event"):
            case "run_started":
                self._run = now
            case "round_opened":
                self._round = _Round(entry.round_opened, now, now)
            case "stage_closed" if self._round:
                self._round.stages.append((_NAMES[entry.stage_closed.stage], self._round.since, now))
                self._round.since = now
            case "contribution_accepted" if self._round:
                self._round.contributions.append((entry.contribution_accepted, now))
            case "contribution_refused" if self._round:
                self._round.refusals.append((entry.contribution_refused, now))
            case "round_committed":
                self._round_over("committed", len(entry.round_committed.seats), now)
            case "round_void":
                self._round_over("void", len(entry.round_void.seats), now)
            case "round_abandoned":
                self._round_over("abandoned", len(entry.round_abandoned.seats), now)
            case "run_finished":
                self._run_over(entry.run_finished, now)

    def _run_over(self, finished: history_pb2.RunFinished, now: int) -> None:
        if not self._live:
            return
        outcome = OUTCOMES.get(finished.outcome, "failed")
        self._ids.run = _context(finished.run_id)
        told: Attributes = {"fedfraud.run": finished.run_id, "fedfraud.outcome": outcome}
        span = self._tracer.start_span("run", Context(), start_time=self._run or now, attributes=told)
        if outcome == "failed":
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)

    def _round_over(self, outcome: str, banks: int, now: int) -> None:
        done, self._round = self._round, None
        if done is None or not self._live:
            return
        key = done.opened.key
        told: Attributes = {
            "fedfraud.run": key.run_id,
            "fedfraud.round": key.round,
            "fedfraud.attempt": key.attempt,
            "fedfraud.segments": ",".join(one.value for one in segments_from_proto(list(done.opened.segments))),
            "fedfraud.cohort": len(done.opened.cohort),
            "fedfraud.banks": banks,
            "fedfraud.outcome": outcome,
        }
        parent = set_span_in_context(NonRecordingSpan(_context(key.run_id)), Context())
        span = self._tracer.start_span("round", parent, start_time=done.began, attributes=told)
        inside = set_span_in_context(span, Context())
        masked = done.opened.roster_size > 0
        for stage, since, until in [*done.stages, ("unmask", done.since, now)] if masked else []:
            self._tracer.start_span(f"stage {stage}", inside, start_time=since).end(until)
        for accepted, when in done.contributions:
            given: Attributes = {"fedfraud.seat": accepted.seat, "fedfraud.bytes": accepted.size_bytes}
            self._tracer.start_span("contribution", inside, start_time=done.began, attributes=given).end(when)
        for refused, when in done.refusals:
            span.add_event("refused", {"fedfraud.seat": refused.seat, "fedfraud.status": refused.status}, when)
        if outcome != "committed":
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)


def traces_to(endpoint: str) -> Traces:
    """Traces that go to this address over OTLP/HTTP."""
    return Traces(OTLPSpanExporter(endpoint, timeout=_EXPORT_SECONDS))


def _context(run_id: str) -> SpanContext:
    digest = sha256(run_id.encode()).digest()
    trace, span = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
    return SpanContext(trace, span, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
