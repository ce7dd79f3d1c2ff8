"""The server's step from a sum, in memory or on disk: the next model and its momentum, a block at a time; of large ones
the former too is read from its file."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, TrainCodec, Words
from fedfraud.layout import Layout
from fedfraud.model import Vector
from fedfraud.wire import RoundKey
from services.aggregator import stored_words
from services.aggregator.averaging import server_step
from services.aggregator.vectors import Vectors


class Step:
    """What a training round's sum makes of the model."""

    def __init__(
        self, codec: TrainCodec, momentum: float, vectors: Vectors, summed: Path | Words, layout: Layout
    ) -> None:
        start = layout.place(Segment.TRAIN).start
        self._codec, self._momentum, self._vectors, self._sum = codec, momentum, vectors, summed
        self._coordinates = codec.coordinates(start)
        self._counts = stored_words.read(summed, codec.counts(start))

    @property
    def clipped(self) -> int:
        """How many coordinates the banks clipped, all together."""
        return self._codec.opened_counts(self._counts)[1]

    def take(self, before: Path | Vector, after: Vector, former: RoundKey | None, key: RoundKey) -> bytes:
        """Fills `after` with the model after round `key`; the SHA-256 of the momentum's file where there is momentum.
        `before` is the former model or its file, `former` the round whose momentum it goes on from. It may be taken
        again.
        """
        moved = self._blocks(before, after, self._vectors.velocity(former) if former else None)
        if self._momentum:
            return self._vectors.write_velocity(
                key, (block.astype("<f8", copy=False).data.cast("B") for block in moved)
            )
        for _ in moved:
            pass
        return b""

    def _blocks(
        self, before: Path | Vector, after: Vector, velocity_file: Path | None
    ) -> Iterator[NDArray[np.float64]]:
        """The momentum in pieces; each piece of `after` is filled when its piece is asked for."""
        pieces = stored_words.blocks(self._sum, self._coordinates)
        averages = self._codec.averages(pieces, self._counts)
        for place, average in zip(stored_words.places(slice(0, len(after))), averages, strict=True):
            velocity = (
                stored_words.read(velocity_file, place).view(np.float64) if velocity_file else np.zeros_like(average)
            )
            vector = stored_words.read_vector(before, place) if isinstance(before, Path) else before[place]
            after[place], velocity = server_step(vector, velocity, average, self._momentum)
            if not np.isfinite(after[place]).all():
                raise Invalid(f"a model must be finite, got another coordinate after {place.start}")
            yield velocity
