"""What Prometheus reads of the aggregator, by setting: counters that follow the journal, gauges of how it stands now.

Counters are a fold of the journal like everything else, so they are right after a restart. No label has a value that a
caller chooses, and none names a seat.
"""

import platform
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import grpc
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from fedfraud.masking_sum import Stage
from fedfraud.v1 import history_pb2, operation_pb2
from fedfraud.wire import PROTOCOL_VERSION
from services.aggregator.conductor import OUTCOMES
from services.aggregator.journal_file import SCHEMA_VERSION
from services.aggregator.status import Network

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_STAGES = [stage.name.lower() for stage in Stage]
_STATES = {
    operation_pb2.SEAT_STATE_PRESENT: "present",
    operation_pb2.SEAT_STATE_ABSENT: "absent",
    operation_pb2.SEAT_STATE_LAPSED: "lapsed",
    operation_pb2.SEAT_STATE_REVOKED: "revoked",
}


class Tally:
    """Counters of what the journal tells: `apply` each entry once, in order."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a counter began with its journal, not with this process
        self._runs = Counter("fedfraud_runs", "Runs that are over.", ["outcome"], registry=registry)
        self._rounds = Counter("fedfraud_rounds", "Rounds that are over.", ["outcome"], registry=registry)
        self._round_seconds = Histogram(
            "fedfraud_round_seconds",
            "From a round's opening, or from the restart after which it was taken up, to its end.",
            ["outcome"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_seconds = Histogram(
            "fedfraud_stage_seconds",
            "A masked round's stages by the wall clock of their journal entries; unmask lasts until the round's end.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._contributions = Counter(
            "fedfraud_contributions",
            "Contributions accepted, and what was refused of contributions and stage answers, by gRPC status: as "
            "journalled, of one seat at most 20 refusals a round.",
            ["result", "status"],
            registry=registry,
        )
        self._bytes = Counter("fedfraud_contribution_bytes", "Bytes of accepted contributions.", registry=registry)
        self._stage = Stage.ADVERTISE
        self._since: datetime | None = None
        for outcome in OUTCOMES.values():
            self._runs.labels(outcome)
        for outcome in ("committed", "void", "abandoned"):
            self._rounds.labels(outcome)
            self._round_seconds.labels(outcome)
        for stage in _STAGES:
            self._stage_seconds.labels(stage)
        self._contributions.labels("accepted", "OK")

    def apply(self, entry: history_pb2.Entry) -> None:
        """Takes one entry into account."""
        match entry.WhichOneof("event"):
            case "round_opened":
                masked = entry.round_opened.roster_size > 0
                self._stage, self._since = Stage.ADVERTISE, entry.time.ToDatetime(UTC) if masked else None
            case "stage_closed":
                self._stage_over(entry)
                self._stage = Stage(min(self._stage + 1, Stage.UNMASK))
            case "contribution_accepted":
                self._contributions.labels("accepted", "OK").inc()
                self._bytes.inc(max(entry.contribution_accepted.size_bytes, 0))
            case "contribution_refused":
                self._contributions.labels("refused", entry.contribution_refused.status).inc()
            case "round_committed":
                self._stage_over(entry)
                self._round_over("committed", entry.round_committed.seconds)
            case "round_void":
                self._round_over("void", entry.round_void.seconds)
            case "round_abandoned":
                self._round_over("abandoned", entry.round_abandoned.seconds)
            case "run_finished":
                self._runs.labels(OUTCOMES.get(entry.run_finished.outcome, "failed")).inc()

    def _stage_over(self, entry: history_pb2.Entry) -> None:
        if self._since is None:
            return
        now = entry.time.ToDatetime(UTC)
        # A wall clock may be put back: a stage does not last less than nothing.
        self._stage_seconds.labels(self._stage.name.lower()).observe(max((now - self._since).total_seconds(), 0.0))
        self._since = now

    def _round_over(self, outcome: str, seconds: float) -> None:
        self._rounds.labels(outcome).inc()
        self._round_seconds.labels(outcome).observe(seconds)
        self._since = None


class Present(Collector):
    """How the network stands at the moment of a scrape; read from another thread, so nothing is held on to."""

    def __init__(self, network: Network, data_dir: Path) -> None:
        self._network = network
        self._data_dir = data_dir

    def collect(self) -> Iterable[Metric]:
        """The gauges."""
        network, banks = self._network, self._network.banks()
        states = GaugeMetricFamily("fedfraud_banks", "Seats by state.", labels=["state"])
        for state, name in _STATES.items():
            states.add_metric([name], banks[state])
        yield states
        run, waiting = network.conductor.run, network.open_round
        awaited = len(waiting.awaited) if waiting else 0
        waited = waiting.waited if waiting and awaited else 0.0
        for name, text, value in (
            ("run_open", "1 while a run is going on.", run is not None),
            ("run_committed_rounds", "Training rounds of the open run.", run.progress.committed_count if run else 0),
            ("awaited_banks", "Banks that the open round, or its stage, waits for.", awaited),
            ("awaited_seconds", "For how long; 0 while nobody is waited for.", waited),
            ("silent_banks", "Banks that are left out until they speak.", len(network.participants.silent)),
            ("journal_entries", "Entries of the journal.", network.journal.tail[0]),
            ("epoch", "How often an aggregator began to serve on this journal.", network.conductor.epoch),
            ("serving", "0 while the disk does not take what must be durable.", not network.writer.failure),
            ("disk_free_bytes", "Of the data folder's file system.", shutil.disk_usage(self._data_dir).free),
        ):
            yield GaugeMetricFamily(f"fedfraud_{name}", text, float(value))
        yield InfoMetricFamily("fedfraud_build", "What runs here.", build())


def build() -> dict[str, str]:
    """The versions that matter when two sides disagree."""
    try:
        own = version("fedfraud")
    except PackageNotFoundError:
        own = "unknown"
    return {
        "version": own,
        "protocol": str(PROTOCOL_VERSION),
        "python": platform.python_version(),
        "grpc": grpc.__version__,
        "journal_schema": str(SCHEMA_VERSION),
    }


def registry_of(network: Network, data_dir: Path) -> tuple[CollectorRegistry, Tally]:
    """All that is told of the aggregator, its process included; the tally is yet to follow the journal."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(Present(network, data_dir))
    return registry, Tally(registry)
