"""A simulated bank's seat and rows, made in a process that is gone when the bank serves."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from services.aggregator.authority import Authority
from services.bank_client.enrol import Enrolment, ensure_enrolled, load_enrolment
from services.bank_client.settings import Settings
from services.bank_client.simulated import in_a_fork, make_bank
from tests.federation.hands import Aggregator, aggregator
from tests.federation.waiting import until

ROOT = Path(__file__).parents[3]
MAKE_AND_LOOK = """
import sys
from services.bank_client.settings import Settings
from services.bank_client.simulated import in_a_fork, make_bank
assert in_a_fork(lambda: make_bank(Settings())) == 0
print(*sorted(name for name in sys.modules if name.startswith("simulation") or "write_shard" in name))
"""


def settings(running: Aggregator, home: Path) -> Settings:
    return Settings(
        enrolment=running.enrolment_address, join_dir=running.settings.join_dir / "bank", data_dir=home / "bank"
    )


def test_a_fork_does_the_work_and_its_status_is_told(tmp_path: Path) -> None:
    def work() -> int:
        (tmp_path / "pid").write_text(str(os.getpid()))
        return 7

    assert in_a_fork(work) == 7
    assert int((tmp_path / "pid").read_text()) != os.getpid()
    assert in_a_fork(lambda: 0) == 0


async def test_a_bank_has_its_seat_and_shard_and_keeps_both(tmp_path: Path) -> None:
    async with aggregator(tmp_path, seed=5) as running:
        own = settings(running, tmp_path)
        assert await asyncio.to_thread(make_bank, own) == 0
        files = {path.name: path.read_bytes() for path in own.data_dir.iterdir()}
        assert {"identity.pem", "dataset.parquet", "holdout.parquet"} < files.keys()
        assert load_enrolment(own.data_dir) == Enrolment("bank-01", 1, "tutorial", 5)
        assert await asyncio.to_thread(make_bank, own) == 0  # as after a restart
        assert {path.name: path.read_bytes() for path in own.data_dir.iterdir()} == files
        assert len(running.events("certificate_issued")) == 1


async def test_what_serves_has_not_imported_the_simulation(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        own = settings(running, tmp_path)
        names = {"DATA_DIR": own.data_dir, "JOIN_DIR": own.join_dir, "ENROLMENT": own.enrolment}
        environment = {"PATH": os.defpath, **{name: str(value) for name, value in names.items()}}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MAKE_AND_LOOK, cwd=ROOT, env=environment, stdout=subprocess.PIPE
        )
        said, _ = await process.communicate()
        assert (process.returncode, said.strip()) == (0, b"")
    assert (own.data_dir / "dataset.parquet").exists()


@pytest.mark.parametrize("lies", ["nothing", "a former network's"])
async def test_a_bank_that_starts_before_its_aggregator_waits_for_it(tmp_path: Path, lies: str) -> None:
    if lies != "nothing":
        Authority(tmp_path / "former").write_join_folders(tmp_path / "seen")
    async with aggregator(tmp_path) as running:
        own = settings(running, tmp_path).model_copy(update={"join_dir": tmp_path / "seen" / "bank"})
        making = asyncio.create_task(asyncio.to_thread(make_bank, own))
        await until(lambda: (own.data_dir / "pending-key.pem").exists(), "the bank has begun to enrol")
        (tmp_path / "seen" / "bank").mkdir(parents=True, exist_ok=True)
        for name in ("ca.pem", "token"):
            content = (running.settings.join_dir / "bank" / name).read_bytes()
            (tmp_path / "seen" / "bank" / name).write_bytes(content)
        assert await making == 0
    assert load_enrolment(own.data_dir).seat == "bank-01"


async def test_who_does_not_wait_is_told_at_once_that_nobody_answers(tmp_path: Path) -> None:
    Authority(tmp_path / "former").write_join_folders(tmp_path / "join")
    own = Settings(enrolment="127.0.0.1:9", join_dir=tmp_path / "join" / "bank", data_dir=tmp_path / "bank")
    async with asyncio.timeout(10):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ensure_enrolled(own, wait=0.0)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_token_that_is_refused_is_not_tried_again(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        own = settings(running, tmp_path)
        (own.join_dir / "token").write_text("wrong")
        async with asyncio.timeout(10):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await asyncio.to_thread(make_bank, own)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
