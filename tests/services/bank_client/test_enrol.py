"""A bank's identity, got from a real aggregator and kept in its folder."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from fedfraud.channel import KeyPair
from fedfraud.errors import Misconfigured
from fedfraud.identity import Identity, Role, key_pem, new_key, read_credential
from services.aggregator.authority import Authority
from services.bank_client.enrol import (
    Enrolment,
    enrol_again,
    ensure_enrolled,
    expired,
    load_pair,
    renewal_due_in,
    store_pair,
)
from services.bank_client.settings import Settings
from tests.federation.hands import Aggregator, aggregator


def settings(running: Aggregator, data_dir: Path) -> Settings:
    return Settings(enrolment=running.enrolment_address, join_dir=running.settings.join_dir / "bank", data_dir=data_dir)


def issued(folder: Path, lifetime: timedelta) -> KeyPair:
    key = new_key()
    pem = Authority(folder).issue(key.public_key(), Identity(Role.BANK, "bank-01"), lifetime)
    return KeyPair(key_pem(key), pem)


async def test_a_bank_enrols_once_and_keeps_what_it_was_told(tmp_path: Path) -> None:
    async with aggregator(tmp_path, seed=5) as running:
        chosen = settings(running, tmp_path / "bank")
        first = await ensure_enrolled(chosen)
        assert first == await ensure_enrolled(chosen) == Enrolment("bank-01", 1, "tutorial", 5)
        assert len(running.events("certificate_issued")) == 1
    assert sorted(path.name for path in (tmp_path / "bank").iterdir()) == [
        "enrolment.json",
        "identity.pem",
        "signing.key",
    ]
    for secret in ("identity.pem", "signing.key"):
        assert (tmp_path / "bank" / secret).stat().st_mode & 0o777 == 0o600
    assert read_credential(load_pair(tmp_path / "bank").certificate_pem).identity.seat == "bank-01"
    assert await ensure_enrolled(chosen) == first  # nobody is asked: the aggregator is gone


async def test_the_name_of_a_bank_s_new_folder_is_durable_before_a_seat_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, synced, real = tmp_path / "bank", set[int](), os.fsync

    def noted(descriptor: int) -> None:
        synced.add(os.fstat(descriptor).st_ino)
        real(descriptor)

    async with aggregator(tmp_path / "network") as running:
        monkeypatch.setattr(os, "fsync", noted)
        await ensure_enrolled(settings(running, home))
    assert synced >= {folder.stat().st_ino for folder in (tmp_path, home)}
    assert home.stat().st_mode & 0o777 == 0o700


async def test_an_answer_that_was_lost_costs_no_second_seat(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        chosen = settings(running, tmp_path / "bank")
        await ensure_enrolled(chosen)
        # As if the process had died after its request: the key is there, the answer is not.
        (tmp_path / "bank" / "pending-key.pem").write_bytes(load_pair(tmp_path / "bank").key_pem)
        (tmp_path / "bank" / "identity.pem").unlink()
        assert (await ensure_enrolled(chosen)).seat == "bank-01"
        assert [event.renewal for event in running.events("certificate_issued")] == [False, True]
    assert not (tmp_path / "bank" / "pending-key.pem").exists()


async def test_a_key_whose_answer_never_comes_is_kept_for_the_next_try(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        chosen = settings(running, tmp_path / "bank")
        token = running.settings.join_dir / "bank" / "token"
        right = token.read_text()
        token.write_text("wrong")
        with pytest.raises(grpc.aio.AioRpcError):
            await ensure_enrolled(chosen)
        kept = (tmp_path / "bank" / "pending-key.pem").read_bytes()
        assert (tmp_path / "bank" / "pending-key.pem").stat().st_mode & 0o777 == 0o600
        token.write_text(right)
        await ensure_enrolled(chosen)
    assert load_pair(tmp_path / "bank").key_pem == kept


async def test_enrolling_again_gives_the_same_key_another_certificate(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        chosen = settings(running, tmp_path / "bank")
        await ensure_enrolled(chosen)
        before = load_pair(tmp_path / "bank")
        after = await enrol_again(chosen)
    assert after == load_pair(tmp_path / "bank")
    assert after.key_pem == before.key_pem
    assert after.certificate_pem != before.certificate_pem
    assert read_credential(after.certificate_pem).identity.seat == "bank-01"


async def test_two_banks_with_one_token_get_two_seats(tmp_path: Path) -> None:
    async with aggregator(tmp_path) as running:
        banks = [ensure_enrolled(settings(running, tmp_path / name)) for name in ("one", "two")]
        assert {enrolment.seat for enrolment in await asyncio.gather(*banks)} == {"bank-01", "bank-02"}


def test_a_bank_that_is_not_enrolled_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"^a bank must be enrolled before it serves, .* has no identity\.pem$"):
        load_pair(tmp_path)


def test_key_and_certificate_lie_in_one_file_that_is_its_owners(tmp_path: Path) -> None:
    pair = issued(tmp_path / "authority", timedelta(hours=1))
    store_pair(tmp_path, pair)
    assert load_pair(tmp_path) == pair
    assert (tmp_path / "identity.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("seconds", [20, 3600, 30 * 24 * 3600])
def test_renewal_is_due_about_the_middle_of_the_certificates_life(tmp_path: Path, seconds: int) -> None:
    due = renewal_due_in(issued(tmp_path, timedelta(seconds=seconds)))
    assert 0.4 * seconds - 1 < due <= 0.5 * seconds


def test_a_certificate_is_expired_from_its_last_moment(tmp_path: Path) -> None:
    assert not expired(issued(tmp_path, timedelta(seconds=20)))
    assert expired(issued(tmp_path, timedelta(0)))
