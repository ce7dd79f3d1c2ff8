"""The CA: what its certificates say, which token is whose, and what the join folders hold."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedfraud.errors import Misconfigured, Unauthenticated
from fedfraud.identity import Identity, Role, load_key, new_key, read_credential
from fedfraud.masking_journal import federation_id
from services.aggregator.authority import Authority

HOUR = timedelta(hours=1)


def loaded(pem: bytes) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem)


def usage(pem: bytes) -> list[x509.ObjectIdentifier]:
    return list(loaded(pem).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_client_certificate_names_its_holder_alone_and_is_for_clients(tmp_path: Path) -> None:
    authority, key = Authority(tmp_path), new_key()
    pem = authority.issue(key.public_key(), Identity(Role.BANK, "bank-03"), HOUR)
    loaded(pem).verify_directly_issued_by(loaded(authority.ca_pem))
    assert loaded(pem).public_key() == key.public_key()
    assert read_credential(pem).identity == Identity(Role.BANK, "bank-03")
    names = loaded(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["spiffe://fedfraud/bank/bank-03"]
    assert usage(pem) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not loaded(pem).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_long_certificate_forgives_five_minutes_of_skew_and_a_short_one_a_tenth_of_its_life(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for lifetime, skew in ((timedelta(days=30), timedelta(minutes=5)), (timedelta(seconds=100), timedelta(seconds=10))):
        certificate = loaded(authority.issue(new_key().public_key(), Identity(Role.REPORTER), lifetime))
        life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
        assert abs(life - lifetime - skew) <= timedelta(seconds=1)  # whole seconds
        # Half of what it says is over well after now: no holder renews at once, again and again.
        assert certificate.not_valid_before_utc + life / 2 > datetime.now(UTC) + lifetime / 3


def test_the_servers_key_pair_names_its_hosts_and_changes_at_half_of_its_life(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    own = authority.server_key_pair(["aggregator", "127.0.0.1"], HOUR)
    pair = own()
    assert own() is pair
    names = loaded(pair.certificate_pem).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["aggregator"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert usage(pair.certificate_pem) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert load_key(pair.key_pem).public_key() == loaded(pair.certificate_pem).public_key()
    spent = authority.server_key_pair(["aggregator"], timedelta(0))
    assert spent().key_pem != spent().key_pem


def test_an_authority_is_the_same_after_a_restart(tmp_path: Path) -> None:
    first = Authority(tmp_path / "authority")
    again = Authority(tmp_path / "authority")
    assert first.ca_pem == again.ca_pem
    pem = again.issue(new_key().public_key(), Identity(Role.OPERATOR), HOUR)
    loaded(pem).verify_directly_issued_by(loaded(first.ca_pem))
    assert Authority(tmp_path / "other").ca_pem != first.ca_pem


def test_a_token_stands_for_one_role_and_any_other_text_for_none(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.write_join_folders(tmp_path / "join")
    tokens = {
        role: (tmp_path / "join" / role.value / "token").read_text() for role in Role if role is not Role.AGGREGATOR
    }
    assert {role: authority.role_of(token) for role, token in tokens.items()} == {role: role for role in tokens}
    for guess in ("", "ü", tokens[Role.BANK][:-1], tokens[Role.BANK] + " "):
        sentence = f"^a join token must be one of this federation, got {len(guess)} other characters$"
        with pytest.raises(Unauthenticated, match=sentence):
            authority.role_of(guess)


def test_secrets_are_their_owners_and_the_join_folders_hold_no_key(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    authority.write_join_folders(tmp_path / "join")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "authority").iterdir()}
    assert modes == {
        "ca.key": 0o600,
        "ca.pem": 0o644,
        "journal.key": 0o600,
        "journal.pem": 0o644,
        **{f"{role}.token": 0o600 for role in ("bank", "reporter", "operator")},
    }
    handed = [path for path in (tmp_path / "join").rglob("*") if path.is_file()]
    assert sorted(path.name for path in handed) == ["ca.pem"] * 3 + ["token"] * 3
    assert all(b"PRIVATE KEY" not in path.read_bytes() for path in handed)


def test_a_first_start_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    Authority(tmp_path)
    (tmp_path / "ca.pem").unlink()  # it is written last
    authority = Authority(tmp_path)
    pem = authority.issue(new_key().public_key(), Identity(Role.REPORTER), HOUR)
    loaded(pem).verify_directly_issued_by(loaded(authority.ca_pem))


NAMES = ("ca.key", "ca.pem", "journal.key", "journal.pem", "bank.token", "operator.token", "reporter.token")


@pytest.mark.parametrize("name", NAMES)
def test_an_authority_that_lost_a_file_is_refused_and_nothing_is_made_in_its_place(tmp_path: Path, name: str) -> None:
    pem = Authority(tmp_path).ca_pem
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / name).unlink()
    with pytest.raises(Misconfigured, match=f"^a network that has begun must have its authority's files, {name} is "):
        Authority(tmp_path, begun=True)
    (tmp_path / name).write_bytes(kept[name])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert Authority(tmp_path, begun=True).ca_pem == pem


@pytest.mark.parametrize(
    ("name", "damage"),
    [(name, "empty") for name in NAMES] + [(name, "of another network") for name in NAMES[:4]],
)
def test_a_damaged_file_or_one_of_another_network_is_refused(tmp_path: Path, name: str, damage: str) -> None:
    Authority(tmp_path / "own")
    Authority(tmp_path / "other")
    if damage == "empty":
        (tmp_path / "own" / name).write_bytes(b"")
    else:
        (tmp_path / "own" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(Misconfigured, match=" must be "):
        Authority(tmp_path / "own", begun=True)


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "journal.pem"])
def test_a_changed_byte_is_refused_in_words_or_changes_nothing(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    path, federation = tmp_path / name, federation_id(authority.ca_pem)
    content = path.read_bytes()
    for place in range(0, len(content), 23):
        for bit in (0, 3, 6):
            damaged = bytearray(content)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            with suppress(Misconfigured):
                assert federation_id(Authority(tmp_path, begun=True).ca_pem) == federation
    path.write_bytes(content)


def test_a_token_that_was_cut_is_refused(tmp_path: Path) -> None:
    Authority(tmp_path)
    path = tmp_path / "bank.token"
    path.write_text(path.read_text()[:20])
    with pytest.raises(Misconfigured, match="a token must be 43 characters, got another in "):
        Authority(tmp_path, begun=True)
