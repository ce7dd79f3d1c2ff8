"""HistoryService: the journal, read only and live."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from fedfraud.v1 import history_pb2, history_pb2_grpc
from services.aggregator.journal import Journal


class HistoryServicer(history_pb2_grpc.HistoryServiceServicer):
    """See history.proto."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def WatchHistory(  # the name is the proto's
        self, request: history_pb2.WatchHistoryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[history_pb2.WatchHistoryResponse]:
        """See history.proto."""
        async with aclosing(self._journal.watch(request.after_sequence)) as entries:
            async for entry in entries:
                yield history_pb2.WatchHistoryResponse(entry=entry)
