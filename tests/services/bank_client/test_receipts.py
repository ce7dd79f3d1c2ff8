"""What a bank keeps to hold the aggregator to its word: receipts in order, a rising epoch, its one contribution."""

import asyncio
import errno
import os
import threading
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.chain import next_head, sign
from fedfraud.errors import Invalid, Misconfigured, NotStored, Stale
from fedfraud.v1 import federation_pb2, history_pb2
from fedfraud.wire import RoundKey, round_key_to_proto
from services.bank_client import outbox as outbox_module
from services.bank_client.outbox import Outbox
from services.bank_client.receipts import Receipts
from services.bank_client.release import Released
from tests.fedfraud.certificates import SmallCa, uri
from tests.full_disk import no_file_beyond

CA = SmallCa()
KEY, CERTIFICATE = CA.journal_pair()
ROUND = RoundKey("run", 2, 1)
GIVEN = b"v" * 32


def receipt(
    sequence: int, seat: str = "bank-01", key: RoundKey = ROUND, signer: Ed25519PrivateKey = KEY
) -> federation_pb2.Receipt:
    entry = history_pb2.Entry(sequence=sequence)
    accepted = entry.contribution_accepted
    accepted.key.CopyFrom(round_key_to_proto(key))
    accepted.seat, accepted.vector_sha256 = seat, GIVEN
    line, former = entry.SerializeToString(), bytes([sequence]) * 32
    return federation_pb2.Receipt(entry=line, previous_head=former, signature=sign(signer, next_head(former, line)))


def trusting(folder: Path, epoch: int = 1) -> Receipts:
    receipts = Receipts(folder)
    receipts.load(CA.pem)
    receipts.trust(CERTIFICATE, CA.pem, epoch)
    return receipts


def test_receipts_are_there_after_a_restart_and_the_newest_is_known_at_once(tmp_path: Path) -> None:
    receipts = trusting(tmp_path)
    assert receipts.newest is None
    for sequence in (7, 9):
        receipts.keep(receipt(sequence), ROUND, "bank-01", GIVEN)
    again = Receipts(tmp_path)
    again.load(CA.pem)
    assert again.newest is not None
    assert (again.newest.sequence, again.newest.head) == (9, next_head(b"\x09" * 32, receipt(9).entry))
    _, kept = again.read(CA.pem)
    assert [one.sequence for one in kept] == [7, 9]


@pytest.mark.parametrize("room", [0, 100], ids=["nothing of it", "a part of it"])
@pytest.mark.parametrize("before", [0, 1], ids=["the first", "a further one"])
def test_a_receipt_that_a_full_disk_does_not_take_is_no_damage_to_the_next_one(
    tmp_path: Path, before: int, room: int
) -> None:
    receipts, path = trusting(tmp_path), tmp_path / "receipts.txt"
    for sequence in range(1, before + 1):
        receipts.keep(receipt(sequence), ROUND, "bank-01", GIVEN)
    size = path.stat().st_size if before else 0
    with no_file_beyond(size + room), pytest.raises(OSError, match="File too large"):
        receipts.keep(receipt(7), ROUND, "bank-01", GIVEN)
    receipts.keep(receipt(7), ROUND, "bank-01", GIVEN)
    receipts.keep(receipt(9), ROUND, "bank-01", GIVEN)
    _, kept = Receipts(tmp_path).read(CA.pem)
    assert [one.sequence for one in kept] == [*range(1, before + 1), 7, 9]


def test_a_try_that_was_given_up_and_fails_late_takes_nothing_from_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts, real, failures = trusting(tmp_path), os.fsync, list[OSError]()
    slow, fails = threading.Event(), threading.Event()

    def fsync(descriptor: int) -> None:
        if threading.current_thread() is given_up:
            slow.set()
            fails.wait(20)
            raise OSError(errno.EIO, "Input/output error")
        real(descriptor)

    def keep() -> None:
        try:
            receipts.keep(receipt(7), ROUND, "bank-01", GIVEN)
        except OSError as error:
            failures.append(error)

    given_up, following = threading.Thread(target=keep), threading.Thread(target=keep)
    monkeypatch.setattr(os, "fsync", fsync)
    given_up.start()
    assert slow.wait(20)
    following.start()
    following.join(0.2)  # as long as the disk is slow it may wait
    fails.set()
    for thread in (given_up, following):
        thread.join(20)
    assert [error.errno for error in failures] == [errno.EIO]
    _, kept = Receipts(tmp_path).read(CA.pem)
    assert [one.sequence for one in kept] == [7]


def test_the_same_receipt_again_is_kept_once(tmp_path: Path) -> None:
    receipts = trusting(tmp_path)
    for _ in range(3):
        receipts.keep(receipt(7), ROUND, "bank-01", GIVEN)
    assert len(receipts.read(CA.pem)[1]) == 1


