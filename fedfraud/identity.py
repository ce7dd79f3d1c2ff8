"""Who somebody is: keys, signing requests and certificates, and the SPIFFE name that a certificate carries."""

import hashlib
import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedfraud.errors import Invalid, Unauthenticated

TRUST_DOMAIN = "spiffe://fedfraud"
_SIGNING_KEY_PROOF = b"fedfraud/v1/enrolment"
_SEAT = re.compile(r"bank-[0-9]{2,5}")
_URI = re.compile(rf"{TRUST_DOMAIN}/(?:(aggregator|reporter|operator)|bank/({_SEAT.pattern}))")


class Role(Enum):
    """What a certificate allows its holder to be."""

    BANK = "bank"
    REPORTER = "reporter"
    OPERATOR = "operator"
    AGGREGATOR = "aggregator"


@dataclass(frozen=True)
class Identity:
    """A role, and for a bank its seat."""

    role: Role
    seat: str = ""

    def __post_init__(self) -> None:
        if self.role is Role.BANK and not _SEAT.fullmatch(self.seat):
            raise Invalid(f"a seat must look like bank-03, got {self.seat[:40]!r}")
        if self.role is not Role.BANK and self.seat:
            raise Invalid(f"a {self.role.value} must have no seat, got {self.seat[:40]!r}")

    @property
    def uri(self) -> str:
        """The URI SAN: spiffe://fedfraud/bank/bank-03 or spiffe://fedfraud/reporter."""
        return f"{TRUST_DOMAIN}/{self.role.value}" + (f"/{self.seat}" if self.seat else "")

    def __str__(self) -> str:
        return self.seat or self.role.value


def seat_name(number: int) -> str:
    """1 is bank-01."""
    return f"bank-{number:02d}"


@dataclass(frozen=True)
class Credential:
    """What a peer's certificate says: who, until when, and which certificate and key exactly (SHA-256 of the DER)."""

    identity: Identity
    fingerprint: bytes
    public_key_sha256: bytes
    expiry: datetime


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh EC P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """The private key as unencrypted PKCS #8, for a file that only its owner reads."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    """An EC private key from PEM."""
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Invalid(f"a key must be EC P-256, got {_kind(key)}")
    return key


def certificate_request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A signing request (PKCS #10, DER) that proves possession of the key and asks for no name."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.DER)


def requested_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """The public key of a signing request whose signature holds; whatever else it asks for is ignored."""
    try:
        parsed = x509.load_der_x509_csr(request)
        key, valid = parsed.public_key(), parsed.is_signature_valid
    except Exception as error:  # a stranger's bytes: the parser raises more than ValueError
        raise Invalid(f"a certificate request must be PKCS #10 in DER, got {len(request)} other bytes") from error
    if not valid:
        raise Invalid("a certificate request must be signed by its own key, got another signature")
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise Invalid(f"a certificate request must hold an EC P-256 key, got {_kind(key)}")
    return key


def _kind(key: object) -> str:
    """In words: the curve of an elliptic one."""
    if isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey):
        return key.curve.name
    return type(key).__name__


def prove_signing_key(key: Ed25519PrivateKey, request: bytes) -> bytes:
    """The key's word, 64 bytes, that whoever sends this certificate request holds it."""
    return key.sign(_SIGNING_KEY_PROOF + hashlib.sha256(request).digest())


def check_signing_key(public_key: bytes, proof: bytes, request: bytes) -> None:
    """Refuses a signing key, 32 bytes, that did not sign for this certificate request."""
    try:
        key = Ed25519PublicKey.from_public_bytes(public_key)
        key.verify(proof, _SIGNING_KEY_PROOF + hashlib.sha256(request).digest())
    except (ValueError, InvalidSignature) as error:
        raise Invalid(
            f"a bank's signing key must be Ed25519 and sign for its certificate request, got {public_key.hex()[:12]}"
        ) from error


def public_key_sha256(key: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the key's DER (SubjectPublicKeyInfo)."""
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()


@lru_cache(maxsize=4096)
def read_credential(pem: bytes) -> Credential:
    """Who the holder of this certificate is; refused unless it carries exactly one URI SAN, of our trust domain."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except x509.ExtensionNotFound:
        uris = []
    except ValueError as error:
        raise Unauthenticated(f"a certificate must be X.509 in PEM, got {len(pem)} other bytes") from error
    match = _URI.fullmatch(uris[0]) if len(uris) == 1 else None
    key = certificate.public_key()
    if match is None or not isinstance(key, ec.EllipticCurvePublicKey):
        raise Unauthenticated(f"a certificate must carry one URI SAN under {TRUST_DOMAIN}, got {uris}")
    identity = Identity(Role.BANK, match[2]) if match[2] else Identity(Role(match[1]))
    return Credential(
        identity, certificate.fingerprint(hashes.SHA256()), public_key_sha256(key), certificate.not_valid_after_utc
    )


def write_secret(path: Path, content: bytes) -> None:
    """Writes a file that only its owner reads, whole or not at all."""
    write_durably(path, content, mode=0o600)


def write_durably(path: Path, content: bytes | bytearray | memoryview, mode: int = 0o644) -> None:
    """Temporary name, fsync, rename, fsync of the folder."""
    write_pieces_durably(path, [content], mode)


def write_pieces_durably(path: Path, pieces: Iterable[bytes | bytearray | memoryview], mode: int = 0o644) -> None:
    """The same of what comes in pieces; what making a piece raises leaves nothing behind."""
    write_pieces(path, pieces, mode)
    sync_folder(path.parent)


def write_pieces(path: Path, pieces: Iterable[bytes | bytearray | memoryview], mode: int = 0o644) -> None:
    """The same but for the folder: the name is durable when that is synced."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        try:
            os.fchmod(descriptor, mode)
            place = 0
            for piece in pieces:
                place = write_at(descriptor, piece, place)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_at(descriptor: int, data: bytes | bytearray | memoryview, place: int) -> int:
    """Writes all of it, from this place of the file on; the place behind it."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, place)
        left, place = left[written:], place + written
    return place


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Makes a folder and those above it that are missing, each durably: its name survives a loss of power. `mode` is
    that of the folder alone, less the umask."""
    if not path.exists():
        make_folder(path.parent)
        path.mkdir(mode, exist_ok=True)
        try:
            sync_folder(path.parent)
        except BaseException:
            with suppress(OSError):
                path.rmdir()  # the next try would take its name for durable
            raise


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
