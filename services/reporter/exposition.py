"""What Prometheus reads of the reporter: what this process wrote and whom it serves. Its counters begin with it, as it
keeps no state."""

import platform

from prometheus_client import CollectorRegistry, Counter, Gauge, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fedfraud.build import build

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


class Counts:
    """The reporter's counters and gauges; no label has a value from elsewhere."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.reports = Counter(
            "fedfraud_reports_written", "Runs whose facts and report were written.", registry=registry
        )
        self.narratives = Counter(
            "fedfraud_narratives",
            "Narratives: by a model, by the template for want of a key, by the template after a model failed.",
            ["result"],
            registry=registry,
        )
        self.connected = Gauge("fedfraud_journal_stream_up", "1 while the journal is followed.", registry=registry)
        self.streams = Gauge("fedfraud_page_streams", "Browsers that follow the page.", registry=registry)
        for result in ("model", "template", "failed"):
            self.narratives.labels(result)
        Info("fedfraud_build", "What runs here.", registry=registry).info(_build())

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format, see CONTENT_TYPE."""
        return generate_latest(self.registry)


def _build() -> dict[str, str]:
    return {"version": build().version, "commit": build().commit, "python": platform.python_version()}
