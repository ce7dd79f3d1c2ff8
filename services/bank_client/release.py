"""The one door out of a bank: every value that derives from transactions leaves here, named with its protection.

Nothing else in the bank builds an outgoing message with data in it; tests/test_imports.py holds that.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from fedfraud import fixed_point
from fedfraud.chunks import write_upload
from fedfraud.errors import Invalid
from fedfraud.fixed_point import CountCodec, EvaluateCodec, Segment, TrainCodec, Words
from fedfraud.layout import Layout
from fedfraud.model import Vector
from fedfraud.packing import WORD_BYTES, Packing
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.trade import Trade
from fedfraud.trade_codec import TradeCodec
from fedfraud.v1 import federation_pb2
from fedfraud.wire import (
    Disclosure,
    RoundKey,
    disclosure_from_proto,
    disclosure_to_proto,
    round_key_from_proto,
    round_key_to_proto,
)

_HASH_BYTES = 32

PROTECTIONS = {
    Segment.COUNT: "transactions and known frauds a merchant bucket and day",
    Segment.STANDARDISE: "sums over all training rows",
    Segment.TRAIN: "weighted update of the model, each coordinate clipped",
    Segment.EVALUATE: "counts of validation rows a score bin",
    Segment.TRADE: "counts of validation payments, cards and cents a day and alert budget, and bootstrap replicates",
}
"""What stands between a segment and a single transaction. In plain mode the aggregator sees the bank's own figures."""


@dataclass(frozen=True)
class Released:
    """A contribution that may leave: what it answers, its bytes, the disclosure, and in words what they are."""

    key: RoundKey
    model_sha256: bytes
    inputs_sha256: bytes
    data: bytes
    word_count: int
    """Of its integers; see fedfraud/packing.py for how they are in the bytes of a plain one."""
    disclosure: Disclosure | None
    record: str
    masked_signature: bytes = b""

    @cached_property
    def sha256(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).digest()

    def masked(self, words: Words, signature: bytes) -> "Released":
        """The same contribution under its masks: uniformly random words to whoever cannot take these off."""
        data = fixed_point.to_bytes(words)
        return replace(
            self, data=data, word_count=len(words), record=f"masked: {self.record}", masked_signature=signature
        )

    def requests(self, fencing_number: int, piece_bytes: int) -> Iterator[bytes]:
        """The messages of one upload, written: the header, then the bytes in chunks of so many."""
        yield federation_pb2.SubmitContributionRequest(header=self._header(fencing_number)).SerializeToString()
        data = memoryview(self.data)
        for start in range(0, len(data), piece_bytes):
            yield write_upload(data[start : start + piece_bytes])

    def whole(self, fencing_number: int) -> bytes:
        """All of an upload in one message, written."""
        whole = federation_pb2.WholeContribution(header=self._header(fencing_number), data=self.data)
        return federation_pb2.SubmitContributionRequest(whole=whole).SerializeToString()

    def to_bytes(self) -> bytes:
        """For the bank's own disk: Inputs.sha256, the length of the upload's header and that, the SHA-256 of all this;
        the contribution's bytes, whose SHA-256 is in the header."""
        header = self._header(0).SerializeToString()
        head = self.inputs_sha256 + struct.pack("<q", len(header)) + header
        return head + hashlib.sha256(head).digest() + self.data

    @classmethod
    def from_bytes(cls, stored: bytes) -> "Released":
        """What `to_bytes` made; refused when it is not whole."""
        header = federation_pb2.ContributionHeader()
        try:
            (length,) = struct.unpack_from("<q", stored, _HASH_BYTES)
            start = _HASH_BYTES + 8
            header.ParseFromString(stored[start : start + length])
        except (struct.error, DecodeError) as error:
            raise Invalid(f"a stored contribution must be whole, got {len(stored)} other bytes") from error
        head, sha256 = stored[: start + length], stored[start + length :][:_HASH_BYTES]
        data = stored[start + length + _HASH_BYTES :]
        if hashlib.sha256(head).digest() != sha256 or hashlib.sha256(data).digest() != header.vector_sha256:
            raise Invalid(f"a stored contribution must have its hash, {header.vector_sha256.hex()[:12]}")
        disclosure = disclosure_from_proto(header.disclosure) if header.HasField("disclosure") else None
        key = round_key_from_proto(header.key)
        return cls(
            key, header.model_sha256, stored[:_HASH_BYTES], data, header.word_count, disclosure, "as it was kept"
        )

    def _header(self, fencing_number: int) -> federation_pb2.ContributionHeader:
        return federation_pb2.ContributionHeader(
            key=round_key_to_proto(self.key),
            fencing_number=fencing_number,
            model_sha256=self.model_sha256,
            vector_sha256=self.sha256,
            word_count=self.word_count,
            disclosure=disclosure_to_proto(self.disclosure) if self.disclosure else None,
            masked_signature=self.masked_signature,
        )


