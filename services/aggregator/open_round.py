"""A round that is open, among its surroundings: what intake and operators may know of it."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta

from fedfraud.fixed_point import Words
from fedfraud.layout import Layout
from fedfraud.packing import Packing
from fedfraud.v1 import federation_pb2
from services.aggregator.masked import MaskedRound
from services.aggregator.progress import Accepted
from services.aggregator.rounds import Outcome, Round
from services.aggregator.shared_lock import SharedLock


class OpenRound:
    """A round among its surroundings: the layout of its contributions, its instruction, and who waits for it."""

    def __init__(
        self,
        state: Round,
        layout: Layout,
        instruction: federation_pb2.RoundInstruction,
        time_left: Callable[[], float],
        masked: MaskedRound | None = None,
    ) -> None:
        self.state = state
        self.packing = Packing(layout)
        """Of a plain round's contributions."""
        self.masked = masked
        self._instruction = instruction
        self._time_left = time_left
        self._began = time.monotonic()
        self.sequences: dict[str, int] = {}
        """The journal entry that accepted each seat's contribution."""
        self.refusals: Counter[str] = Counter()
        self.turned_away: set[str] = set()
        """Seats whose word the disk did not take: they were not silent."""
        self.lock = SharedLock()
        self.turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """A bank's contributions, one after another."""
        self.answered = asyncio.Event()
        self.summed: Words | None = None
        """Of a plain round of small contributions: the exact sum of those that count, added up as they come."""

    def add(self, data: bytes | bytearray) -> None:
        """Adds a small contribution of a plain round, which counts from now on."""
        assert self.summed is not None  # noqa: S101  # for the type checker: a round of small ones has it
        self.summed += self.packing.unpack(data)

    def remember(self, accepted: Mapping[str, Accepted]) -> None:
        """What a former process accepted: its receipts are given again."""
        self.sequences.update({seat: one.sequence for seat, one in accepted.items()})

    def instruction(self) -> federation_pb2.ParticipateResponse:
        """What a bank of the cohort is told, with the time that is left now."""
        message = federation_pb2.ParticipateResponse(round=self._instruction)
        message.round.time_left.FromTimedelta(timedelta(seconds=max(self._time_left(), 0.0)))
        return message

    @property
    def awaited(self) -> list[str]:
        """The seats that are waited for now."""
        return self.masked.awaited if self.masked else self.state.awaited

    @property
    def asked(self) -> frozenset[str]:
        """The seats of whom the round, or its present stage, wants an answer: in a masked round fewer and fewer."""
        if self.masked is None:
            return self.state.plan.cohort
        return frozenset(self.masked.attempt.expected()) - self.masked.declined.keys()

    @property
    def waited(self) -> float:
        """Seconds since the round, or its present stage, began to wait for these seats."""
        return time.monotonic() - (self.masked.began if self.masked else self._began)

    @property
    def time_left(self) -> float:
        """Seconds until the deadline of the round or of its present stage."""
        return max(self.masked.ends - time.monotonic() if self.masked else self._time_left(), 0.0)

    def for_returning(self, seat: str) -> list[federation_pb2.ParticipateResponse]:
        """What a bank is told that comes back while the round is open: all that it needs to go on, or nothing."""
        if self.state.outcome is not Outcome.OPEN or seat not in self.state.plan.cohort:
            return []
        if self.masked is None:
            return [self.instruction()] if seat in self.state.awaited else []
        if seat in self.masked.declined or seat not in self.masked.attempt.expected():
            return []
        stage = self.masked.instruction(seat)
        return [self.instruction(), *([stage] if stage else [])]
