"""The aggregator's traces, received over OTLP/HTTP by a server of the test's own from a running network."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.federation.networks import FINISHED, Network, network
from tests.federation.waiting import wait_for

STAGES = ["advertise", "share", "mask", "consent", "unmask"]
KNOWN = {
    *("fedfraud.run", "fedfraud.round", "fedfraud.attempt", "fedfraud.segments", "fedfraud.cohort", "fedfraud.banks"),
    *("fedfraud.outcome", "fedfraud.seat", "fedfraud.bytes"),
}
"""All that a span may say; `fedfraud.status` stands in a refusal."""


@contextmanager
def receiver() -> Iterator[tuple[str, list[Span]]]:
    """Its address, and the spans that came."""
    spans: list[Span] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class's name
            data = self.rfile.read(int(self.headers["Content-Length"]))
            request = ExportTraceServiceRequest.FromString(data)
            spans.extend(span for of in request.resource_spans for scope in of.scope_spans for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # the base class's name
            """Not heard."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def said(span: Span) -> dict[str, object]:
    """The attributes of a span."""
    return {one.key: one.value.string_value or one.value.int_value for one in span.attributes}


def stop_and_wait(present: Network, spans: list[Span], runs: int) -> None:
    """An aggregator that stops sends what it has left."""
    present.processes["aggregator"].terminate()
    wait_for(lambda: len([span for span in spans if span.name == "run"]) >= runs, f"{runs} runs are received")


def test_a_run_is_one_trace_of_rounds_stages_and_contributions_and_says_nothing_else(tmp_path: Path) -> None:
    with (
        receiver() as (endpoint, spans),
        network(tmp_path, aggregation="secure", expected_banks=4, rounds=1, traces_endpoint=endpoint) as present,
    ):
        for number in range(1, 5):
            present.give_rows(number, 300)
        present.start_aggregator()
        present.start_banks(1, 2, 3, 4)
        first = present.start_run()
        assert present.run_ended(first).outcome == FINISHED
        present.kill_aggregator()  # the first run may be told or not; it is not told again
        present.start_aggregator()
        second = present.start_run()
        assert present.run_ended(second).outcome == FINISHED
        stop_and_wait(present, spans, 1)
    of_second = [span for span in spans if said(span).get("fedfraud.run") == second]
    (run,) = [span for span in of_second if span.name == "run"]
    rounds = [span for span in of_second if span.name == "round"]
    assert {span.trace_id for span in of_second} == {run.trace_id}
    assert {span.parent_span_id for span in rounds} == {run.span_id}
    assert all(run.start_time_unix_nano <= one.start_time_unix_nano < one.end_time_unix_nano for one in rounds)
    assert [said(one)["fedfraud.segments"] for one in rounds] == ["evaluate,train", "evaluate"]
    for one in rounds:
        inside = [span for span in spans if span.parent_span_id == one.span_id]
        assert [span.name for span in inside if span.name.startswith("stage ")] == [f"stage {s}" for s in STAGES]
        given = [said(span) for span in inside if span.name == "contribution"]
        assert sorted(str(each["fedfraud.seat"]) for each in given) == [f"bank-{n:02d}" for n in range(1, 5)]
        assert all(isinstance(each["fedfraud.bytes"], int) and each["fedfraud.bytes"] > 0 for each in given)
    assert {name for span in spans for name in said(span)} <= KNOWN


def test_a_receiver_that_is_not_there_costs_no_round(tmp_path: Path) -> None:
    settings = {"expected_banks": 1, "quorum": 1, "rounds": 2, "traces_endpoint": "http://127.0.0.1:9/v1/traces"}
    with network(tmp_path, **settings) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        present.start_banks(1)
        assert present.run_ended(present.start_run()).outcome == FINISHED
