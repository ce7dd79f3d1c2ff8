"""An HTTP server of the tests' own that speaks the Responses API on loopback and answers as it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECTIONS = {
    "executive_summary": "It ranks fraud well.",
    "metric_interpretation": "Read it beside the prevalence.",
    "risks": "One bank loses.",
    "next_steps": "- Repeat the run.",
}


@dataclass
class Answer:
    """What the server answers; `hang` makes it wait until the server is closed instead."""

    status: int = 200
    body: bytes = b"{}"
    hang: bool = False
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass
class Api:
    """The running server: its address, what it was asked, and what it answers."""

    url: str
    answer: Answer
    asked: list[dict[str, Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


def response(content: dict[str, Any] | None = None, **changes: Any) -> Answer:  # noqa: ANN401  any field
    """A completed response with one content part: the four sections, unless told otherwise."""
    part = content or {"type": "output_text", "text": json.dumps(SECTIONS), "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": "gpt-5.2-2026-01-01",
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        **changes,
    }
    return Answer(body=json.dumps(body).encode())


def text(content: str) -> Answer:
    """A completed response with this text."""
    return response({"type": "output_text", "text": content, "annotations": []})


@contextmanager
def serving(answer: Answer) -> Iterator[Api]:
    """Serves on a free port of loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api.asked.append({"path": self.path, "authorization": self.headers["Authorization"], **body})
            if api.answer.hang:
                api.closing.wait(30)
                return
            self.send_response(api.answer.status)
            for name, value in {**api.answer.headers, "Content-Length": str(len(api.answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(api.answer.body)

        def log_message(self, format: str, *values: object) -> None:  # quiet; the base's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = Api(f"http://127.0.0.1:{server.server_port}/v1", answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
