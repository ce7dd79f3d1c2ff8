"""SIGKILL of the aggregator while it takes a closed round's files away: the next round is open already.

The crash points are the writer thread's; here other threads are at work, and strace slows the calls that they make.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import uvloop

from benchmarks import stand_in
from fedfraud.channel import KeyPair
from fedfraud.manifest import Manifest
from fedfraud.transactions import TUTORIAL
from fedfraud.v1 import federation_pb2, history_pb2
from fedfraud.wire import round_key_from_proto
from services.aggregator.settings import Settings
from services.aggregator.verify import verify
from tests.conftest import say_lacking
from tests.faults.campaign import Campaign
from tests.faults.strace import CannotTrace, attached
from tests.federation.hands import Aggregator, HandBank, Request, Upload
from tests.federation.waiting import until

BANKS, ROUNDS = 3, 3
PREPARING, TRAINING = 1, 2
"""The first rounds."""
LARGE = Manifest("tutorial", TUTORIAL, (512, 512))
"""Its updates are more than a MiB: they arrive in files, and the next round's are written over them."""
_SLOW, _MICROSECONDS = ("rename", "unlinkat", "rmdir"), 400_000
"""Large files become spare by the first, the small ones' file goes by the second, its folder by the third; how much
longer each takes."""


class Place:
    """The contributions of one round on the aggregator's disk, and what became of them."""

    def __init__(self, folder: Path, number: int) -> None:
        self._vectors = folder / "aggregator" / "vectors"
        self._round = f"*/{number:05d}-1"

    def stands(self, there: int, spare: int, folder: bool) -> bool:
        """Whether so many are there, so many files are spare, and their folder is there."""
        found = len(list(self._vectors.glob(f"{self._round}/*"))), len(list(self._vectors.glob("arriving/*")))
        return (*found, self.there) == (there, spare, folder)

    @property
    def there(self) -> bool:
        """Whether anything of them is where it was."""
        return bool(list(self._vectors.glob(self._round)))


Point: TypeAlias = Callable[[Place, list[HandBank]], Awaitable[None]]


async def nobody_has_answered(there: int, spare: int, folder: bool, at: Place, banks: list[HandBank]) -> None:
    """The next round is open, and so much of the former's files is left."""
    await asyncio.gather(*(bank.round() for bank in banks))
    await until(lambda: at.stands(there, spare, folder), f"{there} files are there, {spare} spare")


async def one_has_answered(at: Place, banks: list[HandBank]) -> None:
    """The next round has an answer that is acknowledged."""
    await _answer(banks[0], await banks[0].round())
    assert at.there, "the former round's files are being taken away"


