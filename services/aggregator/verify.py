"""Verifies a data folder: recomputes what its journal and vectors allow, says how deep, and names every fault."""

import shutil
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from google.protobuf.proto import serialize_length_prefixed

from fedfraud.chain import checked_line, journal_key
from fedfraud.errors import FedfraudError, Invalid, Misconfigured
from fedfraud.masking_journal import federation_id
from fedfraud.v1 import history_pb2
from fedfraud.wire import round_key_from_proto
from services.aggregator.depth import HEADER, Depth
from services.aggregator.journal_file import NAME, read_lines
from services.aggregator.progress import Progress
from services.aggregator.recomputation import Recomputation
from services.aggregator.vectors import NAME as VECTORS
from services.aggregator.vectors import Vectors


@dataclass
class Verification:
    """What was found: `rounds` in the journal's order, `faults` in words, each beginning with where it is.

    `head` is that of the last entry; `end` says in words what it left open.
    """

    entries: int = 0
    head: bytes = b""
    end: str = ""
    rounds: list[Depth] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """For a person: the chain, a line a round, and the verdict."""
        lines = [
            f"journal  {self.entries} entries: each follows from the former one and is signed, but for what is named"
        ]
        lines += [HEADER, *(depth.text for depth in self.rounds)] if self.rounds else []
        lines.append(f"ends     with entry {self.entries}, head {self.head.hex()}; {self.end}")
        lines += [f"FAULT  {fault}" for fault in self.faults]
        lines.append(f"{len(self.faults)} faults" if self.faults else "verified: nothing is amiss")
        return "\n".join(lines)


def verify(data_dir: Path, known: tuple[int, bytes] | None = None) -> Verification:
    """Follows the chain, holds each entry to those before it, and each file to the entry that names it.

    `known`: an entry's number and its head, 32 bytes, as an earlier `verify`, a receipt or a report gave them. Nothing
    in a folder tells that the journal lost its last entries; what somebody else has seen of it does.
    Misconfigured when there is no journal to be read, or no key to check it with.
    """
    found, vectors = Verification(), Vectors(data_dir / VECTORS)
    try:
        ca_pem = (data_dir / "authority" / "ca.pem").read_bytes()
        key = journal_key((data_dir / "authority" / "journal.pem").read_bytes(), ca_pem)
    except OSError as error:
        raise Misconfigured(f"an aggregator's folder must hold its CA: {error.strerror}, {error.filename}") from error
    files = list(vectors.files())  # before the entries: of a file that comes meanwhile they may not tell yet
    account, holds = Account(vectors, found, federation_id(ca_pem)), known is None
    for line in read_lines(data_dir / NAME):
        found.entries += 1
        try:
            account.take(checked_line(line, found.head, found.entries, key))
        except Invalid as error:
            found.faults.append(str(error))
        found.head = line.head
        holds = holds or (found.entries, found.head) == known
    account.close(files)
    if known and not holds:
        found.faults.append(
            f"a journal must hold what was seen of it, entry {known[0]} with the head {known[1].hex()[:12]}: this one "
            f"of {found.entries} entries does not"
        )
    return found


def export(data_dir: Path, file: Path, words: Path | None = None) -> int:
    """Writes the lines as JournalLine says, for banks to check their receipts against; returns how many. Masked
    contributions, which say nothing of one bank, are copied to `words`; plain ones never are."""
    count = 0
    try:
        with file.open("wb") as output:
            for line in read_lines(data_dir / NAME):
                buffer = BytesIO()
                serialize_length_prefixed(line, buffer)
                output.write(buffer.getvalue())
                count += 1
                if words:
                    _copy_words(history_pb2.Entry.FromString(line.entry), Vectors(data_dir / VECTORS), words)
    except OSError as error:
        raise Misconfigured(f"an export must be writable: {error.strerror}, {error.filename}") from error
    return count


def _copy_words(entry: history_pb2.Entry, vectors: Vectors, folder: Path) -> None:
    accepted = entry.contribution_accepted
    if not accepted.masked_signature:
        return
    key = round_key_from_proto(accepted.key)
    source, copy = vectors.contribution(key, accepted.seat), Vectors(folder).contribution(key, accepted.seat)
    if source.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy)