def test_a_receipt_that_was_half_written_when_the_bank_was_killed_is_cut_off(tmp_path: Path) -> None:
    trusting(tmp_path).keep(receipt(7), ROUND, "bank-01", GIVEN)
    whole = (tmp_path / "receipts.txt").read_bytes()
    for torn in (whole[:1], whole[:40], whole[:-1]):
        (tmp_path / "receipts.txt").write_bytes(whole + torn)
        receipts = Receipts(tmp_path)
        receipts.load(CA.pem)
        assert (tmp_path / "receipts.txt").read_bytes() == whole
        assert receipts.newest is not None
    receipts.trust(CERTIFICATE, CA.pem, 1)
    receipts.keep(receipt(9), ROUND, "bank-01", GIVEN)
    assert [one.sequence for one in receipts.read(CA.pem)[1]] == [7, 9]


def test_a_damaged_byte_anywhere_is_refused_by_its_line_and_nothing_is_cut_off(tmp_path: Path) -> None:
    receipts = trusting(tmp_path)
    for sequence in (7, 9, 11):
        receipts.keep(receipt(sequence), ROUND, "bank-01", GIVEN)
    path = tmp_path / "receipts.txt"
    whole = path.read_bytes()
    for place in range(0, len(whole) - 1, 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        line = whole[: place + 1].count(b"\n") + (whole[place] != 10)
        sentence = f"^receipts must be as the aggregator gave them, line {line} of "
        with pytest.raises(Misconfigured, match=sentence):
            Receipts(tmp_path).load(CA.pem)
        with pytest.raises(Misconfigured, match=sentence):
            Receipts(tmp_path).read(CA.pem)
        assert path.read_bytes() == bytes(damaged)


def test_a_damaged_end_of_the_last_line_is_damage_too(tmp_path: Path) -> None:
    trusting(tmp_path).keep(receipt(7), ROUND, "bank-01", GIVEN)
    path = tmp_path / "receipts.txt"
    damaged = path.read_bytes()[:-1] + b"J"
    path.write_bytes(damaged)
    with pytest.raises(Misconfigured, match=r"^receipts must be as the aggregator gave them, line 1 of "):
        Receipts(tmp_path).load(CA.pem)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (receipt(7, signer=Ed25519PrivateKey.generate()), "a receipt must be signed by the aggregator, got another "),
        (receipt(7, seat="bank-02"), "a receipt must be for bank-01's contribution to run/2/1, got one of entry 7"),
        (receipt(7, key=RoundKey("run", 3, 1)), "a receipt must be for bank-01's contribution to run/2/1, got one of "),
        (federation_pb2.Receipt(), "a receipt must be signed by the aggregator, got another signature over "),
    ],
)
def test_a_receipt_that_is_none_is_refused_and_not_kept(
    tmp_path: Path, given: federation_pb2.Receipt, sentence: str
) -> None:
    receipts = trusting(tmp_path)
    with pytest.raises(Invalid) as refusal:
        receipts.keep(given, ROUND, "bank-01", GIVEN)
    assert sentence in str(refusal.value)
    assert receipts.read(CA.pem)[1] == []


def test_a_signed_line_that_accepts_nothing_is_no_receipt(tmp_path: Path) -> None:
    entry = history_pb2.Entry(sequence=7, seat_absent=history_pb2.SeatAbsent(seat="bank-01")).SerializeToString()
    given = federation_pb2.Receipt(entry=entry, previous_head=b"", signature=sign(KEY, next_head(b"", entry)))
    with pytest.raises(Invalid, match=r"^a receipt must be of an accepted contribution, got seat_absent$"):
        trusting(tmp_path).keep(given, ROUND, "bank-01", GIVEN)


def test_an_epoch_that_falls_is_refused_also_after_a_restart(tmp_path: Path) -> None:
    trusting(tmp_path, epoch=3)
    receipts = trusting(tmp_path, epoch=3)
    with pytest.raises(Stale, match=r"^an aggregator's epoch must be at least 3, which this bank has seen, got 2$"):
        receipts.trust(CERTIFICATE, CA.pem, 2)


