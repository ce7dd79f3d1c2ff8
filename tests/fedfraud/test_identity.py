"""Who somebody is: names, keys, signing requests, certificates, and files that are whole or not there."""

import hashlib
import os
import resource
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from fedfraud.errors import Invalid, Unauthenticated
from fedfraud.identity import (
    Identity,
    Role,
    certificate_request,
    key_pem,
    load_key,
    make_folder,
    new_key,
    public_key_sha256,
    read_credential,
    requested_key,
    seat_name,
    write_durably,
    write_secret,
)
from tests.fedfraud.certificates import HOST, SmallCa, uri

BANK_03 = uri("spiffe://fedfraud/bank/bank-03")


@pytest.fixture(scope="module")
def ca() -> SmallCa:
    return SmallCa()


def signed(key: "ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey", *names: x509.GeneralName) -> bytes:
    """A signing request of any key that asks for any names, DER."""
    builder = x509.CertificateSigningRequestBuilder(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "aggregator")])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def numbers(key: ec.EllipticCurvePublicKey) -> ec.EllipticCurvePublicNumbers:
    return key.public_numbers()


def public_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.DER, form)


# --- names


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        (Identity(Role.BANK, "bank-03"), "spiffe://fedfraud/bank/bank-03"),
        (Identity(Role.REPORTER), "spiffe://fedfraud/reporter"),
        (Identity(Role.OPERATOR), "spiffe://fedfraud/operator"),
        (Identity(Role.AGGREGATOR), "spiffe://fedfraud/aggregator"),
    ],
)
def test_an_identity_is_its_uri_in_a_certificate_and_back(ca: SmallCa, identity: Identity, name: str) -> None:
    assert identity.uri == name
    assert read_credential(ca.certify(new_key().public_key(), uri(name))).identity == identity


@pytest.mark.parametrize("seat", ["", "bank-3", "bank-123456", "Bank-03", "bank-03 ", "bank-03\n", "bank-٠٣"])
def test_a_bank_needs_a_seat_that_looks_like_one(seat: str) -> None:
    with pytest.raises(Invalid, match=r"^a seat must look like bank-03, got "):
        Identity(Role.BANK, seat)


def test_only_a_bank_has_a_seat() -> None:
    with pytest.raises(Invalid, match=r"^a reporter must have no seat, got 'bank-03'$"):
        Identity(Role.REPORTER, "bank-03")


def test_seats_are_numbered_from_bank_01_and_grow_past_99() -> None:
    assert [seat_name(number) for number in (1, 10, 100)] == ["bank-01", "bank-10", "bank-100"]
    assert str(Identity(Role.BANK, seat_name(4096))) == "bank-4096"
    assert str(Identity(Role.OPERATOR)) == "operator"


# --- keys and signing requests


def test_a_key_comes_back_from_its_file() -> None:
    key = new_key()
    assert load_key(key_pem(key)).private_numbers() == key.private_numbers()


@pytest.mark.parametrize("make", [lambda: ec.generate_private_key(ec.SECP384R1()), lambda: rsa_key()])
def test_a_key_of_another_kind_is_refused(make: "Callable[[], ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey]") -> None:
    pem = make().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(Invalid, match=r"^a key must be EC P-256, got "):
        load_key(pem)


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def test_of_a_signing_request_the_key_alone_is_taken() -> None:
    key = new_key()
    assert numbers(requested_key(certificate_request(key))) == numbers(key.public_key())
    greedy = signed(key, uri("spiffe://fedfraud/aggregator"), HOST)
    assert numbers(requested_key(greedy)) == numbers(key.public_key())


def test_our_own_signing_request_asks_for_no_name() -> None:
    request = x509.load_der_x509_csr(certificate_request(new_key()))
    assert not list(request.subject)
    assert not list(request.extensions)


def test_a_request_with_another_curve_or_rsa_is_refused() -> None:
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa_key()):
        with pytest.raises(Invalid, match=r"^a certificate request must hold an EC P-256 key, got "):
            requested_key(signed(key))


@pytest.mark.parametrize("request_der", [b"", b"garbage", b"\x30\x80" + b"\0" * 100])
def test_a_request_of_garbage_is_refused(request_der: bytes) -> None:
    sentence = rf"^a certificate request must be PKCS #10 in DER, got {len(request_der)} other bytes$"
    with pytest.raises(Invalid, match=sentence):
        requested_key(request_der)


