"""`serve-scores`: ScoringService on the bank's own Unix socket, beside its participant or without it.

It reads the bank's volume and writes nothing there but its socket and the socket's lock, so that it scores while the
participant is away.
"""

import asyncio
import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from fedfraud.channel import bind_scoring, scoring_server
from fedfraud.errors import FedfraudError, Misconfigured
from fedfraud.logs import Log
from fedfraud.v1 import scoring_pb2, scoring_pb2_grpc
from services.bank_client.kept_model import FILE
from services.bank_client.score_desk import ScoreDesk
from services.bank_client.settings import Settings

_LOOK_SECONDS = 2.0
"""How often it looks whether a later run left another model."""
_LONGEST_SENTENCE = 500

_log = Log("score")
Context = grpc.aio.ServicerContext[Any, Any]


class ScoringServicer(scoring_pb2_grpc.ScoringServiceServicer):
    """See scoring.proto."""

    def __init__(self, desk: ScoreDesk) -> None:
        self._desk = desk

    async def Score(  # the name is the proto's
        self, request: scoring_pb2.ScoreRequest, context: Context
    ) -> scoring_pb2.ScoreResponse:
        """See scoring.proto. Requests are answered one after another: each sees the payments before it."""
        try:
            return self._desk.score(request)
        except FedfraudError as error:  # the only rpc of its server: there is no interceptor
            await context.abort(error.status, str(error)[:_LONGEST_SENTENCE])
            raise


async def serve_scores(settings: Settings, stop: asyncio.Event) -> int:
    """Serves until `stop`; a model that a later run leaves takes the place of this one. The exit status is 0."""
    socket = settings.data_dir / settings.score_socket
    seen = _version(settings.data_dir)
    desk = await asyncio.to_thread(ScoreDesk, settings)
    server = scoring_server()
    scoring_pb2_grpc.add_ScoringServiceServicer_to_server(ScoringServicer(desk), server)
    with _alone(socket):
        bind_scoring(server, socket)
        await server.start()
        _log.info("scores are served", socket=socket, **desk.about)
        try:
            await _follow(settings.data_dir, desk, seen, stop)
        finally:
            await server.stop(grace=1.0)
            socket.unlink(missing_ok=True)
    return 0


async def _follow(folder: Path, desk: ScoreDesk, seen: tuple[int, int], stop: asyncio.Event) -> None:
    """Looks for another kept model until `stop`. One that cannot be used is said once; the former one goes on."""
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_SECONDS):
                await stop.wait()
        if (version := _version(folder)) == seen:
            continue
        seen = version
        try:
            desk.take(await asyncio.to_thread(desk.read))
        except FedfraudError as error:
            _log.warning("the model that is kept now does not score, the former one goes on", reason=error)
        else:
            _log.info("scores are of another model now", **desk.about)


def _version(folder: Path) -> tuple[int, int]:
    """Another one whenever the kept model is written; (0, 0) without one."""
    try:
        status = (folder / FILE).stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


@contextlib.contextmanager
def _alone(socket: Path) -> Iterator[None]:
    """The socket's lock, while it is served: a second service would take it from the first."""
    socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.with_name(f"{socket.name}.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Misconfigured(f"a scoring socket must be of one process alone: {error.strerror}, {socket}") from error
        yield
