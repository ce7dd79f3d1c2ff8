"""Following a real aggregator over mutual TLS: through restarts, renewals, revocation and another network."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from services.reporter.facts import RunFacts
from services.reporter.follow import follow
from services.reporter.settings import Settings
from tests.services.reporter.aggregators import Network, network, until
from tests.services.reporter.journals import RUN, two_banks


@dataclass
class Seen:
    """What a follower handed on."""

    runs: list[str] = field(default_factory=list)
    serving: list[bool] = field(default_factory=list)

    async def run(self, run: RunFacts, _: object) -> None:
        self.runs.append(run.run.id)

    async def health(self, serving: bool) -> None:
        self.serving.append(serving)


@contextlib.asynccontextmanager
async def following(home: Network) -> AsyncIterator[Seen]:
    settings = Settings(
        aggregator=f"127.0.0.1:{home.port}",
        enrolment=f"127.0.0.1:{home.enrolment_port}",
        join_dir=home.join / "reporter",
    )
    seen = Seen()
    task = asyncio.create_task(follow(settings, seen.run, seen.health))
    try:
        yield seen
        assert not task.done(), "following never ends by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_run_of_the_past_and_a_run_that_happens_are_both_seen(tmp_path: Path) -> None:
    home = network(tmp_path)
    await home.tell(two_banks())
    async with home.up(), following(home) as seen:
        await until(lambda: seen.runs == [RUN])
        run = await home.start_run()
        await until(lambda: seen.runs == [RUN, run])
        assert seen.serving == [True]


async def test_the_reporter_may_start_before_the_aggregator_has_a_join_folder(tmp_path: Path) -> None:
    home = network(tmp_path)
    await home.tell(two_banks())
    async with following(home) as seen:
        await until(lambda: False in seen.serving)
        async with home.up():
            await until(lambda: seen.runs == [RUN])


async def test_after_a_restart_of_the_aggregator_following_goes_on_where_it_was(tmp_path: Path) -> None:
    home = network(tmp_path)
    await home.tell(two_banks())
    async with following(home) as seen:
        async with home.up():
            await until(lambda: seen.runs == [RUN])
        await until(lambda: seen.serving[-1] is False)
        await home.tell(two_banks(run="second"))
        async with home.up():
            await until(lambda: seen.runs == [RUN, "second"])
            assert seen.serving[-1] is True


async def test_a_certificate_is_renewed_before_it_expires(tmp_path: Path) -> None:
    home = network(tmp_path, reporter_hours=5 / 3600)
    await home.tell(two_banks())
    async with home.up(), following(home) as seen:
        await until(lambda: len(seen.serving) >= 5)  # up, renewing, up, renewing, up
        assert seen.serving[:5] == [True, False, True, False, True]
        run = await home.start_run()
        await until(lambda: seen.runs[-1] == run)
    assert seen.runs == [RUN, run], "nothing is seen twice"


async def test_a_reporter_whose_certificate_was_revoked_enrols_again(tmp_path: Path) -> None:
    home = network(tmp_path)
    async with home.up(), following(home) as seen:
        await until(lambda: True in seen.serving)
        await home.enrol_another_reporter()
        await until(lambda: seen.serving[-2:] == [False, True])
        run = await home.start_run()
        await until(lambda: seen.runs == [run])


async def test_another_network_at_the_same_place_is_read_from_its_beginning(tmp_path: Path) -> None:
    home = network(tmp_path)
    await home.tell(two_banks())
    async with following(home) as seen:
        async with home.up():
            await until(lambda: seen.runs == [RUN])
        shutil.rmtree(home.data)
        await home.tell(two_banks(run="of-another-network"))
        async with home.up():
            await until(lambda: seen.runs == [RUN, "of-another-network"])


async def test_a_journal_that_was_put_back_to_an_earlier_day_is_read_again(tmp_path: Path) -> None:
    home = network(tmp_path)
    await home.tell(two_banks())
    async with following(home) as seen:
        async with home.up():
            await until(lambda: seen.runs == [RUN])
        for file in home.data.glob("journal.sqlite3*"):
            file.unlink()
        await home.tell(two_banks(run="put-back"))
        async with home.up():
            await until(lambda: seen.runs == [RUN, "put-back"])
