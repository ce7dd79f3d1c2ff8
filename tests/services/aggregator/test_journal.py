"""The journal: an unbroken chain on disk, and nobody hears of an entry that is not there."""

import asyncio
import hashlib
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.chain import checked_receipt, is_signed, next_head, sign
from fedfraud.errors import Misconfigured, NotStored, OutOfRange
from fedfraud.v1 import history_pb2
from fedfraud.wire import RoundKey
from services.aggregator import journal as journal_module
from services.aggregator.gathered import Names
from services.aggregator.journal import Stored
from services.aggregator.journal_file import read_lines
from services.aggregator.vectors import Vectors
from tests.full_disk import no_file_beyond
from tests.services.aggregator.journals import DEADLINE, KEY, append, begun, change, event, held, opened, rows


async def test_entries_count_from_1_and_each_hash_covers_all_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        entries = await append(journal, 1, 2, 3)
        assert [entry.sequence for entry in entries] == [1, 2, 3]
        assert [entry.seat_absent.seat for entry in entries] == ["bank-01", "bank-02", "bank-03"]
        assert entries[0].time.seconds > 0
    chain = b""
    for sequence, data, stored in rows(tmp_path):
        chain = hashlib.sha256(chain + data).digest()
        assert stored == chain
        assert history_pb2.Entry.FromString(data) == entries[sequence - 1]


async def test_an_entry_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        assert [sequence for sequence, _, _ in rows(tmp_path)] == [1]


async def test_a_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await journal.append(event(1))
    with opened(tmp_path) as journal:
        assert journal.head == 1
        assert (await journal.append(event(2))).sequence == 2
    with opened(tmp_path) as journal:
        assert [entry.sequence for entry in await journal.read(0)] == [1, 2]


@pytest.mark.parametrize("sequence", [1, 2, 3])
async def test_an_altered_byte_is_found_at_the_next_start(tmp_path: Path, sequence: int) -> None:
    with opened(tmp_path) as journal:
        await append(journal, 1, 2, 3)
    data = bytearray(rows(tmp_path)[sequence - 1][1])
    data[-1] ^= 1
    change(tmp_path, "UPDATE entries SET entry = ? WHERE sequence = ?", bytes(data), sequence)
    sentence = f"^journal entries must be whole and in order, got a fault at entry {sequence}$"
    with pytest.raises(Misconfigured, match=sentence), opened(tmp_path):
        pass


async def test_an_entry_that_was_taken_out_is_found_at_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await append(journal, 1, 2, 3)
    change(tmp_path, "DELETE FROM entries WHERE sequence = 2")
    with pytest.raises(Misconfigured, match="got a fault at entry 3"), opened(tmp_path):
        pass


async def test_a_journal_of_another_version_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    for version, age in ((3, "an older"), (5, "a newer")):
        change(tmp_path, f"PRAGMA user_version = {version}")
        before = (tmp_path / "journal.sqlite3").read_bytes()
        sentence = f"schema version must be 4, got {version} in .*: {age} fedfraud wrote it; it is not changed"
        with pytest.raises(Misconfigured, match=sentence), opened(tmp_path):
            pass
        assert (tmp_path / "journal.sqlite3").read_bytes() == before


@pytest.mark.parametrize("content", [b"no journal", b"SQLite format 3\0" + bytes(4080), bytes(range(256)) * 32])
async def test_a_file_that_is_no_journal_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "journal.sqlite3").write_bytes(content)
    with (
        pytest.raises(Misconfigured, match=r"^a journal must be a whole SQLite file that can be opened: "),
        opened(tmp_path),
    ):
        pass


