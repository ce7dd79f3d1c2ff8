"""The answer to one round while a bank works on it."""

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from fedfraud.wire import RoundKey
from services.bank_client.release import Released
from services.bank_client.task import Task


@dataclass
class Work:
    """The answer to one round: its task and its contribution are prepared once, and sent as often as it takes."""

    key: RoundKey
    cancelled: threading.Event
    ends: float
    """When it is of no use any more, by the monotonic clock."""
    piece_bytes: int
    """What the aggregator allows in one message of an upload."""
    task: asyncio.Task[Task] | None = None
    prepared: asyncio.Task[Released] | None = None
    advertised: asyncio.Event = field(default_factory=asyncio.Event)
    """Masked rounds: set when the attempt is on disk and the aggregator knows this bank's keys, or nobody wants it."""

    def drop(self) -> None:
        """Nobody wants it any more: computing stops, and so does waiting."""
        self.cancelled.set()
        self.advertised.set()
        for task in (self.task, self.prepared):
            if task is not None:
                task.add_done_callback(failed)  # looked at, so that asyncio does not complain
        self.task = self.prepared = None  # an error that keeps the work alive does not keep the model


def failed(task: asyncio.Task[Any]) -> bool:
    """Whether it is over without a result."""
    return task.done() and (task.cancelled() or task.exception() is not None)
