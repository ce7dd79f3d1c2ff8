"""`verify` accepts an honest folder and names the fault in each kind of tampering, an insider's with the key too."""

import hashlib
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import model
from fedfraud.chain import next_head, sign
from fedfraud.errors import Misconfigured
from fedfraud.v1 import history_pb2
from fedfraud.wire import manifest_from_proto, run_state_from_proto, run_state_to_proto
from services.aggregator.journal_file import read_lines
from services.aggregator.verify import verify
from tests.federation import journals
from tests.federation.hands import pair

Entries = list[history_pb2.Entry]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an aggregator after a run of two banks and two training rounds, contributions kept."""
    home = tmp_path_factory.mktemp("honest")
    async with pair(home, rounds=2, retention_hours=1.0) as network:
        for _ in range(3):
            await network.answer()
        for bank, upload in zip(network.banks, network.good(), strict=True):
            await bank.submit(upload.messages)
        while (await network.banks[0].next()).WhichOneof("message") != "run_ended":
            pass
    return home / "aggregator"


@pytest.fixture
def folder(honest: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    shutil.copytree(honest, tmp_path / "aggregator")
    return tmp_path / "aggregator"


def change(folder: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(folder / "journal.sqlite3")) as database, database:
        database.execute(statement, values)


def rewritten(folder: Path, edit: Callable[[Entries], Entries], key: Ed25519PrivateKey | None = None) -> None:
    """The journal with other entries, chained anew and signed: by the aggregator's own key, unless another is given."""
    key = key or Ed25519PrivateKey.from_private_bytes((folder / "authority" / "journal.key").read_bytes())
    entries, head = edit(journals.entries(folder)), b""
    change(folder, "DELETE FROM entries")
    for number, entry in enumerate(entries, 1):
        entry.sequence = number
        data = entry.SerializeToString(deterministic=True)
        head = next_head(head, data)
        change(folder, "INSERT INTO entries VALUES (?, ?, ?, ?)", number, data, head, sign(key, head))


def committed(folder: Path) -> list[history_pb2.RoundCommitted]:
    return journals.events(folder, "round_committed")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def model_of(folder: Path, number: int) -> Path:
    sha256 = committed(folder)[number - 1].model.vector_sha256
    return folder / "vectors" / "models" / f"{sha256.hex()}.f32"


def of_run(folder: Path, name: str) -> Path:
    return folder / "vectors" / committed(folder)[0].key.run_id / name


def faults(folder: Path) -> str:
    return "\n".join(verify(folder).faults)


def test_an_honest_folder_is_accepted_to_the_last_depth(folder: Path) -> None:
    found = verify(folder)
    assert found.faults == []
    assert found.entries == len(journals.entries(folder))
    assert [(depth.step, depth.contributions, depth.sum, depth.model) for depth in found.rounds] == [
        ("preparing", "added again", "recomputed", "from sum, seed"),
        ("1/2", "added again", "recomputed", "from sum"),
        ("2/2", "added again", "recomputed", "from sum"),
        ("final", "added again", "recomputed", "unchanged"),
    ]
    assert found.text.endswith("verified: nothing is amiss")
    run_id = committed(folder)[0].key.run_id
    assert f"ends     with entry {found.entries}, head {found.head.hex()}; run {run_id} has ended" in found.text


def test_entries_that_were_seen_once_and_taken_off_the_end_are_named(folder: Path) -> None:
    before = verify(folder)
    seen = before.entries, before.head
    assert verify(folder, seen).faults == []
    assert verify(folder, (1, journal_heads(folder)[0])).faults == []
    last = [e.sequence for e in journals.entries(folder) if e.WhichOneof("event") == "run_finished"][-1]
    change(folder, "DELETE FROM entries WHERE sequence >= ?", last)
    after = verify(folder)
    assert after.faults == []
    assert after.end.endswith("has not ended, and no round of it is open")
    (fault,) = verify(folder, seen).faults
    assert fault.startswith(f"a journal must hold what was seen of it, entry {seen[0]} with the head ")
    assert fault.endswith(f": this one of {last - 1} entries does not")


def journal_heads(folder: Path) -> list[bytes]:
    return [line.head for line in read_lines(folder / "journal.sqlite3")]


def test_without_the_contributions_it_says_that_the_sums_are_only_whole(folder: Path) -> None:
    for number in (1, 2, 3, 4):
        shutil.rmtree(of_run(folder, f"0000{number}-1"))
    found = verify(folder)
    assert found.faults == []
    assert {(depth.contributions, depth.sum) for depth in found.rounds} == {("not kept", "whole")}


def an_altered_entry(folder: Path) -> str:
    data = bytearray(journals.entries(folder)[6].SerializeToString(deterministic=True))
    data[-1] ^= 1
    change(folder, "UPDATE entries SET entry = ? WHERE sequence = 7", bytes(data))
    return "entry 7: a head must follow from the entry and the head before it, it does not"


def an_altered_head(folder: Path) -> str:
    change(folder, "UPDATE entries SET head = ? WHERE sequence = 7", bytes(32))
    return "entry 7: a head must follow from the entry and the head before it, it does not"