def test_a_request_in_pem_is_refused() -> None:
    pem = x509.load_der_x509_csr(certificate_request(new_key())).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Invalid, match=r"^a certificate request must be PKCS #10 in DER"):
        requested_key(pem)


def test_a_request_that_its_key_did_not_sign_is_refused() -> None:
    ours, theirs = new_key(), new_key()
    forged = certificate_request(ours).replace(public_der(ours), public_der(theirs))  # signed by ours, claims theirs
    with pytest.raises(Invalid, match=r"^a certificate request must be signed by its own key, got another signature$"):
        requested_key(forged)


# --- certificates


def test_a_credential_says_who_until_when_and_which_certificate(ca: SmallCa) -> None:
    key = new_key()
    pem = ca.certify(key.public_key(), BANK_03)
    credential = read_credential(pem)
    der = x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)
    assert credential.identity == Identity(Role.BANK, "bank-03")
    assert credential.fingerprint == hashlib.sha256(der).digest()
    assert credential.public_key_sha256 == public_key_sha256(key.public_key())
    assert timedelta(minutes=59) < credential.expiry - datetime.now(UTC) <= timedelta(hours=1)


def test_two_certificates_of_one_key_differ_in_their_fingerprint_alone(ca: SmallCa) -> None:
    key = new_key().public_key()
    first, second = (read_credential(ca.certify(key, BANK_03)) for _ in range(2))
    assert first.public_key_sha256 == second.public_key_sha256
    assert first.fingerprint != second.fingerprint


def test_a_host_name_beside_the_one_uri_is_allowed(ca: SmallCa) -> None:
    pem = ca.certify(new_key().public_key(), HOST, uri("spiffe://fedfraud/aggregator"))
    assert read_credential(pem).identity == Identity(Role.AGGREGATOR)


@pytest.mark.parametrize(
    "names",
    [
        (),
        (HOST,),
        (BANK_03, uri("spiffe://fedfraud/bank/bank-04")),
        (BANK_03, uri("https://bank-03.example")),
        (uri("spiffe://elsewhere/bank/bank-03"),),
        (uri("spiffe://fedfraud.elsewhere/bank/bank-03"),),
        (uri("spiffe://fedfraud/bank/bank-03/more"),),
        (uri("x-spiffe://fedfraud/bank/bank-03"),),
        (uri("spiffe://fedfraud/bank"),),
        (uri("spiffe://fedfraud/bank/"),),
        (uri("spiffe://fedfraud/reporter/bank-03"),),
        (uri("spiffe://fedfraud/auditor"),),
    ],
    ids=lambda names: " ".join(name.value for name in names) or "none",
)
def test_a_certificate_without_exactly_one_uri_of_ours_is_nobody(
    ca: SmallCa, names: tuple[x509.GeneralName, ...]
) -> None:
    with pytest.raises(Unauthenticated, match=r"^a certificate must carry one URI SAN under spiffe://fedfraud, got "):
        read_credential(ca.certify(new_key().public_key(), *names))


def test_a_certificate_of_an_rsa_key_is_nobody(ca: SmallCa) -> None:
    with pytest.raises(Unauthenticated):
        read_credential(ca.certify(rsa_key().public_key(), BANK_03))


def test_garbage_is_nobody() -> None:
    with pytest.raises(Unauthenticated, match=r"^a certificate must be X.509 in PEM, got 7 other bytes$"):
        read_credential(b"garbage")


# --- files


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_durably(path, b"a longer first content")
    write_durably(path, b"second")
    assert path.read_bytes() == b"second"
    assert [entry.name for entry in tmp_path.iterdir()] == ["state"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_secret_is_for_its_owner_even_if_the_file_was_open_to_all(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_secret(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["key.pem"]


def test_all_of_it_is_written_however_little_the_system_takes_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, path = os.pwrite, tmp_path / "file"
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, place: whole(descriptor, data[:3], place))
    write_durably(path, b"more than three bytes")
    assert path.read_bytes() == b"more than three bytes"


def test_a_write_that_fails_leaves_the_old_and_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):  # a file cannot take a folder's name
        write_durably(tmp_path / "taken", b"content")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]
    assert (tmp_path / "taken").is_dir()


def test_a_folder_whose_name_cannot_be_made_durable_is_made_anew_by_the_next_try(tmp_path: Path) -> None:
    folder, (soft, hard) = tmp_path / "run" / "round", resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))  # a folder needs no descriptor to be made
    try:
        with pytest.raises(OSError, match="Too many open files"):
            make_folder(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    make_folder(folder)
    assert folder.is_dir()
