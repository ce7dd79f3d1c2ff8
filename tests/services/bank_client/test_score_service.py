"""Score over the bank's Unix socket: for its owner alone, one answer after another, across models and refusals."""

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from fedfraud.channel import scoring_channel
from fedfraud.errors import Misconfigured
from fedfraud.model import initial_vector
from fedfraud.v1 import scoring_pb2, scoring_pb2_grpc
from services.bank_client.kept_model import FILE, keep
from services.bank_client.score_desk import ScoreDesk
from services.bank_client.score_service import serve_scores
from services.bank_client.settings import Settings
from tests.federation.waiting import until
from tests.services.bank_client.scoring_banks import kept_of, payments_bank, settings
from tests.services.bank_client.test_score_desk import ALL, asked


@asynccontextmanager
async def served(own: Settings) -> AsyncIterator[Path]:
    """A service in this process, and its socket."""
    stop, socket = asyncio.Event(), own.data_dir / own.score_socket
    serving = asyncio.create_task(serve_scores(own, stop))
    try:
        await until(lambda: socket.exists() or serving.done(), "the socket")
        if serving.done():
            serving.result()
        yield socket
    finally:
        stop.set()
        if not serving.done():
            assert await serving == 0
    assert not socket.exists()


async def score(socket: Path, request: scoring_pb2.ScoreRequest) -> scoring_pb2.ScoreResponse:
    def call() -> scoring_pb2.ScoreResponse:
        with scoring_channel(socket) as channel:
            return scoring_pb2_grpc.ScoringServiceStub(channel).Score(request, timeout=30)

    return await asyncio.to_thread(call)


async def test_payments_are_scored_over_the_socket_and_nobody_but_its_owner_can_open_it(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    desk = ScoreDesk(settings(tmp_path))
    async with served(settings(tmp_path)) as socket:
        for row in range(1_800, 1_820):
            assert await score(socket, asked(row)) == desk.score(asked(row))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700


async def test_a_refusal_is_a_status_and_a_sentence(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    async with served(settings(tmp_path)) as socket:
        with pytest.raises(grpc.RpcError) as refused:
            await score(socket, asked(1_800, amount_cents=-1))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert refused.value.details() == "amount_cents must be 0 to 100000000000, got -1"
        with pytest.raises(grpc.RpcError) as refused:
            await score(socket, asked(1_800, transaction_id="x" * 100_000))
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await score(socket, asked(1_800))


async def test_a_later_model_takes_over_and_one_that_is_damaged_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = payments_bank(tmp_path, ALL, rows=1_800)
    caplog.set_level("INFO")
    async with served(settings(tmp_path)) as socket:
        assert (await score(socket, asked(1_800))).run_id == "run-1"
        (tmp_path / FILE).write_bytes(b"torn")
        await until(lambda: "the former one goes on" in caplog.text, "the refusal")
        assert (await score(socket, asked(1_801))).run_id == "run-1"
        keep(tmp_path, kept_of(kept.manifest, kept.run_state, initial_vector(kept.manifest, 8), "run-2"))
        await until(lambda: "scores are of another model now" in caplog.text, "the later model")
        assert (await score(socket, asked(1_801))).run_id == "run-2"


async def test_one_process_serves_a_socket(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    async with served(settings(tmp_path)) as socket:
        with pytest.raises(Misconfigured, match="a scoring socket must be of one process alone"):
            await serve_scores(settings(tmp_path), asyncio.Event())
        assert (await score(socket, asked(1_800))).run_id == "run-1"


async def test_a_socket_in_a_folder_that_others_can_enter_is_refused(tmp_path: Path) -> None:
    payments_bank(tmp_path, ALL, rows=1_800)
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(Misconfigured, match=r"folder must be for its owner alone, mode 0700: .*mode 0755"):
        await serve_scores(settings(tmp_path, score_socket="open/score.sock"), asyncio.Event())
    with pytest.raises(Misconfigured, match="path must have at most 107 bytes"):
        await serve_scores(settings(tmp_path, score_socket=f"{'x' * 100}/score.sock"), asyncio.Event())
