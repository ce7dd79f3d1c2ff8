"""The federation's own CA, its join tokens, and the folders that hand them to the roles."""

import ipaddress
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedfraud.chain import journal_key
from fedfraud.channel import KeyPair
from fedfraud.errors import Misconfigured, Unauthenticated
from fedfraud.identity import Identity, Role, key_pem, load_key, new_key, write_durably, write_secret

_CA_LIFETIME = timedelta(days=3650)
_CLOCK_SKEW = timedelta(minutes=5)
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")  # RFC 9336
_ENROLLABLE = (Role.BANK, Role.REPORTER, Role.OPERATOR)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")
_FILES = ("ca.key", "ca.pem", "journal.key", "journal.pem", *(f"{role.value}.token" for role in _ENROLLABLE))


class Authority:
    """Issues every certificate of the federation. Its key never leaves the aggregator's data folder."""

    def __init__(self, folder: Path, *, begun: bool = False) -> None:
        """`begun`: the network has a journal, so that every file must be there and none is made. Misconfigured when one
        is missing or damaged, or does not belong to the others: nothing is changed."""
        folder.mkdir(parents=True, exist_ok=True)
        missing = [name for name in _FILES if not (folder / name).exists()]
        if begun and missing:
            raise Misconfigured(
                f"a network that has begun must have its authority's files, {', '.join(missing)} is missing in "
                f"{folder}: put it back from a copy, or begin a new network in another folder"
            )
        if not (folder / "ca.pem").exists():
            _create(folder)
        try:
            self._key = load_key((folder / "ca.key").read_bytes())
            self.ca_pem = (folder / "ca.pem").read_bytes()
            self._certificate = x509.load_pem_x509_certificate(self.ca_pem)
            self._certificate.verify_directly_issued_by(self._certificate)  # its own signature holds
            own = self._certificate.public_key() == self._key.public_key()
            self._tokens = {role: (folder / f"{role.value}.token").read_text() for role in _ENROLLABLE}
        except Exception as error:  # of damaged bytes the parsers raise more than they name
            raise Misconfigured(f"an authority's files must be whole: {error!r}, {folder}") from error
        if not all(_TOKEN.fullmatch(token) for token in self._tokens.values()):
            raise Misconfigured(
                f"an authority's files must be whole, a token must be 43 characters, got another in {folder}"
            )
        if not own:
            raise Misconfigured(f"ca.key must be the key of ca.pem, got another in {folder}")
        self.journal_key, self.journal_certificate_pem = self._journal_pair(folder)

    def role_of(self, token: str) -> Role:
        """The role that a join token stands for; compared in constant time."""
        for role, known in self._tokens.items():
            if secrets.compare_digest(token.encode(), known.encode()):
                return role
        raise Unauthenticated(f"a join token must be one of this federation, got {len(token)} other characters")

    def issue(self, key: ec.EllipticCurvePublicKey, identity: Identity, lifetime: timedelta) -> bytes:
        """A client certificate, PEM, whose one name is the identity's URI."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
        return self._sign(key, str(identity), names, lifetime, ExtendedKeyUsageOID.CLIENT_AUTH)

    def server_key_pair(self, hostnames: list[str], lifetime: timedelta) -> Callable[[], KeyPair]:
        """The aggregator's own key pair; each call gives the present one, made anew at half of its lifetime."""
        present: tuple[datetime, KeyPair] | None = None

        def own() -> KeyPair:
            nonlocal present
            now = datetime.now(UTC)
            if present is None or now >= present[0]:
                present = now + lifetime / 2, self._server_pair(hostnames, lifetime)
            return present[1]

        return own

    def _journal_pair(self, folder: Path) -> tuple[Ed25519PrivateKey, bytes]:
        """The key that signs the journal, made at the first start, and its certificate."""
        if not (folder / "journal.pem").exists():
            key = Ed25519PrivateKey.generate()
            names = [x509.UniformResourceIdentifier(Identity(Role.AGGREGATOR).uri)]
            pem = self._sign(key.public_key(), "journal", names, _CA_LIFETIME, _DOCUMENT_SIGNING)
            raw = key.private_bytes_raw()
            write_secret(folder / "journal.key", raw)
            write_durably(folder / "journal.pem", pem)
        try:
            key = Ed25519PrivateKey.from_private_bytes((folder / "journal.key").read_bytes())
            pem = (folder / "journal.pem").read_bytes()
            certified = journal_key(pem, self.ca_pem)
        except Exception as error:  # as above
            raise Misconfigured(f"the journal's key and certificate must be whole: {error!r}, {folder}") from error
        if certified.public_bytes_raw() != key.public_key().public_bytes_raw():
            raise Misconfigured(f"journal.key must be the key of journal.pem, got another in {folder}")
        return key, pem

    def write_join_folders(self, folder: Path) -> None:
        """Writes `<role>/ca.pem` and `<role>/token` for each role that may enrol; no key is among them."""
        for role in _ENROLLABLE:
            (folder / role.value).mkdir(parents=True, exist_ok=True)
            write_durably(folder / role.value / "ca.pem", self.ca_pem)
            write_secret(folder / role.value / "token", self._tokens[role].encode())

    def _server_pair(self, hostnames: list[str], lifetime: timedelta) -> KeyPair:
        key = new_key()
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(Identity(Role.AGGREGATOR).uri)]
        names += [_host(name) for name in hostnames]
        pem = self._sign(key.public_key(), "aggregator", names, lifetime, ExtendedKeyUsageOID.SERVER_AUTH)
        return KeyPair(key_pem(key), pem)

    def _sign(
        self,
        key: ec.EllipticCurvePublicKey | Ed25519PublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        lifetime: timedelta,
        usage: x509.ObjectIdentifier,
    ) -> bytes:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            # A short certificate begins little before now: banks renew at the middle of what it says.
            .not_valid_before(now - min(_CLOCK_SKEW, lifetime / 10))
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(_key_usage(certify=False), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _create(folder: Path) -> None:
    """The first start: a CA key, its certificate and a token a role. The certificate comes last: it marks the rest."""
    (folder / "journal.pem").unlink(missing_ok=True)  # of a first start that was cut short, by another CA
    key, now = new_key(), datetime.now(UTC)
    name = _name("fedfraud CA")
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certify=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_secret(folder / "ca.key", key_pem(key))
    for role in _ENROLLABLE:
        write_secret(folder / f"{role.value}.token", secrets.token_urlsafe(32).encode())
    write_durably(folder / "ca.pem", certificate.public_bytes(serialization.Encoding.PEM))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_usage(*, certify: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certify,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certify,
        crl_sign=certify,
        encipher_only=False,
        decipher_only=False,
    )