class ReleaseDoor:
    """Collects the segments of one contribution; each codec holds what leaves to its bounds.

    Whether a bank answers must not follow from its rows. What a dataset may hold is checked before the bank joins, by
    bounds that are the schema's; scores and updates, which follow from a model that somebody else chose, are saturated.
    """

    def __init__(
        self, layout: Layout, key: RoundKey, model_sha256: bytes, inputs_sha256: bytes, *, masked: bool = False
    ) -> None:
        """`masked`: the words are to be masked, and are not packed."""
        self._layout, self._packing = layout, None if masked else Packing(layout)
        self._key, self._model_sha256, self._inputs_sha256 = key, model_sha256, inputs_sha256
        self._parts: dict[Segment, Words] = {}

    def count(self, counts: NDArray[np.int64]) -> None:
        """Transactions and known frauds a (merchant bucket, day), (buckets, days, 2)."""
        codec = self._layout.codecs[Segment.COUNT]
        if isinstance(codec, CountCodec):
            self._parts[Segment.COUNT] = codec.encode(counts)

    def standardise(self, features: NDArray[np.float64], labels: NDArray[np.bool_]) -> None:
        """Sums of the training rows, (rows, features) in the features' units."""
        codec = self._layout.codecs[Segment.STANDARDISE]
        if isinstance(codec, StandardiseCodec):
            self._parts[Segment.STANDARDISE] = codec.encode(features, labels)

    def train(self, update: Vector, weight: int) -> None:
        """Trained minus received weights, (parameters,), and the bank's weight."""
        codec = self._layout.codecs[Segment.TRAIN]
        if isinstance(codec, TrainCodec):
            self._parts[Segment.TRAIN] = codec.encode(update, weight)

    def evaluate(self, logits: NDArray[np.floating], labels: NDArray[np.bool_]) -> None:
        """Scores of the validation rows, (rows,)."""
        codec = self._layout.codecs[Segment.EVALUATE]
        if isinstance(codec, EvaluateCodec):
            self._parts[Segment.EVALUATE] = codec.encode(logits, labels)

    def trade(self, figures: Trade) -> None:
        """Counts of the scored validation payments in the trade's terms."""
        codec = self._layout.codecs[Segment.TRADE]
        if isinstance(codec, TradeCodec):
            self._parts[Segment.TRADE] = codec.encode(figures)

    def release(self, disclosure: Disclosure | None) -> Released:
        """The whole contribution, in the layout's order; refused while a segment is missing."""
        missing = [segment.value for segment in self._layout.codecs if segment not in self._parts]
        if missing:
            raise Invalid(f"a contribution must have all its segments, {', '.join(missing)} is missing")
        words = np.concatenate([self._parts[segment] for segment in self._layout.codecs])
        self._layout.check(words)
        data = self._packing.pack(words) if self._packing else fixed_point.to_bytes(words)
        record = [
            f"{segment.value}, {self._size_of(segment)} bytes: {PROTECTIONS[segment]}"
            for segment in self._layout.codecs
        ]
        record += ["disclosure: figures by choice, in the bank's own name"] if disclosure else []
        return Released(
            self._key, self._model_sha256, self._inputs_sha256, data, len(words), disclosure, "; ".join(record)
        )

    def _size_of(self, segment: Segment) -> int:
        """In bytes, as it leaves."""
        return self._packing.size_of(segment) if self._packing else WORD_BYTES * self._layout.codecs[segment].length