def test_a_journal_key_that_is_not_the_aggregators_is_refused(tmp_path: Path) -> None:
    other, key = SmallCa(), Ed25519PrivateKey.generate().public_key()
    wrong = [
        other.journal_pair()[1],
        CA.certify(key, uri("spiffe://fedfraud/bank/bank-02")),
        CA.certify(key),
        CA.pair(uri("spiffe://fedfraud/aggregator")).certificate_pem,
        b"no certificate",
        b"",
    ]
    for certificate in wrong:
        with pytest.raises(Invalid, match=r"^a journal's certificate must "):
            Receipts(tmp_path).trust(certificate, CA.pem, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_outbox_gives_back_its_one_contribution_to_that_rounds_task_alone(tmp_path: Path) -> None:
    outbox, released = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    assert outbox.find(ROUND, b"t" * 32) is None
    outbox.keep(released)
    found = Outbox(tmp_path).find(ROUND, b"t" * 32)
    assert found is not None
    assert (found.data, found.sha256) == (released.data, released.sha256)
    assert outbox.find(RoundKey("run", 2, 2), b"t" * 32) is outbox.find(ROUND, b"o" * 32) is None
    outbox.keep(replace(released, key=RoundKey("run", 3, 1)))
    assert outbox.find(ROUND, b"t" * 32) is None
    (tmp_path / "contribution.bin").write_bytes(b"spoilt")
    assert outbox.find(RoundKey("run", 3, 1), b"t" * 32) is None


def test_a_shorter_contribution_leaves_nothing_of_the_longer_one_that_it_is_written_over(tmp_path: Path) -> None:
    outbox, released = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(8000), 1000, None, "")
    for kept in (released, replace(released, key=RoundKey("run", 3, 1), data=b"8 bytes!")):
        outbox.keep(kept)
        (path,) = tmp_path.iterdir()
        assert path.read_bytes() == kept.to_bytes()
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("written", range(0, 200, 7))
def test_a_contribution_that_a_killed_process_had_half_written_over_the_former_is_neither(
    tmp_path: Path, written: int
) -> None:
    outbox, former = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    outbox.keep(former)
    newer = replace(former, key=RoundKey("run", 3, 1), data=b"another!" * 10)
    begun, before = newer.to_bytes(), former.to_bytes()
    assert written < len(begun) == len(before)
    (tmp_path / "contribution.bin").write_bytes(begun[:written] + before[written:])
    again = Outbox(tmp_path)
    found = again.find(ROUND, b"t" * 32)
    assert found is None or found.data == former.data
    assert again.find(newer.key, b"t" * 32) is None


def test_the_name_of_a_file_whose_first_write_failed_is_made_durable_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(outbox_module, "sync_folder", synced.append)
    outbox, released = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", Mock(side_effect=OSError(28, "No space left on device")))
        with pytest.raises(NotStored, match="No space left on device"):
            outbox.keep(released)
    assert synced == []
    for _ in range(2):
        outbox.keep(released)
    assert synced == [tmp_path]


def test_what_was_kept_is_forgotten_when_it_is_erased(tmp_path: Path) -> None:
    outbox, released = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    outbox.keep(released)
    outbox.erase()
    assert outbox.find(ROUND, b"t" * 32) is None
    assert list(tmp_path.iterdir()) == []


async def test_receipts_are_kept_off_the_event_loop_in_the_order_they_came(tmp_path: Path) -> None:
    receipts = trusting(tmp_path)
    for sequence in range(1, 6):
        await asyncio.to_thread(receipts.keep, receipt(sequence), ROUND, "bank-01", GIVEN)
    assert [one.sequence for one in receipts.read(CA.pem)[1]] == [1, 2, 3, 4, 5]


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The inodes of the files and folders that were synced since."""
    found, real = set[int](), os.fsync

    def noted(descriptor: int) -> None:
        real(descriptor)
        found.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    return found


def test_a_contribution_that_the_disk_may_not_have_is_not_given_back_before_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, released = Outbox(tmp_path), Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(NotStored):
            outbox.keep(released)
        for again in (outbox, Outbox(tmp_path)):  # the next try of this process, and of the next one
            with pytest.raises(NotStored, match="Input/output error"):
                again.find(ROUND, b"t" * 32)


def test_a_contribution_of_a_former_process_is_durable_when_it_is_found(tmp_path: Path, synced: set[int]) -> None:
    released = Released(ROUND, b"m" * 32, b"t" * 32, bytes(80), 10, None, "")
    (tmp_path / "contribution.bin").write_bytes(released.to_bytes())  # killed before it was synced
    outbox = Outbox(tmp_path)
    found = outbox.find(ROUND, b"t" * 32)
    assert found is not None
    assert found.to_bytes() == released.to_bytes() == (tmp_path / "contribution.bin").read_bytes()
    assert synced == {(tmp_path / "contribution.bin").stat().st_ino, tmp_path.stat().st_ino}
    synced.clear()
    assert outbox.find(ROUND, b"t" * 32) is not None
    assert synced == set()  # it is known to be there


def test_a_receipt_that_a_killed_process_had_not_synced_is_durable_before_its_repetition_is_kept(
    tmp_path: Path, synced: set[int]
) -> None:
    trusting(tmp_path).keep(receipt(7), ROUND, "bank-01", GIVEN)
    synced.clear()  # as if it had been killed before
    trusting(tmp_path).keep(receipt(7), ROUND, "bank-01", GIVEN)
    assert synced == {(tmp_path / "receipts.txt").stat().st_ino, tmp_path.stat().st_ino}


def test_receipts_that_the_disk_does_not_take_are_not_called_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting(tmp_path).keep(receipt(7), ROUND, "bank-01", GIVEN)
    receipts = Receipts(tmp_path)
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        for _ in range(2):
            with pytest.raises(NotStored, match=r"^receipts must be on disk, the disk said: .*Input/output error$"):
                receipts.load(CA.pem)
            assert receipts.newest is None
    receipts.load(CA.pem)
    assert receipts.newest is not None
