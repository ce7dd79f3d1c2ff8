"""Brings the model that a run ended with beside its report: fetched from the aggregator, held to the journal's hash."""

import asyncio
from pathlib import Path

import grpc

from fedfraud import model
from fedfraud.errors import FedfraudError, Invalid
from fedfraud.identity import write_durably
from fedfraud.logs import Log
from fedfraud.v1 import history_pb2, history_pb2_grpc
from fedfraud.wire import manifest_from_proto, run_state_from_proto
from services.reporter import model_card, model_files
from services.reporter.desk import run_folder
from services.reporter.facts import RunFacts
from services.reporter.model_files import FinalModel

CARD = "MODEL_CARD.md"
_TRIES, _TIMEOUT, _PAUSE = 3, 30.0, 1.0
_FILE_MODE = 0o664  # as of the report
_log = Log("reporter")


async def write(run: RunFacts, stub: "history_pb2_grpc.HistoryServiceAsyncStub", reports: Path) -> None:
    """Writes the model's files and its card, unless they are there. Without a model, or where it cannot be had, the run
    has none: its report does not wait for it, and the reporter's next start tries again."""
    try:
        folder = run_folder(reports, run.run.id)
        if not run.run.model_sha256 or await asyncio.to_thread(is_written, folder, run.run.model_sha256):
            return
        final = await _fetched(run, stub)
        await asyncio.to_thread(_write, folder, run, final)
    except grpc.aio.AioRpcError as error:
        _log.warning("model not written", run=run.run.id, status=error.code().name, reason=error.details())
    except FedfraudError as error:
        _log.error("model not written", run=run.run.id, reason=error)
    else:
        _log.info("model written", run=run.run.id, path=folder, model=final.sha256[:12])


def is_written(folder: Path, model_sha256: str) -> bool:
    """Whether the files of this model are in the folder."""
    try:
        return model_files.described(folder).model_sha256 == model_sha256 and (folder / CARD).exists()
    except Invalid:
        return False


async def _fetched(run: RunFacts, stub: "history_pb2_grpc.HistoryServiceAsyncStub") -> FinalModel:
    for _ in range(_TRIES - 1):
        try:
            return await _asked(run, stub)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
        await asyncio.sleep(_PAUSE)
    return await _asked(run, stub)


async def _asked(run: RunFacts, stub: "history_pb2_grpc.HistoryServiceAsyncStub") -> FinalModel:
    described: history_pb2.ModelDescription | None = None
    data = bytearray()
    async for response in stub.GetModel(history_pb2.GetModelRequest(run_id=run.run.id), timeout=_TIMEOUT):
        match response.WhichOneof("message"):
            case "description" if described is None:
                described = response.description
            case "chunk" if described is not None:
                data += response.chunk
                if len(data) > 4 * manifest_from_proto(described.manifest).parameter_count:
                    break
    if described is None:
        raise Invalid("a model must begin with its description, got none")
    manifest = manifest_from_proto(described.manifest)
    final = FinalModel(
        run_id=run.run.id,
        manifest=manifest,
        run_state=run_state_from_proto(described.run_state, manifest),
        vector=model.from_bytes(bytes(data), manifest),
        logit_adjustment=bool(run.run.hyperparameters.get("logit_adjustment", False)),
        journal_sequence=run.run.journal_sequence or 0,
        journal_head=run.run.journal_head or "",
    )
    if final.sha256 != run.run.model_sha256:
        raise Invalid(f"a model must have the hash of the journal, {run.run.model_sha256}, got {final.sha256}")
    return final


def _write(folder: Path, run: RunFacts, final: FinalModel) -> None:
    model_files.write(folder, final)
    write_durably(folder / CARD, model_card.render(run, final.logit_adjustment).encode(), _FILE_MODE)