async def files_are_written_over(at: Place, banks: list[HandBank]) -> None:
    """Of the next round one answer is acknowledged, and another half there: both are in the former round's files."""
    told = await asyncio.gather(*(bank.round() for bank in banks))
    await until(lambda: at.stands(0, BANKS, folder=False), "all files are spare")
    await _answer(banks[0], told[0])
    messages, half_there = _upload(banks[1], told[1]).messages, asyncio.Event()

    async def half() -> AsyncIterator[Request]:
        for message in messages[: len(messages) // 2 + 1]:
            yield message
        half_there.set()
        await asyncio.Event().wait()

    sending = asyncio.create_task(banks[1].submit(half()))
    await half_there.wait()
    await until(lambda: at.stands(0, BANKS - 1, folder=False), "two of the three files are without a name that counts")
    sending.cancel()


POINTS: tuple[tuple[int, Point], ...] = (
    *((PREPARING, partial(nobody_has_answered, there, 0, True)) for there in (1, 0)),
    *((TRAINING, partial(nobody_has_answered, BANKS - spare, spare, True)) for spare in range(BANKS + 1)),
    (TRAINING, partial(nobody_has_answered, 0, BANKS, False)),
    (TRAINING, one_has_answered),
    (TRAINING, files_are_written_over),
)
"""After which round, and when."""


def trial(number: int, folder: Path) -> None:
    """Kills at one point. The next process goes on with what was acknowledged, and nothing else is left on disk."""
    assert uvloop.run(_killed_and_finished(folder, *POINTS[number])) == _undisturbed()
    found = verify(folder / "aggregator")
    assert not found.faults, found.text
    vectors = folder / "aggregator" / "vectors"
    assert not [path for path in vectors.glob("*/*-*") if path.is_dir()], "folders of rounds that are over"
    assert not list(vectors.glob("arriving/*"))


@cache
def _undisturbed() -> str:
    with TemporaryDirectory() as folder:
        return uvloop.run(_finished_at_once(Path(folder)))


async def _finished_at_once(folder: Path) -> str:
    async with _serving(folder) as (_, aggregator), _joined(aggregator, await _enrolled(aggregator)) as banks:
        return await _finished(aggregator, banks)


async def _killed_and_finished(folder: Path, number: int, point: Point) -> str:
    async with _serving(folder) as (pid, aggregator):
        seats = await _enrolled(aggregator)
        async with _joined(aggregator, seats) as banks:
            for _ in range(1, number):
                await asyncio.gather(*(_answer_next(bank) for bank in banks))
            await _killed(pid, folder, banks, partial(point, Place(folder, number), banks))
    found = verify(folder / "aggregator")
    assert not found.faults, found.text
    async with _serving(folder) as (_, aggregator), _joined(aggregator, seats) as banks:
        return await _finished(aggregator, banks)


async def _killed(pid: int, folder: Path, banks: list[HandBank], then: Callable[[], Awaitable[None]]) -> None:
    """A round whose files are slow to go, what comes before the kill, and that."""
    told = await asyncio.gather(*(bank.round() for bank in banks))
    inject = f"{','.join(_SLOW)}:delay_enter={_MICROSECONDS}"
    try:
        with attached(pid, _SLOW, folder / "calls", inject, every_thread=True) as tracer:
            await asyncio.gather(*map(_answer, banks, told))
            await then()
            os.kill(pid, signal.SIGKILL)
            tracer.end()
    except CannotTrace as lack:
        say_lacking(f"{lack}: kills while files are taken away are not tried")


async def _finished(aggregator: Aggregator, banks: list[HandBank]) -> str:
    """The hash of the run's model; each bank's answer to each round counts once."""
    await asyncio.gather(*(_take_part(bank) for bank in banks))
    (finished,) = aggregator.events("run_finished")
    assert finished.outcome == history_pb2.RUN_OUTCOME_FINISHED, finished.reason
    accepted = [(round_key_from_proto(one.key).round, one.seat) for one in aggregator.events("contribution_accepted")]
    assert sorted(accepted) == [(number, bank.seat) for number in range(1, ROUNDS + 3) for bank in banks]
    return str(finished.model_sha256.hex())


async def _take_part(bank: HandBank) -> None:
    """Answers what it is asked until the run has ended."""
    while (message := await bank.next()).WhichOneof("message") == "round":
        await _answer(bank, message.round)


async def _answer_next(bank: HandBank) -> None:
    await _answer(bank, await bank.round())


async def _answer(bank: HandBank, told: federation_pb2.RoundInstruction) -> None:
    await bank.submit(_upload(bank, told).messages)


def _upload(bank: HandBank, told: federation_pb2.RoundInstruction) -> Upload:
    number = int(bank.seat.removeprefix("bank-"))
    return bank.upload(told, number / 8, number)


async def _enrolled(aggregator: Aggregator) -> list[tuple[str, KeyPair]]:
    answers = [await aggregator.enrol() for _ in range(BANKS)]
    return [(response.seat, own) for response, own in answers]


@asynccontextmanager
async def _serving(folder: Path) -> AsyncIterator[tuple[int, Aggregator]]:
    """A process of the aggregator on this folder, and how it is reached."""
    async with stand_in.aggregator(folder, LARGE, BANKS, rounds=ROUNDS) as serving:
        settings = Settings(data_dir=folder / "aggregator", join_dir=folder / "join")
        yield serving.pid, Aggregator(settings, serving.address, serving.enrolment_address)


@asynccontextmanager
async def _joined(aggregator: Aggregator, seats: list[tuple[str, KeyPair]]) -> AsyncIterator[list[HandBank]]:
    async with AsyncExitStack() as stack:
        banks = []
        for seat, own in seats:
            banks.append(HandBank(seat, own, await stack.enter_async_context(aggregator.channel(own))))
            await banks[-1].join()
        yield banks


CAMPAIGN = Campaign(
    "forgetting",
    "an aggregator killed while it takes a closed round's files away loses nothing and leaves none; same model",
    lambda: len(POINTS),
    3,
    trial,
)
