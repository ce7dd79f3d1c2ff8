"""A bank's own check of the aggregator: every receipt that it holds must be in an export of the journal, and masked
sums must be what the banks' signed answers give."""

import hashlib
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from google.protobuf.message import DecodeError
from google.protobuf.proto import parse_length_prefixed

from fedfraud import fixed_point, masking_journal
from fedfraud.chain import CheckedReceipt, checked_line
from fedfraud.errors import FedfraudError, Invalid, Misconfigured
from fedfraud.masking_journal import StageEvent, federation_id
from fedfraud.masking_parameters import Roster
from fedfraud.trade_wire import terms_from_proto
from fedfraud.v1 import history_pb2, model_pb2
from fedfraud.wire import RoundKey, manifest_from_proto, recipe_from_proto, round_key_from_proto
from services.bank_client.attempts import ROSTER, read_roster
from services.bank_client.receipts import Receipts


@dataclass
class Findings:
    """What the export says of this bank's receipts; `faults` in words."""

    receipts: int = 0
    entries: int = 0
    summed: int = 0
    void: int = 0
    pending: int = 0
    opened_again: int = 0
    unopened: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For a person."""
        lines = [
            f"{self.receipts} receipts, {self.entries} journal entries: {self.summed} contributions are in their "
            f"round's sum, {self.void} in a round without a result, {self.pending} in a round that is still open",
            f"{self.opened_again} masked sums opened again from the banks' signed answers, {self.unopened} not, for "
            "want of words",
        ]
        lines += [f"FAULT  {fault}" for fault in self.faults]
        lines.append(f"{len(self.faults)} faults" if self.faults else "verified: nothing is amiss")
        return "\n".join(lines)


def verify(
    data_dir: Path, ca_pem: bytes, export: Path, words: Path | None = None, roster_file: Path | None = None
) -> Findings:
    """Checks the export's chain and signatures, then each receipt against it, and what became of its round. With the
    masked words that were exported too, every masked sum is opened again. The signing keys must be those of the roster
    file, which then knows every seat, or of the bank's own roster."""
    try:
        key, receipts = Receipts(data_dir).read(ca_pem)
        lines = _lines(export.read_bytes())
    except OSError as error:
        raise Misconfigured(f"receipts and an export must be readable: {error.strerror}, {error.filename}") from error
    found, heads, head = Findings(len(receipts), len(lines)), {}, b""
    ends: dict[RoundKey, list[str] | None] = {}
    roster = read_roster(roster_file or data_dir / ROSTER, must_exist=roster_file is not None)
    sums = _Sums(federation_id(ca_pem), words, roster, strict=roster_file is not None)
    for sequence, line in enumerate(lines, 1):
        try:
            entry = checked_line(line, head, sequence, key)
            _note_end(entry, ends)
            found.opened_again += sums.check(entry)
        except Invalid as error:
            found.faults.append(str(error))
        head = heads[sequence] = line.head
    found.unopened = sums.unopened
    for receipt in receipts:
        _check(receipt, heads, ends, found)
    return found


def _check(
    receipt: CheckedReceipt, heads: dict[int, bytes], ends: dict[RoundKey, list[str] | None], found: Findings
) -> None:
    if receipt.sequence > len(heads):
        found.faults.append(
            f"receipt of entry {receipt.sequence}: an export must be newer than the receipts, this one ends with entry "
            f"{len(heads)}: ask for another; if that one ends there too, the journal has lost its end"
        )
    elif heads.get(receipt.sequence) != receipt.head:
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
        case "round_abandoned":
            ends[round_key_from_proto(entry.round_abandoned.key)] = None