async def test_a_page_of_the_file_that_was_overwritten_is_refused_in_words(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await append(journal, *range(1, 200))
    path = tmp_path / "journal.sqlite3"
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = b"\xee" * 4096
    path.write_bytes(bytes(content))
    with pytest.raises(Misconfigured, match=r"^(a journal|journal entries) must be "), opened(tmp_path):
        pass


async def test_a_journal_that_another_key_signed_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await journal.append(event(1))
    change(tmp_path, "UPDATE entries SET signature = ?", sign(Ed25519PrivateKey.generate(), rows(tmp_path)[0][2]))
    sentence = r"^a journal must be signed by this aggregator's key, entry 1 is not$"
    with pytest.raises(Misconfigured, match=sentence), opened(tmp_path):
        pass


async def test_lines_are_read_beside_the_writer_and_each_is_signed(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await append(journal, 1, 2)
        lines = list(read_lines(tmp_path / "journal.sqlite3"))
    assert [history_pb2.Entry.FromString(line.entry).seat_absent.seat for line in lines] == ["bank-01", "bank-02"]
    assert all(is_signed(KEY.public_key(), line.head, line.signature) for line in lines)
    assert lines[1].head == next_head(lines[0].head, lines[1].entry)


async def test_a_receipt_is_the_line_itself_and_the_journal_knows_its_head(tmp_path: Path) -> None:
    given = history_pb2.ContributionAccepted(seat="bank-01", vector_sha256=b"v" * 32)
    given.key.run_id, given.key.round, given.key.attempt = "run", 2, 1
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        entry = await journal.append(given)
        receipt = checked_receipt(await journal.receipt(entry.sequence), KEY.public_key())
        assert (receipt.key, receipt.seat, receipt.sequence) == (RoundKey("run", 2, 1), "bank-01", 2)
        assert receipt.head == rows(tmp_path)[1][2]
        assert await journal.holds(2, receipt.head)
        for sequence, head in ((1, receipt.head), (3, receipt.head), (3, b""), (2, b"")):
            assert not await journal.holds(sequence, head)


async def test_a_watcher_hears_what_exists_and_then_each_new_entry(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await append(journal, 1, 2, 3)
        watching = journal.watch(1)
        async with asyncio.timeout(DEADLINE):
            assert [entry.sequence for entry in await anext(watching)] == [2, 3]
            waiting = asyncio.ensure_future(anext(watching))
            await journal.append(event(4))
            assert [entry.seat_absent.seat for entry in await waiting] == ["bank-04"]
        await watching.aclose()


async def test_a_watcher_of_more_than_a_page_misses_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await append(journal, *range(1, 503))
        watching = journal.watch(0)
        async with asyncio.timeout(DEADLINE):
            heard = [await anext(watching) for _ in range(2)]
        assert [entry.sequence for page in heard for entry in page] == list(range(1, 503))
        await watching.aclose()


async def test_entries_that_were_written_together_are_told_together_from_memory(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        watching = journal.watch(1)
        async with asyncio.timeout(DEADLINE):
            waiting = asyncio.ensure_future(anext(watching))
            await asyncio.sleep(0)
            statements: list[str] = []
            journal._database.set_trace_callback(statements.append)
            with held(journal):
                appended = await begun(journal.append(event(number)) for number in (2, 3, 4))
            assert [entry.sequence for entry in await waiting] == [2, 3, 4]
            await asyncio.gather(*appended)
        assert not [statement for statement in statements if statement.startswith("SELECT")]
        await watching.aclose()


async def test_who_was_just_told_hears_what_comes_soon_after_together_and_of_a_runs_end_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_GATHER_SECONDS", 2 * DEADLINE)
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        watching, late = journal.watch(0), journal.watch(1)
        async with asyncio.timeout(DEADLINE):
            assert [entry.sequence for entry in await anext(watching)] == [1]
            waiting, untold = asyncio.ensure_future(anext(watching)), asyncio.ensure_future(anext(late))
            await asyncio.sleep(0)  # both wait for more
            await append(journal, 2)
            assert [entry.sequence for entry in await untold] == [2]  # nothing was told to it lately
            await append(journal, 3, 4)
            assert not waiting.done()
            await journal.append(history_pb2.RunFinished(run_id="run"))
            assert [entry.sequence for entry in await waiting] == [2, 3, 4, 5]
        await watching.aclose()
        await late.aclose()


@pytest.mark.parametrize("after", [-1, 2])
async def test_a_watcher_beyond_the_end_is_refused(tmp_path: Path, after: int) -> None:
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        with pytest.raises(OutOfRange, match=rf"^after_sequence must be 0 to the journal's end, 1, got {after}$"):
            await anext(journal.watch(after))


async def test_a_listener_hears_the_past_and_the_future_in_order(tmp_path: Path) -> None:
    heard: list[int] = []
    with opened(tmp_path) as journal:
        await journal.append(event(1))
        await journal.replay(lambda entry: heard.append(entry.sequence))
        await asyncio.gather(*(journal.append(event(number)) for number in (2, 3, 4)))
    assert heard == [1, 2, 3, 4]


async def test_an_entry_whose_caller_went_away_is_known_all_the_same(tmp_path: Path) -> None:
    heard: list[int] = []
    with opened(tmp_path) as journal:
        await journal.replay(lambda entry: heard.append(entry.sequence))
        (going,) = await begun([journal.append(event(1))])
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        assert (await journal.append(event(2))).sequence == 2
        assert heard == [1, 2]
        assert journal.head == 2


async def test_what_waits_together_is_one_transaction_in_the_order_it_came(tmp_path: Path) -> None:
    heard: list[int] = []
    with opened(tmp_path) as journal:
        await journal.replay(lambda entry: heard.append(entry.seat_absent.fencing_number))
        statements: list[str] = []
        journal._database.set_trace_callback(statements.append)
        with held(journal):
            waiting = await begun(journal.append(event(number)) for number in range(1, 6))
        entries = await asyncio.gather(*waiting)
        assert [entry.sequence for entry in entries] == heard == [1, 2, 3, 4, 5]
        assert statements.count("COMMIT") == 1
    with opened(tmp_path) as journal:  # the chain is whole
        assert [entry.seat_absent.fencing_number for entry in await journal.read(0)] == heard


async def test_what_entries_are_about_is_there_before_they_are_stored(tmp_path: Path) -> None:
    done: list[str] = []

    def made(name: str) -> Names:
        done.append(name)
        (tmp_path / name).write_text(name)
        return Names(tmp_path)

    with opened(tmp_path) as journal:
        journal._database.set_trace_callback(done.append)
        with held(journal):
            waiting = await begun(journal.append_with(partial(made, f"bank-{n:02d}"), event(n)) for n in (1, 2))
        await asyncio.gather(*waiting)
        journal._database.set_trace_callback(None)
    assert [one.partition(" ")[0] for one in done] == ["bank-01", "bank-02", "BEGIN", "INSERT", "INSERT", "COMMIT"]


async def test_an_entry_whose_file_the_disk_does_not_take_is_not_stored_and_can_be_appended_again(
    tmp_path: Path,
) -> None:
    with opened(tmp_path) as journal:
        there = tmp_path / "folder"

        def made() -> Names:
            (there / "bank-01").write_text("words")
            return Names(there)

        with pytest.raises(NotStored, match=r"^what arrives must be made durable, the disk said: .*No such file"):
            await journal.append_with(made, event(1))
        assert (journal.head, rows(tmp_path)) == (0, [])
        there.mkdir()
        assert (await journal.append_with(made, event(1))).entry.sequence == 1


async def test_an_entry_whose_file_the_disk_does_not_take_takes_no_other_with_it(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:

        def made(number: int) -> Names:
            (tmp_path / ("not there" if number == 2 else "") / f"bank-{number:02d}").write_text("words")
            return Names(tmp_path)

        with held(journal):
            with_files = [journal.append_with(partial(made, number), event(number)) for number in (1, 2, 3)]
            *waiting, joined = await begun([*with_files, journal.append(event(4))])
        one, two, three = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(two, NotStored)
        assert isinstance(one, Stored)
        assert isinstance(three, Stored)
        heard = await journal.read(0)
        assert [entry.seat_absent.fencing_number for entry in heard] == [1, 3, 4]
        assert [one.entry, three.entry, await joined] == heard


async def test_what_the_journal_refuses_again_and_again_does_not_fill_the_disk(tmp_path: Path) -> None:
    vectors, key = Vectors(tmp_path / "vectors", gather=True), RoundKey("run", 1, 1)
    write = partial(vectors.write_contribution, key, "bank-01", bytes(5000))
    with opened(tmp_path) as journal:
        await append(journal, *range(1, 40))
        with no_file_beyond((tmp_path / "journal.sqlite3-wal").stat().st_size):
            for _ in range(5):
                with pytest.raises(NotStored, match="disk I/O error"):
                    await journal.append_with(write, event(40))
                assert vectors.gathered(key).stat().st_size < 5100
        assert (await journal.append_with(write, event(40))).entry.sequence == 40
    assert vectors.contributions(key)("bank-01") == bytes(5000)


async def test_entries_do_not_wait_for_all_the_files_that_a_slow_disk_has_to_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, done = [0.0], list[str]()

    def made(name: str) -> Names:
        now[0] += 0.2
        done.append(name)
        return Names(tmp_path)

    with opened(tmp_path) as journal:
        monkeypatch.setattr(journal_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
        journal._database.set_trace_callback(done.append)
        with held(journal):
            waiting = await begun(journal.append_with(partial(made, f"bank-{n:02d}"), event(n)) for n in (1, 2, 3))
        await asyncio.gather(*waiting)
        journal._database.set_trace_callback(None)
    assert [one for one in done if one.startswith(("bank", "COMMIT"))] == [
        "bank-01", "bank-02", "COMMIT", "bank-03", "COMMIT",
    ]  # fmt: skip


async def test_a_journal_that_can_be_read_is_not_taken_for_one_that_can_be_written(tmp_path: Path) -> None:
    def fails() -> Names:
        raise OSError("No space left on device")

    with opened(tmp_path) as journal:
        await journal.append(event(1))
        head = journal.tail[1]
        journal._recent.clear()  # as of an entry that is long ago
        with pytest.raises(NotStored):
            await journal.append_with(fails, event(2))
        assert len(await journal.read(0)) == 1
        assert (await journal.receipt(1)).entry
        assert await journal.holds(1, head), "as a bank asks that comes back"
        assert journal._writer.failure == "No space left on device"


async def test_of_a_crowd_64_are_stored_together(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        statements: list[str] = []
        journal._database.set_trace_callback(statements.append)
        with held(journal):
            waiting = await begun(journal.append(event(number)) for number in range(1, 101))
        entries = await asyncio.gather(*waiting)
        journal._database.set_trace_callback(None)
        assert [entry.sequence for entry in entries] == list(range(1, 101))
        assert statements.count("COMMIT") == 2


async def test_a_listener_that_fails_and_an_event_that_no_entry_has_are_their_own_callers_alone(tmp_path: Path) -> None:
    def listens(entry: history_pb2.Entry) -> None:
        if entry.seat_absent.fencing_number == 2:
            raise ValueError("of entry 2")

    with opened(tmp_path) as journal:
        await journal.replay(listens)
        with held(journal):
            waiting = await begun(journal.append(one) for one in (event(1), event(2), event(3), history_pb2.Entry()))
        async with asyncio.timeout(DEADLINE):
            heard = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in heard] == [history_pb2.Entry, ValueError, history_pb2.Entry, KeyError]
        assert [entry.sequence for entry in await journal.read(0)] == [1, 2, 3]


async def test_when_the_disk_fails_each_caller_hears_it_and_only_who_insists_is_stored_later(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        with held(journal):
            change(tmp_path, "ALTER TABLE entries RENAME TO elsewhere")
            calls = (
                journal.append(event(1)),
                journal.append(event(2)),
                journal.insist(event(3)),
                journal.append(event(4)),
            )
            one, two, insisting, four = await begun(calls)
        refused = await asyncio.gather(one, two, four, return_exceptions=True)
        assert [type(one) for one in refused] == [NotStored] * 3
        change(tmp_path, "ALTER TABLE elsewhere RENAME TO entries")
        assert (await insisting).sequence == 1
        assert (await journal.append(event(5))).sequence == 2
    assert [history_pb2.Entry.FromString(data).seat_absent.fencing_number for _, data, _ in rows(tmp_path)] == [3, 5]