class Account:
    """Takes the entries one by one and holds each to what may follow those before it."""

    def __init__(self, vectors: Vectors, found: Verification, federation: bytes) -> None:
        self._federation_id = federation
        self._signing_keys: dict[str, bytes] = {}
        self._vectors = vectors
        self._found = found
        self._epoch = 0
        self._leases: dict[str, int] = {}
        self._run: Recomputation | None = None
        self._former: list[Progress] = []
        self._named: set[Path] = set()

    def take(self, entry: history_pb2.Entry) -> None:
        """The next entry; what is wrong with it is added to the faults."""
        try:
            self._take(entry)
        except FedfraudError as error:
            self._found.faults.append(f"entry {entry.sequence}: {error}")

    def _take(self, entry: history_pb2.Entry) -> None:
        match entry.WhichOneof("event"):
            case "aggregator_started":
                _counts("epochs", entry.aggregator_started.epoch, self._epoch)
                self._epoch = entry.aggregator_started.epoch
            case "certificate_issued" if entry.certificate_issued.seat:
                self._certified(entry.certificate_issued)
            case "lease_granted":
                lease = entry.lease_granted
                _counts(f"leases of {lease.seat}", lease.fencing_number, self._leases.get(lease.seat, 0))
                self._leases[lease.seat] = lease.fencing_number
            case "run_started":
                if self._run is not None and self._run.progress.finished is None:
                    raise Invalid(f"a run must end before the next begins, {self._run.progress.run_id} had not")
                self._name_open_round()
                progress = Progress.begun(entry.run_started)
                if self._run is not None:
                    self._former.append(self._run.progress)
                keys, former = self._signing_keys, self._former
                self._run = Recomputation(progress, self._vectors, keys, self._federation_id, former)
                self._named |= self._run.check_start(entry.run_started)
            case kind if self._run is not None:
                if kind == "round_opened":  # each of the cohort may have left a file, acknowledged or not
                    key = round_key_from_proto(entry.round_opened.key)
                    self._named |= {self._vectors.contribution(key, seat) for seat in entry.round_opened.cohort}
                    self._named.add(self._vectors.gathered(key))
                self._of_a_run(self._run, kind, entry)

    def _of_a_run(self, run: Recomputation, kind: str | None, entry: history_pb2.Entry) -> None:
        try:
            run.check(entry)
        finally:
            run.progress.apply(entry)
            if run.depth is not None and kind in ("round_committed", "round_void", "round_abandoned"):
                self._found.rounds.append(run.depth)
                self._named |= run.named

    def _certified(self, issued: history_pb2.CertificateIssued) -> None:
        known = self._signing_keys.setdefault(issued.seat, issued.signing_key)
        if known != issued.signing_key:
            raise Invalid(f"a seat must keep its signing key, {known.hex()[:12]}, got {issued.signing_key.hex()[:12]}")

    def close(self, files: list[Path]) -> None:
        """After the last entry: each of these files must be one that the journal names."""
        self._found.end = self._end()
        self._name_open_round()
        for path in files:
            if path not in self._named:
                self._found.faults.append(f"{path.name}: a vector must be one that the journal names, this is none")

    def _name_open_round(self) -> None:
        """A round that has no end may have left its files."""
        if self._run is not None and self._run.progress.open is not None:
            self._named |= self._run.files_of(round_key_from_proto(self._run.progress.open.key))

    def _end(self) -> str:
        if self._run is None:
            return "no run has begun"
        progress = self._run.progress
        if progress.finished is not None:
            return f"run {progress.run_id} has ended"
        if progress.open is None:
            return f"run {progress.run_id} has not ended, and no round of it is open"
        return f"run {progress.run_id} has not ended, its round {progress.open.key.round} is open"


def _counts(what: str, number: int, former: int) -> None:
    if number != former + 1:
        raise Invalid(f"{what} must count without a gap, got {number} after {former}")