def an_altered_signature(folder: Path) -> str:
    change(folder, "UPDATE entries SET signature = ? WHERE sequence = 7", bytes(64))
    return "entry 7: a head must be signed by the federation's aggregator, it is not"


def a_removed_entry(folder: Path) -> str:
    change(folder, "DELETE FROM entries WHERE sequence = 7")
    return "entry 7: a head must follow from the entry and the head before it, it does not"


def two_entries_that_changed_places(folder: Path) -> str:
    for number, to in ((7, 700), (8, 7), (700, 8)):
        change(folder, "UPDATE entries SET sequence = ? WHERE sequence = ?", to, number)
    return "entry 7: a head must follow from the entry and the head before it, it does not"


def a_chain_made_anew_without_the_key(folder: Path) -> str:
    rewritten(folder, lambda entries: entries[:6] + entries[7:], Ed25519PrivateKey.generate())
    return "entry 1: a head must be signed by the federation's aggregator, it is not"


def an_altered_sum(folder: Path) -> str:
    flip(of_run(folder, "00002-1.sum.u64"))
    return "the sum of "


def a_missing_sum(folder: Path) -> str:
    of_run(folder, "00003-1.sum.u64").unlink()
    return "must be on disk, 00003-1.sum.u64 is missing"


def an_altered_contribution(folder: Path) -> str:
    flip(of_run(folder, "00002-1") / "bank-02.u64")
    return "the contribution of bank-02 to "


def an_altered_model(folder: Path) -> str:
    flip(model_of(folder, 2))
    return f"{model_of(folder, 2).name} has "


def two_models_that_changed_places(folder: Path) -> str:
    first, second = model_of(folder, 2), model_of(folder, 3)
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    return f"{first.name} has "


def an_altered_momentum(folder: Path) -> str:
    flip(of_run(folder, "00002-1.velocity.f64"))
    return "the momentum after "


def entries_taken_off_the_end(folder: Path) -> str:
    last = [e.sequence for e in journals.entries(folder) if e.WhichOneof("event") == "round_opened"][-1]
    change(folder, "DELETE FROM entries WHERE sequence >= ?", last)
    return "00004-1.sum.u64: a vector must be one that the journal names, this is none"


def a_model_that_nobody_made(folder: Path) -> str:
    (folder / "vectors" / "models" / f"{'ab' * 32}.f32").write_bytes(b"four")
    return f"{'ab' * 32}.f32: a vector must be one that the journal names, this is none"


def a_file_that_is_no_vector(folder: Path) -> str:
    of_run(folder, "notes").write_text("mine")
    return "notes: a vector must be one that the journal names, this is none"


def a_contribution_of_a_seat_that_was_not_asked(folder: Path) -> str:
    (of_run(folder, "00002-1") / "bank-99.u64").write_bytes(bytes(8))
    return "bank-99.u64: a vector must be one that the journal names, this is none"


def a_contribution_to_a_round_that_was_none(folder: Path) -> str:
    stray = folder / "vectors" / "other" / "00001-1"
    stray.mkdir(parents=True)
    (stray / "bank-01.u64").write_bytes(bytes(8))
    return "bank-01.u64: a vector must be one that the journal names, this is none"


def a_seat_left_out_of_the_sum_by_an_insider(folder: Path) -> str:
    def edit(entries: Entries) -> Entries:
        rounds = [entry for entry in entries if entry.WhichOneof("event") == "round_committed"]
        del rounds[1].round_committed.seats[0]
        return entries

    rewritten(folder, edit)
    return "the seats of a sum must be ['bank-01', 'bank-02'], got ['bank-02']"


def another_model_put_in_by_an_insider(folder: Path) -> str:
    """Hashes, chain and signatures all hold: only the arithmetic does not."""
    started = journals.events(folder, "run_started")[0]
    manifest = manifest_from_proto(started.manifest)
    state = run_state_from_proto(committed(folder)[0].run_state, manifest)
    vector = model.from_bytes(model_of(folder, 3).read_bytes(), manifest) + 1
    former, data = model_of(folder, 3), model.to_bytes(vector)
    vector_sha256 = hashlib.sha256(data).digest()
    (former.parent / f"{vector_sha256.hex()}.f32").write_bytes(data)
    former.unlink()
    named = model.model_sha256(manifest, state, vector)

    def edit(entries: Entries) -> Entries:
        for entry in entries:
            match entry.WhichOneof("event"):
                case "round_committed" if entry.round_committed.key.round >= 3:
                    entry.round_committed.model.vector_sha256 = vector_sha256
                    entry.round_committed.model.model_sha256 = named
                case "round_opened" if entry.round_opened.key.round == 4:
                    entry.round_opened.model_sha256 = named
                case "run_finished":
                    entry.run_finished.model_sha256 = named
        return entries

    rewritten(folder, edit)
    return "a model must be what its sum makes of the former one, "


