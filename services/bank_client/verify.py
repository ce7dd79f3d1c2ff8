"""A bank's own check of the aggregator: every receipt that it holds must be in an export of the journal."""

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed

from fedfraud.chain import CheckedReceipt, checked_line
from fedfraud.errors import Invalid, Misconfigured
from fedfraud.v1 import history_pb2
from fedfraud.wire import RoundKey, round_key_from_proto
from services.bank_client.receipts import Receipts


@dataclass
class Findings:
    """What the export says of this bank's receipts; `faults` in words."""

    receipts: int = 0
    entries: int = 0
    summed: int = 0
    void: int = 0
    pending: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For a person."""
        lines = [
            f"{self.receipts} receipts, {self.entries} journal entries: {self.summed} contributions are in their "
            f"round's sum, {self.void} in a round that became void, {self.pending} in a round that is still open"
        ]
        lines += [f"FAULT  {fault}" for fault in self.faults]
        lines.append(f"{len(self.faults)} faults" if self.faults else "verified: nothing is amiss")
        return "\n".join(lines)


def verify(data_dir: Path, ca_pem: bytes, export: Path) -> Findings:
    """Checks the export's chain and signatures, then each receipt against it, and what became of its round."""
    try:
        key, receipts = Receipts(data_dir).read(ca_pem)
        lines = _lines(export.read_bytes())
    except OSError as error:
        raise Misconfigured(f"receipts and an export must be readable: {error.strerror}, {error.filename}") from error
    found, heads, head = Findings(len(receipts), len(lines)), {}, b""
    ends: dict[RoundKey, list[str] | None] = {}
    for sequence, line in enumerate(lines, 1):
        try:
            entry = checked_line(line, head, sequence, key)
            _note_end(entry, ends)
        except Invalid as error:
            found.faults.append(str(error))
        head = heads[sequence] = line.head
    for receipt in receipts:
        _check(receipt, heads, ends, found)
    return found


def _check(
    receipt: CheckedReceipt, heads: dict[int, bytes], ends: dict[RoundKey, list[str] | None], found: Findings
) -> None:
    if heads.get(receipt.sequence) != receipt.head:
        found.faults.append(
            f"receipt of entry {receipt.sequence}: a journal must hold every receipt it gave, this one does not hold "
            f"{receipt.seat}'s contribution to {receipt.key}"
        )
    elif receipt.key not in ends:
        found.pending += 1
    elif (seats := ends[receipt.key]) is None:
        found.void += 1
    elif receipt.seat in seats:
        found.summed += 1
    else:
        found.faults.append(
            f"receipt of entry {receipt.sequence}: an acknowledged contribution must be in its round's sum, "
            f"{receipt.key} was committed without {receipt.seat}"
        )


def _note_end(entry: history_pb2.Entry, ends: dict[RoundKey, list[str] | None]) -> None:
    """How a round ended: the seats in its sum, None when it was void."""
    match entry.WhichOneof("event"):
        case "round_committed":
            ends[round_key_from_proto(entry.round_committed.key)] = list(entry.round_committed.seats)
        case "round_void":
            ends[round_key_from_proto(entry.round_void.key)] = None


def _lines(export: bytes) -> list[history_pb2.JournalLine]:
    stream, lines = BytesIO(export), []
    try:
        while line := parse_length_prefixed(history_pb2.JournalLine, stream):
            lines.append(line)
    except (ValueError, DecodeError) as error:
        raise Invalid(f"an export must be whole journal lines, after {len(lines)} come other bytes") from error
    return lines
