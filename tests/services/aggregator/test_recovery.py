"""Files that a run's progress names: what is not as the journal says is refused at the start."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from services.aggregator.gathered import Gathered
from services.aggregator.progress import Progress
from services.aggregator.recovery import check_counters
from services.aggregator.server import serve
from services.aggregator.vectors import Vectors
from tests.federation.hands import Aggregator, HandBank, Pair, aggregator, pair
from tests.federation.waiting import until
from tests.services.aggregator.test_progress import started


def test_counters_are_held_to_their_hash_before_a_bank_is_asked(tmp_path: Path) -> None:
    vectors = Vectors(tmp_path)
    vectors.prepare()
    sha256 = vectors.write_counters(bytes(64))
    run = Progress.begun(started("second", counters_sha256=sha256))
    check_counters(run, vectors)
    check_counters(Progress.begun(started("first")), vectors)
    vectors.counters(sha256).write_bytes(bytes(63) + b"1")
    with pytest.raises(Misconfigured, match=r"^summed counters must have the hash that the journal says, .* another$"):
        check_counters(run, vectors)
    vectors.counters(sha256).unlink()
    with pytest.raises(Misconfigured, match=r"^summed counters must be on disk: No such file or directory, "):
        check_counters(run, vectors)


def whole_but_for_a_byte(gathered: Path) -> None:
    data = bytearray(gathered.read_bytes())
    data[100] ^= 1
    gathered.write_bytes(data)


def a_folder(gathered: Path) -> None:
    gathered.unlink()
    gathered.mkdir()


@pytest.mark.parametrize(
    ("damage", "refusal"),
    [
        (
            whole_but_for_a_byte,
            r"^an accepted contribution must have the hash of its receipt, .* of bank-01 in .*gathered$",
        ),
        (Path.unlink, r"^an accepted contribution must be on disk: No such file or directory, .*bank-01\.u64$"),
        (a_folder, r"^an accepted contribution must be on disk: Is a directory, .*gathered$"),
    ],
)
async def test_an_accepted_contribution_that_is_not_whole_on_disk_is_refused_at_the_start(
    tmp_path: Path, damage: Callable[[Path], None], refusal: str
) -> None:
    async with pair(tmp_path) as network:
        (one, _), (first, second) = network.good(), network.banks
        await first.submit(one.messages)
    (gathered,) = (tmp_path / "aggregator" / "vectors").glob("*/00001-1/gathered")
    whole = gathered.read_bytes()
    damage(gathered)
    with pytest.raises(Misconfigured, match=refusal):
        await serve(network.aggregator.settings, asyncio.Event())
    if gathered.is_dir():
        gathered.rmdir()
    gathered.write_bytes(whole)
    async with AsyncExitStack() as stack:
        again = await stack.enter_async_context(aggregator(tmp_path))
        bank = HandBank(second.seat, second.own, await stack.enter_async_context(again.channel(second.own)))
        await bank.join()
        instruction = await bank.round()
        await bank.submit(bank.upload(instruction, 4.0, 3).messages)
        await until(lambda: len(again.events("round_committed")) == 1, "the round is committed with both")


async def test_a_start_cuts_off_what_a_former_process_wrote_and_has_no_receipt_for(tmp_path: Path) -> None:
    async with pair(tmp_path) as network:
        (one, _), (first, _) = network.good(), network.banks
        await first.submit(one.messages)
    (path,) = (tmp_path / "aggregator" / "vectors").glob("*/00001-1/gathered")
    whole = path.read_bytes()
    Gathered(path).append("bank-02", b"the disk may have refused this, and it can be read all the same")
    async with aggregator(tmp_path):
        assert path.read_bytes() == whole


async def back(again: Aggregator, banks: tuple[HandBank, HandBank], stack: AsyncExitStack) -> Pair:
    """The same two banks with an aggregator that was started again, in the round that is open."""
    one, two = [HandBank(b.seat, b.own, await stack.enter_async_context(again.channel(b.own))) for b in banks]
    await one.join()
    await two.join()
    instruction, _ = await one.round(), await two.round()
    return Pair(again, (one, two), instruction)


async def test_a_started_process_trains_on_from_the_model_that_it_finds_on_disk(tmp_path: Path) -> None:
    async with pair(tmp_path / "undisturbed", rounds=2) as network:
        for _ in range(3):
            await network.answer()
        expected = network.models
    async with pair(tmp_path / "disturbed", rounds=2) as network:
        for _ in range(2):
            await network.answer()
    async with AsyncExitStack() as stack:
        again = await stack.enter_async_context(aggregator(tmp_path / "disturbed"))
        network = await back(again, network.banks, stack)
        assert network.instruction.step == 2
        await network.answer()
        assert network.models == expected
    assert len(set(expected)) == 3