def rounds_in_another_order_by_an_insider(folder: Path) -> str:
    def edit(entries: Entries) -> Entries:
        opened = [i for i, entry in enumerate(entries) if entry.WhichOneof("event") == "round_opened"]
        second, third, fourth = opened[1:4]
        return entries[:second] + entries[third:fourth] + entries[second:third] + entries[fourth:]

    rewritten(folder, edit)
    return "rounds, one after the other, must be 2, got 3"


def better_scores_by_an_insider(folder: Path) -> str:
    def edit(entries: Entries) -> Entries:
        rounds = [entry for entry in entries if entry.WhichOneof("event") == "round_committed"]
        rounds[2].round_committed.pooled.average_precision = 0.99
        return entries

    rewritten(folder, edit)
    return "a round's pooled average_precision must be what its sum gives, "


def a_better_curve_by_an_insider(folder: Path) -> str:
    def edit(entries: Entries) -> Entries:
        final = [entry for entry in entries if entry.WhichOneof("event") == "round_committed"][-1]
        point = final.round_committed.pooled_curve[-1]
        assert point.hit_count < point.alert_count
        point.hit_count += 1
        return entries

    rewritten(folder, edit)
    return "alerts and hits of "


TAMPERINGS: list[Callable[[Path], str]] = [
    an_altered_entry,
    an_altered_head,
    an_altered_signature,
    a_removed_entry,
    two_entries_that_changed_places,
    a_chain_made_anew_without_the_key,
    an_altered_sum,
    a_missing_sum,
    an_altered_contribution,
    an_altered_model,
    two_models_that_changed_places,
    an_altered_momentum,
    entries_taken_off_the_end,
    a_model_that_nobody_made,
    a_file_that_is_no_vector,
    a_contribution_of_a_seat_that_was_not_asked,
    a_contribution_to_a_round_that_was_none,
    a_seat_left_out_of_the_sum_by_an_insider,
    another_model_put_in_by_an_insider,
    rounds_in_another_order_by_an_insider,
    better_scores_by_an_insider,
    a_better_curve_by_an_insider,
]


@pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda tamper: tamper.__name__)
def test_a_tampering_is_found_and_named(folder: Path, tamper: Callable[[Path], str]) -> None:
    sentence = tamper(folder)
    assert sentence in faults(folder)
    assert "FAULT" in verify(folder).text


def test_any_altered_byte_of_any_vector_is_found(folder: Path) -> None:
    vectors = [path for path in sorted((folder / "vectors").rglob("*")) if path.is_file()]
    assert len(vectors) == 4 * 2 + 4 + 2 + 3  # contributions, sums, momenta, models
    for path in vectors:
        content = path.read_bytes()
        flip(path)
        assert faults(folder), path.name
        path.write_bytes(content)
    assert faults(folder) == ""


@pytest.mark.parametrize("counters", [b"", bytes(range(32))], ids=["a scaler", "counters"])
def test_a_further_run_on_sums_that_no_run_opened_is_named(folder: Path, counters: bytes) -> None:
    first = journals.events(folder, "run_started")[0]
    manifest = manifest_from_proto(first.manifest)
    state = run_state_from_proto(committed(folder)[0].run_state, manifest)
    vector = model.initial_vector(manifest, 99)
    path = folder / "vectors" / "models" / f"{hashlib.sha256(model.to_bytes(vector)).hexdigest()}.f32"
    path.write_bytes(model.to_bytes(vector))
    sentence = "a run state must come from a run's own sums, or be that of a former run, this one is not"
    for made_up in (False, True):
        told = replace(state, means=tuple(mean + 1 for mean in state.means)) if made_up and not counters else state
        begun = history_pb2.RunStarted()
        begun.CopyFrom(first)
        begun.run_id, begun.seed = f"9999-{made_up}", 99
        begun.run_state.CopyFrom(run_state_to_proto(told))
        begun.model.vector_sha256 = bytes.fromhex(path.stem)
        begun.model.model_sha256 = model.model_sha256(manifest, told, vector)
        begun.counters_sha256 = counters if made_up else b""
        ended = history_pb2.RunFinished(run_id=begun.run_id, model_sha256=begun.model.model_sha256)
        more = [history_pb2.Entry(run_started=begun), history_pb2.Entry(run_finished=ended)]
        rewritten(folder, lambda entries, more=more: [*entries, *more])  # type: ignore[misc]  # mypy cannot type a lambda's default
        if not made_up:
            assert faults(folder) == ""
    assert (sentence if not counters else "counters must be those of a former run, 000102030405 are not") in faults(
        folder
    )


@pytest.mark.parametrize("left", [0, 1])
def test_verify_leaves_alone_what_lies_beside_an_empty_journal(folder: Path, left: int) -> None:
    """SQLite would remove the -wal beside it, which may hold all that is needed."""
    (folder / "journal.sqlite3").write_bytes(bytes(left))
    wal = folder / "journal.sqlite3-wal"
    wal.write_bytes(b"what may still be of use")
    with pytest.raises(Misconfigured, match=r"^a journal must be a file that is not empty, "):
        verify(folder)
    assert wal.read_bytes() == b"what may still be of use"


def test_a_folder_without_a_journal_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"^an aggregator's folder must hold its CA: No such file or directory, "):
        verify(tmp_path)
