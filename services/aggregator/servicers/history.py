"""HistoryService: the journal, read only and live, and the models that ended runs left."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

import grpc

from fedfraud.channel import CHUNK_BYTES
from fedfraud.v1 import history_pb2, history_pb2_grpc
from services.aggregator.final_models import FinalModels
from services.aggregator.journal import Journal
from services.aggregator.vectors import Vectors
from services.aggregator.writer import Writer

Context = grpc.aio.ServicerContext[Any, Any]


class HistoryServicer(history_pb2_grpc.HistoryServiceServicer):
    """See history.proto."""

    def __init__(self, journal: Journal, models: FinalModels, writer: Writer, vectors: Vectors) -> None:
        self._journal = journal
        self._models = models
        self._writer = writer
        self._vectors = vectors

    async def WatchHistory(  # the name is the proto's
        self, request: history_pb2.WatchHistoryRequest, context: Context
    ) -> AsyncIterator[history_pb2.WatchHistoryResponse]:
        """See history.proto."""
        async with aclosing(self._journal.watch(request.after_sequence)) as entries:
            async for page in entries:
                for part in _parts(page):
                    yield history_pb2.WatchHistoryResponse(entries=part)

    async def GetModel(
        self, request: history_pb2.GetModelRequest, context: Context
    ) -> AsyncIterator[history_pb2.GetModelResponse]:
        """See history.proto."""
        described = self._models.of(request.run_id)
        data = await self._writer.aside(self._vectors.read_model, described.model.vector_sha256)
        yield history_pb2.GetModelResponse(description=described)
        for start in range(0, len(data), CHUNK_BYTES):
            yield history_pb2.GetModelResponse(chunk=data[start : start + CHUNK_BYTES])


def _parts(page: list[history_pb2.Entry]) -> Iterator[list[history_pb2.Entry]]:
    """The entries in order, as many together as one message may hold."""
    part: list[history_pb2.Entry] = []
    size = 0
    for entry in page:
        size += entry.ByteSize()
        if part and size > CHUNK_BYTES:
            yield part
            part, size = [], entry.ByteSize()
        part.append(entry)
    if part:
        yield part
