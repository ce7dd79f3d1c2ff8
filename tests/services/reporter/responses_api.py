"""An HTTP server of the tests' own on loopback that speaks the Responses API and chat completions, as it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "gpt-5.2-2026-01-01"
SECTIONS = {
    "executive_summary": ["summary.losing", "summary.mean", "summary.chance"],
    "metric_interpretation": ["metrics.precision", "metrics.loss"],
    "risks": ["risks.no_noise", "risks.losing", "risks.visible"],
    "next_steps": ["steps.losing", "steps.beside"],
}
"""A sound answer on `journals.two_banks`."""


@dataclass
class Answer:
    """What the server answers; `hang` makes it wait until the server is closed instead, `drip` sends a byte a time."""

    status: int = 200
    body: bytes = b"{}"
    hang: bool = False
    drip: float = 0.0
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass
class Api:
    """The running server: its address, what it was asked, and what it answers, the last answer again and again."""

    url: str
    answers: list[Answer]
    asked: list[dict[str, Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)


def sections(**changes: list[str]) -> dict[str, list[str]]:
    """The honest sections with some of them changed."""
    return {**SECTIONS, **changes}


def response(content: dict[str, Any] | None = None, **changes: Any) -> Answer:  # noqa: ANN401  # any field
    """A completed response with one content part: the four sections, unless told otherwise."""
    part = content or {"type": "output_text", "text": json.dumps(SECTIONS), "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    body = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": MODEL,
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": {"input_tokens": 3000, "output_tokens": 500, "total_tokens": 3500, **details},
        **changes,
    }
    return Answer(body=json.dumps(body).encode())


def text(content: str) -> Answer:
    """A completed response with this text."""
    return response({"type": "output_text", "text": content, "annotations": []})


def saying(**changes: list[str]) -> Answer:
    """A completed response with the honest sections, some of them changed."""
    return text(json.dumps(sections(**changes)))


def chat(content: str | None = None, finish: str = "stop", **message: Any) -> Answer:  # noqa: ANN401  # any field
    """A chat completion with this text: the four sections, unless told otherwise."""
    said = {"role": "assistant", "content": json.dumps(SECTIONS) if content is None else content, **message}
    body = {
        "id": "chat_1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "finish_reason": finish, "message": said}],
        "usage": {"prompt_tokens": 3000, "completion_tokens": 500, "total_tokens": 3500},
    }
    return Answer(body=json.dumps(body).encode())


@contextmanager
def serving(*answers: Answer) -> Iterator[Api]:
    """Serves on a free port of loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with turn:
                answer = api.answers[min(len(api.asked), len(api.answers) - 1)]
                api.asked.append({"path": self.path, "authorization": self.headers["Authorization"], **body})
            if answer.hang:
                api.closing.wait(30)
                return
            self.send_response(answer.status)
            for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if not answer.drip:
                self.wfile.write(answer.body)
                return
            deadline = time.monotonic() + 30
            for byte in answer.body:
                if api.closing.wait(answer.drip) or time.monotonic() > deadline:
                    return
                try:
                    self.wfile.write(bytes([byte]))
                except OSError:
                    return

        def log_message(self, format: str, *values: object) -> None:  # quiet; the base's name
            pass

    turn = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = Api(f"http://127.0.0.1:{server.server_port}/v1", list(answers))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield api
    finally:
        api.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
