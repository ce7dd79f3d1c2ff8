"""The page over HTTP: routes, and what guards them. Reads only; nothing is loaded from elsewhere."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedfraud.errors import Invalid
from services.reporter import desk
from services.reporter.exposition import CONTENT_TYPE, Counts
from services.reporter.page import view
from services.reporter.page.archive import REPORTS, beside
from services.reporter.page.feed import Feed

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page may load what this server has and nothing else, and runs no script or style that stands in a document."""
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; sandbox"
)
"""A report is one file with its style in it; it runs nothing."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_TYPES = {".json": "application/json", ".md": "text/plain", ".html": "text/html"}
MOST_STREAMS = 32
"""Browsers that may follow at once."""


def application(feed: Feed, reports: Path, hosts: frozenset[str], counts: Counts | None = None) -> Starlette:
    """The page's application; `hosts` are the names in a Host header that it answers to, whatever the port."""
    pages = _Pages(feed, reports, counts or Counts())
    return Starlette(
        routes=[
            Route("/", pages.live),
            Route("/events", pages.events),
            Route("/facts.json", pages.facts),
            Route("/metrics", pages.metrics),
            Route("/runs/{run_id}", pages.run),
            Route("/runs/{run_id}/{name}", pages.file),
            Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
        ],
        middleware=[Middleware(_Guard, hosts=hosts)],
        exception_handlers={HTTPException: _problem},
    )


class _Pages:
    def __init__(self, feed: Feed, reports: Path, counts: Counts) -> None:
        self._feed = feed
        self._counts = counts
        self._reports = reports
        self._streams = 0

    async def live(self, request: Request) -> Response:
        sections = self._feed.sections()
        return HTMLResponse(view.page(sections, self._feed.version))

    async def events(self, request: Request) -> Response:
        if self._streams >= MOST_STREAMS:
            raise HTTPException(503, f"at most {MOST_STREAMS} browsers may follow at once")
        seen = request.headers.get("last-event-id") or request.query_params.get("seen", "")
        return StreamingResponse(self._stream(seen), media_type="text/event-stream")

    async def _stream(self, seen: str) -> AsyncIterator[str]:
        self._streams += 1
        self._counts.streams.set(self._streams)
        try:
            async for version, changed in self._feed.updates(seen):
                yield f"id: {version}\ndata: {json.dumps(changed)}\n\n" if changed else ": alive\n\n"
        finally:
            self._streams -= 1
            self._counts.streams.set(self._streams)

    async def facts(self, request: Request) -> Response:
        run = self._feed.shown().run
        if run is None:
            return JSONResponse({"detail": "there is no run yet"}, 404)
        return Response(run.to_json(), media_type="application/json")

    async def metrics(self, request: Request) -> Response:
        return Response(self._counts.exposition(), media_type=CONTENT_TYPE)

    async def run(self, request: Request) -> Response:
        run = desk.read_run(self._folder(request))
        if run is None:
            raise HTTPException(404, "There is no such run in the reports folder.")
        shown = view.Shown(connected=True, run=run, live=False, beside=beside(self._reports, run.run.id))
        return HTMLResponse(view.page(view.sections(shown), ""))

    async def file(self, request: Request) -> Response:
        name, folder = request.path_params["name"], self._folder(request)
        path = folder / name
        if name not in REPORTS or not path.is_file():
            raise HTTPException(404, "There is no such file of this run.")
        policy = REPORT_POLICY if name.endswith(".html") else POLICY
        return FileResponse(path, media_type=_TYPES[path.suffix], headers={"content-security-policy": policy})

    def _folder(self, request: Request) -> Path:
        try:
            return desk.run_folder(self._reports, request.path_params["run_id"])
        except Invalid as error:
            raise HTTPException(404, "There is no such run in the reports folder.") from error


async def _problem(request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    title = "Not found" if status == 404 else "Not possible"
    return HTMLResponse(view.problem(title, detail), status)


class _Guard:
    """Answers to its own names alone, so that no other site's name can be pointed here (DNS rebinding); reads only."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or _name(hosts[0]) not in self._hosts:
            refusal = PlainTextResponse("This page answers to its own host names alone.\n", 421)
            await refusal(scope, receive, _with_headers(send))
        elif scope["method"] not in ("GET", "HEAD"):
            await PlainTextResponse("This page is read only.\n", 405)(scope, receive, _with_headers(send))
        else:
            await self._app(scope, receive, _with_headers(send))


def _name(host: str) -> str:
    """The host without its port, in lower case: `[::1]:8080` is `[::1]`."""
    name = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
