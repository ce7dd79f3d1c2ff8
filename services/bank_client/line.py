"""A bank's uploads: how fast they went, and so how much of the next one goes in one message."""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fedfraud.channel import CHUNK_BYTES
from fedfraud.v1 import federation_pb2
from services.bank_client.release import Released

if TYPE_CHECKING:
    from fedfraud.v1.federation_pb2_grpc import FederationServiceAsyncStub

LEAST_PIECE_BYTES = 1 << 14
_PIECE_SECONDS = 0.25
"""What a message may take: the aggregator sees whole messages alone, and calls an upload stalled that shows none."""
_MOST_PIECES = 256


class Line:
    """The way to the aggregator. Nothing is known of it at first, nor after an upload that failed."""

    def __init__(self) -> None:
        self._rate = 0.0  # bytes a second

    def piece_bytes(self, size: int, allowed: int) -> int:
        """Of an upload of so many bytes, what goes in one message: at most what the aggregator allows.

        A message costs both ends a third of a millisecond, so it is large where the line is known to be fast. Where it
        is not, a large upload goes in 256 messages: a line that is fast enough for the round's deadline is no stalled
        upload while that is below 256 times the time to stall.
        """
        wanted = max(int(self._rate * _PIECE_SECONDS), size // _MOST_PIECES, LEAST_PIECE_BYTES)
        return min(wanted, max(allowed, LEAST_PIECE_BYTES), CHUNK_BYTES)

    async def upload(
        self,
        stub: "FederationServiceAsyncStub",
        released: Released,
        fencing_number: int,
        allowed: int,
        seconds: float,
    ) -> federation_pb2.SubmitContributionResponse:
        """Sends a contribution and learns from how long that took. `stub` is a `federation_stub`; `allowed` as of
        `piece_bytes`, `seconds` what the call may take."""
        size, began = len(released.data), time.monotonic()
        piece_bytes = self.piece_bytes(size, allowed)
        whole = size <= piece_bytes
        pieces: Iterator[bytes] = iter(()) if whole else released.requests(fencing_number, piece_bytes)
        requests: Any = released.whole(fencing_number) if whole else pieces  # written already
        try:
            answer = await stub.SubmitContribution(requests, timeout=seconds)
        except BaseException:
            self.failed()
            raise
        if next(pieces, None) is None:  # one that counts already is acknowledged by its header: the rest never left
            self.took(size, time.monotonic() - began)
        return answer

    def took(self, size: int, seconds: float) -> None:
        """An upload of so many bytes was acknowledged after so many seconds. One that fits into the smallest message
        says nothing of the rate: a line may take a few bytes at once and more of them slowly."""
        if size > LEAST_PIECE_BYTES:
            self._rate = size / max(seconds, 1e-3)

    def failed(self) -> None:
        """An upload was not."""
        self._rate = 0.0