class _Sums:
    """Follows the masked rounds of a journal and opens each committed sum again whose masked words are all at hand."""

    def __init__(self, federation: bytes, words: Path | None, roster: Roster, *, strict: bool) -> None:
        self._federation = federation
        self._roster = roster
        self._strict = strict
        self.unopened = 0
        """Masked sums whose words were not all at hand."""
        self._words = words
        self._signing_keys: dict[str, bytes] = {}
        self._started = history_pb2.RunStarted()
        self._opened = history_pb2.RoundOpened()
        self._events: list[StageEvent] = []
        self._accepted: set[str] = set()

    def check(self, entry: history_pb2.Entry) -> bool:
        """Takes the next entry; True when it is a sum that came out again, Invalid when another comes out."""
        match entry.WhichOneof("event"):
            case "certificate_issued" if entry.certificate_issued.seat:
                seat, key = entry.certificate_issued.seat, entry.certificate_issued.signing_key
                if self._roster.keys.get(seat, b"" if self._strict else key) != key:
                    raise Invalid(f"entry {entry.sequence}: {seat} must have the signing key of this bank's roster")
                self._signing_keys.setdefault(seat, key)
            case "run_started":
                self._started = entry.run_started
            case "round_opened":
                self._opened, self._events, self._accepted = entry.round_opened, [], set()
            case "stage_answered":
                self._check_round(entry.sequence, entry.stage_answered.key)
                self._events.append(entry.stage_answered)
            case "contribution_accepted":
                self._check_round(entry.sequence, entry.contribution_accepted.key)
                self._events.append(entry.contribution_accepted)
                self._accepted.add(entry.contribution_accepted.seat)
                if bool(entry.contribution_accepted.masked_signature) != bool(self._opened.roster_size):
                    raise Invalid(
                        f"entry {entry.sequence}: a round must be masked for every bank or for none, "
                        f"{entry.contribution_accepted.seat}'s contribution is as in the other kind"
                    )
            case "stage_closed":
                self._check_round(entry.sequence, entry.stage_closed.key)
                self._events.append(entry.stage_closed)
            case "round_committed":
                self._check_round(entry.sequence, entry.round_committed.key)
                if sorted(self._accepted) != list(entry.round_committed.seats):
                    raise Invalid(
                        f"entry {entry.sequence}: a sum must be over the seats that were accepted, got others"
                    )
                if self._opened.roster_size and self._words:
                    return self._opened_again(entry.round_committed, self._words)
        return False

    def _check_round(self, sequence: int, key: model_pb2.RoundKey) -> None:
        """What is said of a round is said while it is open: else it would be held to what another was opened for."""
        if key != self._opened.key:
            opened = round_key_from_proto(self._opened.key)
            raise Invalid(f"entry {sequence}: must be of the open round, {opened}, got {round_key_from_proto(key)}")

    def _opened_again(self, committed: history_pb2.RoundCommitted, folder: Path) -> bool:
        key = round_key_from_proto(committed.key)
        there = folder / key.run_id / f"{key.round:05d}-{key.attempt}"
        paths = {seat: there / f"{seat}.u64" for seat in committed.seats}
        if not all(path.exists() for path in paths.values()):
            self.unopened += 1
            return False
        manifest, recipe = manifest_from_proto(self._started.manifest), recipe_from_proto(self._started.recipe)
        keys, terms = self._signing_keys, terms_from_proto(self._started)
        attempt = masking_journal.begun(self._opened, manifest, recipe, keys, self._federation, terms)
        try:
            masking_journal.replay(attempt, self._events, lambda seat: fixed_point.from_bytes(paths[seat].read_bytes()))
            words = attempt.open()
        except FedfraudError as error:
            raise Invalid(f"the sum of {key}: {error}") from error
        found = hashlib.sha256(fixed_point.to_bytes(words)).digest()
        if found != committed.sum_sha256:
            raise Invalid(f"the sum of {key} must be {committed.sum_sha256.hex()[:12]}, {found.hex()[:12]} comes out")
        return True


def _lines(export: bytes) -> list[history_pb2.JournalLine]:
    stream, lines = BytesIO(export), []
    try:
        while line := parse_length_prefixed(history_pb2.JournalLine, stream):
            lines.append(line)
    except (ValueError, DecodeError) as error:
        raise Invalid(f"an export must be whole journal lines, after {len(lines)} come other bytes") from error
    return lines
