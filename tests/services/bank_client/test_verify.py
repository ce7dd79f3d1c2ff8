"""A bank checks an exported journal: its receipts are all in it, and its contributions in their sums."""

from io import BytesIO
from pathlib import Path

import pytest
from google.protobuf.message import Message
from google.protobuf.proto import serialize_length_prefixed

from fedfraud.chain import next_head, sign
from fedfraud.errors import Invalid, Misconfigured
from fedfraud.v1 import federation_pb2, history_pb2, model_pb2
from fedfraud.wire import RoundKey, round_key_to_proto
from services.bank_client.receipts import Receipts
from services.bank_client.verify import Findings, verify
from tests.fedfraud.certificates import SmallCa

CA = SmallCa()
KEY, CERTIFICATE = CA.journal_pair()
GIVEN = b"v" * 32


class Journal:
    """Signed lines, as an aggregator's export has them."""

    def __init__(self) -> None:
        self.lines: list[history_pb2.JournalLine] = []
        self.opened = model_pb2.RoundKey()

    def add(self, event: Message) -> federation_pb2.Receipt:
        """The next line, and the receipt that it would be; a contribution to another round opens that first."""
        if isinstance(event, history_pb2.ContributionAccepted) and event.key != self.opened:
            self.opened = event.key
            self.add(history_pb2.RoundOpened(key=event.key))
        entry = history_pb2.Entry(sequence=len(self.lines) + 1)
        (field,) = [one for one in history_pb2.Entry.DESCRIPTOR.fields if one.message_type == event.DESCRIPTOR]
        getattr(entry, field.name).CopyFrom(event)
        data, former = entry.SerializeToString(), self.lines[-1].head if self.lines else b""
        head = next_head(former, data)
        self.lines.append(history_pb2.JournalLine(entry=data, head=head, signature=sign(KEY, head)))
        return federation_pb2.Receipt(entry=data, previous_head=former, signature=sign(KEY, head))

    def export(self, path: Path) -> Path:
        """Written as `export` writes it."""
        stream = BytesIO()
        for line in self.lines:
            serialize_length_prefixed(line, stream)
        path.write_bytes(stream.getvalue())
        return path


def accepted(number: int, seat: str = "bank-01") -> history_pb2.ContributionAccepted:
    key = round_key_to_proto(RoundKey("run", number, 1))
    return history_pb2.ContributionAccepted(key=key, seat=seat, vector_sha256=GIVEN)


def committed(number: int, *seats: str) -> history_pb2.RoundCommitted:
    return history_pb2.RoundCommitted(key=round_key_to_proto(RoundKey("run", number, 1)), seats=seats)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Three rounds that bank-01 answered: committed, void, still open; it holds the three receipts."""
    journal, receipts = Journal(), Receipts(tmp_path)
    receipts.trust(CERTIFICATE, CA.pem, 1)
    for number in (1, 2, 3):
        receipt = journal.add(accepted(number))
        receipts.keep(receipt, RoundKey("run", number, 1), "bank-01", GIVEN)
        journal.add(accepted(number, "bank-02"))
        if number == 1:
            journal.add(committed(1, "bank-01", "bank-02"))
        if number == 2:
            journal.add(history_pb2.RoundVoid(key=round_key_to_proto(RoundKey("run", 2, 1)), reason="no quorum"))
    return journal


def checked(journal: Journal, folder: Path) -> Findings:
    return verify(folder, CA.pem, journal.export(folder / "export"))


def test_every_receipt_is_in_an_honest_export_and_it_says_what_became_of_it(journal: Journal, tmp_path: Path) -> None:
    found = checked(journal, tmp_path)
    assert (found.receipts, found.entries, found.summed, found.void, found.pending) == (3, 11, 1, 1, 1)
    assert found.faults == []
    assert found.text.endswith("verified: nothing is amiss")


def test_another_journal_of_the_same_aggregator_does_not_hold_the_receipts(journal: Journal, tmp_path: Path) -> None:
    other = Journal()
    for number in (1, 2, 3):
        other.add(accepted(number, "bank-03"))
    assert len(checked(other, tmp_path).faults) == 3


def test_entries_taken_off_the_end_or_not_exported_yet_are_missed(journal: Journal, tmp_path: Path) -> None:
    del journal.lines[3:]
    faults = checked(journal, tmp_path).faults
    assert [fault.split(", ask")[0] for fault in faults] == [
        f"receipt of entry {number}: an export must be newer than the receipts, this one ends with entry 3: ask for "
        "another; if that one ends there too, the journal has lost its end"
        for number in (6, 10)
    ]


def test_a_round_that_was_committed_without_an_acknowledged_contribution_is_named(tmp_path: Path) -> None:
    journal, receipts = Journal(), Receipts(tmp_path)
    receipts.trust(CERTIFICATE, CA.pem, 1)
    receipts.keep(journal.add(accepted(1)), RoundKey("run", 1, 1), "bank-01", GIVEN)
    journal.add(committed(1, "bank-02"))
    over_others, missing = checked(journal, tmp_path).faults
    assert over_others == "entry 3: a sum must be over the seats that were accepted, got others"
    assert missing.endswith("must be in its round's sum, run/1/1 was committed without bank-01")


def test_a_sum_of_a_round_that_is_not_the_open_one_is_named(tmp_path: Path) -> None:
    """Else a masked round's sum could be said after a plain round was opened, and nobody would open it again."""
    journal, receipts = Journal(), Receipts(tmp_path)
    receipts.trust(CERTIFICATE, CA.pem, 1)
    receipts.keep(journal.add(accepted(1)), RoundKey("run", 1, 1), "bank-01", GIVEN)
    journal.add(history_pb2.RoundOpened(key=accepted(2).key))
    journal.add(committed(1, "bank-01"))
    (fault,) = checked(journal, tmp_path).faults
    assert fault == "entry 4: must be of the open round, run/2/1, got run/1/1"


def test_a_journal_that_says_of_a_masked_contribution_that_its_round_was_plain_is_named(tmp_path: Path) -> None:
    """Else its sum would not be opened again."""
    journal, receipts, masked = Journal(), Receipts(tmp_path), accepted(1)
    receipts.trust(CERTIFICATE, CA.pem, 1)
    masked.masked_signature = bytes(64)
    receipts.keep(journal.add(masked), RoundKey("run", 1, 1), "bank-01", GIVEN)
    journal.add(committed(1, "bank-01"))
    (fault,) = checked(journal, tmp_path).faults
    assert fault == (
        "entry 2: a round must be masked for every bank or for none, bank-01's contribution is as in the other kind"
    )


def test_altered_lines_are_named_by_their_number(journal: Journal, tmp_path: Path) -> None:
    journal.lines[7].signature = bytes(64)
    journal.lines[10].entry += b"\0"
    faults = checked(journal, tmp_path).faults
    assert [fault.split(":")[0] for fault in faults] == ["entry 8", "entry 11"]


def test_an_export_of_other_bytes_or_none_is_refused(journal: Journal, tmp_path: Path) -> None:
    path = journal.export(tmp_path / "export")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Invalid, match=r"^an export must be whole journal lines, after 10 come other bytes$"):
        verify(tmp_path, CA.pem, path)
    with pytest.raises(Misconfigured, match=r"^receipts and an export must be readable: No such file or directory, "):
        verify(tmp_path, CA.pem, tmp_path / "nowhere")
