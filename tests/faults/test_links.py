"""Bad lines between banks and aggregator: cut, half-open, narrow, partitioned, slow; the run goes on or waits."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest

from fedfraud import channel
from fedfraud.transactions import TUTORIAL
from services.bank_client.dataset import Rows, write
from services.bank_client.enrol import ensure_enrolled
from services.bank_client.participant import BankClient
from services.bank_client.settings import Settings
from simulation import tutorial
from tests.faults.bad_lines import BANKS, ROUNDS, SEED, counted_once, cut_uploads, handshake_storm, slow_loris
from tests.faults.links import Cut, Links, Way
from tests.federation.hands import aggregator
from tests.federation.networks import FINISHED, network
from tests.federation.waiting import until, wait_for

UP = [0, 1, 517, 2_000, 2_500, 16_384, 65_536, 80_000, 84_000, 85_000]  # a bank's 2,100 bytes of TLS come first
DOWN = [0, 1, 1_000, 3_150, 3_300, 5_000, 6_000, 21_000, 22_000, 23_000]  # an aggregator's 3,150, then the welcome


@pytest.mark.parametrize(("way", "edges"), [(Way.UP, UP), (Way.DOWN, DOWN)], ids=["upwards", "downwards"])
def test_a_line_that_is_cut_after_any_byte_costs_nothing(tmp_path: Path, way: Way, edges: list[int]) -> None:
    cut_uploads([Cut(way, after) for after in edges], tmp_path)


async def test_a_half_open_connection_is_noticed_at_both_ends_and_the_bank_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every time of the keepalive a twentieth of what it is: 1.5 s for 30."""
    for name in ("_SERVER", "_CLIENT"):
        options = [(key, value // 20 if _is_of_keepalive(key) else value) for key, value in getattr(channel, name)]
        monkeypatch.setattr(channel, name, options)
    with Links() as links:
        async with aggregator(tmp_path) as running:
            link, stop = links.link(running.address), asyncio.Event()
            settings = Settings(
                aggregator=link.address,
                enrolment=running.enrolment_address,
                join_dir=running.settings.join_dir / "bank",
                data_dir=tmp_path / "bank",
            )
            await ensure_enrolled(settings)
            write(settings.data_dir / "dataset.parquet", Rows(*tutorial.shard(SEED, 1)), TUTORIAL)
            bank = asyncio.create_task(BankClient(settings, stop).serve())
            await until(lambda: running.events("lease_granted"), "the bank joins")
            link.refusing = True  # so that the aggregator has to notice by itself
            link.lose()
            await until(lambda: running.events("seat_absent"), "the aggregator notices", 10.0)
            await until(lambda: len(link.connections) > 1, "the bank notices", 10.0)
            link.heal()
            await until(lambda: len(running.events("lease_granted")) == 2, "the bank comes back")
            stop.set()
            assert await bank == 0


def _is_of_keepalive(option: str) -> bool:
    return re.fullmatch(r"grpc\.(keepalive_.*|http2\.(ping_timeout|min_ping_interval.*))_ms", option) is not None


def test_a_bank_that_is_partitioned_past_the_deadline_is_left_out_and_comes_back(tmp_path: Path) -> None:
    with Links() as links, network(tmp_path, expected_banks=3, quorum=2, round_deadline=1.5) as present:
        for number in (1, 2, 3):
            present.give_rows(number, 1000)
        present.start_aggregator()
        link = links.link(present.address)
        present.start_banks(1, 2)
        present.start_banks(3, aggregator=link.address)
        run_id = present.start_run("--rounds", "10000")
        present.wait("round_committed", lambda event: event.step == 1)
        link.hold()
        missed = present.wait("round_committed", lambda event: len(event.seats) == 2, "without the third bank")
        later = present.wait("round_committed", lambda event: event.key.round == missed.key.round + 2)
        assert later.seconds < 1.5  # it is not waited for again
        link.heal()
        back = present.wait(
            "round_committed", lambda event: event.key.round > later.key.round and len(event.seats) == 3
        )
        assert list(back.seats) == ["bank-01", "bank-02", "bank-03"]
        assert present.operate("stop")[0] == 0
        present.run_ended(run_id)
        counted = [(event.key.round, event.seat) for event in present.events("contribution_accepted")]
        assert len(counted) == len(set(counted))


def test_a_run_completes_over_long_and_narrow_lines_with_the_same_bits(tmp_path: Path) -> None:
    with Links() as links, network(tmp_path, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        long, narrow = links.link(present.address), links.link(present.address)
        long.latency = 0.2
        narrow.rate = 200_000.0
        present.start_banks(1)
        present.start_banks(2, aggregator=long.address)
        present.start_banks(3, aggregator=narrow.address)
        present.start_run()
        counted_once(present)
        assert len(long.connections) == len(narrow.connections) == 1  # neither was given up in between


def test_an_upload_that_is_slower_than_the_stall_timeout_but_never_stalls_is_taken(tmp_path: Path) -> None:
    """82 KB at 50 KB/s take 1.6 s; each piece of 16 KiB takes 0.3."""
    with Links() as links, network(tmp_path, expected_banks=1, quorum=1, rounds=1, stall_timeout=1.0) as present:
        present.give_rows(1, 300)
        present.start_aggregator()
        link = links.link(present.address)
        link.rate = 50_000.0
        present.start_banks(1, aggregator=link.address)
        assert present.run_ended(present.start_run()).outcome == FINISHED
        assert not present.events("contribution_refused")


def test_slow_strangers_hold_nobody_up_and_are_dropped(tmp_path: Path) -> None:
    slow_loris(tmp_path)


def test_a_storm_of_handshakes_harms_nobody(tmp_path: Path) -> None:
    """gRPC 1.85 crashed in one of some thousand when it was given its certificate anew for each."""
    handshake_storm(tmp_path, 300)


def test_banks_whose_connections_are_reset_again_and_again_come_back_less_and_less_often_and_not_in_step(
    tmp_path: Path,
) -> None:
    limit, attempts = 0.5, 10
    with Links() as links, network(tmp_path, expected_banks=3, rounds=1) as present:
        present.start_aggregator()
        made = [links.link(present.address) for _ in range(3)]
        for number, link in enumerate(made, start=1):
            present.give_rows(number, 300)
            present.start_banks(number, aggregator=link.address, retry_limit=limit)
        began = time.monotonic()
        for link in made:
            link.refusing = True
            link.reset()
        wait_for(lambda: all(len(link.connections) > attempts for link in made), "the banks try again and again")
        for link in made:
            tries = [connection.began for connection in list(link.connections)[1:]]
            # The pauses are at least 0.1 and 0.2 s, then half of the limit: what is more than that is a hot loop.
            assert len(tries) <= 3 + (tries[-1] - began) / (limit / 2)
            gaps = [later - sooner for sooner, later in pairwise(tries)]
            assert len({round(gap, 2) for gap in gaps[2:]}) > 3, f"the pauses must differ, got {gaps}"
            link.heal()
        assert present.run_ended(present.start_run()).outcome == FINISHED


async def test_strangers_who_take_up_every_call_to_the_enrolment_port_lose_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a connection's longest life a twentieth of what it is: 1 s for 20, and half a second to end its calls."""
    lives = [(key, value // 20 if "_age_" in key else value) for key, value in channel._ENROLMENT]
    monkeypatch.setattr(channel, "_ENROLMENT", lives)

    async def never() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    async with aggregator(tmp_path) as running, AsyncExitStack() as strangers:
        calls: list[Any] = []
        for _ in range(16):
            line = channel.enrolment_channel(running.enrolment_address, running.join().ca_pem)
            await strangers.enter_async_context(line)
            enrol: Any = line.stream_unary("/fedfraud.v1.EnrolmentService/Enrol")
            calls += [enrol(never()) for _ in range(16)]
        ends = await asyncio.wait_for(asyncio.gather(*(call.code() for call in calls)), 20.0)
        assert set(ends) <= {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
        response, _ = await running.enrol()
        assert response.seat == "bank-01"
