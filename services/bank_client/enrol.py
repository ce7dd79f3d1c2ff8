"""The bank's identity: its own key, the seat it was given, and how both are kept in its volume."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import enrolment
from fedfraud.channel import KeyPair
from fedfraud.enrolment import JoinFolder
from fedfraud.errors import Misconfigured
from fedfraud.identity import key_pem, load_key, make_folder, new_key, read_credential, write_durably, write_secret
from services.bank_client.settings import Settings

_PAIR = "identity.pem"
_PENDING = "pending-key.pem"
_SIGNING = "signing.key"
_ENROLMENT = "enrolment.json"
_MARK = b"-----BEGIN CERTIFICATE-----"
_WAIT_SECONDS = 30.0


class Shard(TypedDict):
    """Which rows are a simulated bank's."""

    population: str
    seed: int
    slot: int
    preset: str


@dataclass(frozen=True)
class Enrolment:
    """What the aggregator said on enrolment: the seat, and the population whose contract the bank's rows must meet; the
    rest is the simulation's."""

    seat: str
    slot: int
    population: str
    population_seed: int
    preset: str = ""

    @property
    def shard(self) -> Shard:
        """What a simulated bank is to write."""
        return Shard(population=self.population, seed=self.population_seed, slot=self.slot, preset=self.preset)


async def ensure_enrolled(settings: Settings, wait: float = _WAIT_SECONDS) -> Enrolment:
    """The bank's enrolment: the one it has, or a new seat for a key that it makes now; the aggregator is waited for up
    to `wait` seconds."""
    if not (settings.data_dir / _PAIR).exists():
        make_folder(settings.data_dir, 0o700)
        await _enrol(settings, _pending_key(settings.data_dir), wait)
    return load_enrolment(settings.data_dir)


def load_enrolment(data_dir: Path) -> Enrolment:
    """What the aggregator said when the bank in this folder enrolled."""
    try:
        return Enrolment(**json.loads((data_dir / _ENROLMENT).read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise Misconfigured(f"a bank must have its {_ENROLMENT}, whole: {error}") from error


async def enrol_again(settings: Settings) -> KeyPair:
    """A fresh certificate for the present key by the join token: for a bank whose certificate ran out while away."""
    pair = load_pair(settings.data_dir)
    await _enrol(settings, pair.key_pem)
    return load_pair(settings.data_dir)


def load_pair(data_dir: Path) -> KeyPair:
    """The bank's key and certificate."""
    try:
        content = (data_dir / _PAIR).read_bytes()
    except FileNotFoundError:
        raise Misconfigured(f"a bank must be enrolled before it serves, {data_dir} has no {_PAIR}") from None
    key, mark, certificate = content.partition(_MARK)
    return KeyPair(key, mark + certificate)


def store_pair(data_dir: Path, pair: KeyPair) -> None:
    """Both in one file, so that a crash never leaves the key of one and the certificate of another."""
    write_secret(data_dir / _PAIR, pair.key_pem + pair.certificate_pem)


def expired(pair: KeyPair) -> bool:
    """Whether the certificate no longer counts."""
    return datetime.now(UTC) >= read_credential(pair.certificate_pem).expiry


def renewal_due_in(pair: KeyPair) -> float:
    """Seconds until half of the certificate's lifetime is over; not positive when renewal is due."""
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (start + (end - start) / 2 - datetime.now(UTC)).total_seconds()


def load_signing_key(data_dir: Path) -> Ed25519PrivateKey:
    """The key that the bank signs with in masked rounds; it stays the same for the seat's life."""
    try:
        return Ed25519PrivateKey.from_private_bytes((data_dir / _SIGNING).read_bytes())
    except (OSError, ValueError) as error:
        raise Misconfigured(f"a bank must have the signing key that it enrolled with: {error}") from error


def _own_signing_key(data_dir: Path) -> Ed25519PrivateKey:
    """That key, made at the first enrolment."""
    if not (data_dir / _SIGNING).exists():
        write_secret(data_dir / _SIGNING, Ed25519PrivateKey.generate().private_bytes_raw())
    return load_signing_key(data_dir)


def _pending_key(data_dir: Path) -> bytes:
    """The key whose seat was asked for: kept, so that a lost answer does not cost a second seat."""
    path = data_dir / _PENDING
    if not path.exists():
        write_secret(path, key_pem(new_key()))
    return path.read_bytes()


async def _enrol(settings: Settings, key: bytes, wait: float = _WAIT_SECONDS) -> None:
    join = JoinFolder.read(settings.join_dir)
    signing_key = _own_signing_key(settings.data_dir)
    response, pair = await enrolment.enrol(settings.enrolment, join, load_key(key), signing_key, wait)
    simulated = (response.slot, response.population, response.population_seed, response.preset)
    known = Enrolment(response.seat, *simulated)
    write_durably(settings.data_dir / _ENROLMENT, json.dumps(asdict(known)).encode())
    store_pair(settings.data_dir, pair)
    (settings.data_dir / _PENDING).unlink(missing_ok=True)
