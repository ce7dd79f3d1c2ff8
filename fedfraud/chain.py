"""The journal's chain: how a line follows from the former one, how it is signed, and how a receipt is checked.

A head is SHA-256(former head, entry's bytes), 32 bytes; the journal begins with an empty one. The signature is Ed25519
(RFC 8032, deterministic) over SIGNED and the head, so that it vouches for the entry and for all before it.
"""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError

from fedfraud.errors import Invalid
from fedfraud.identity import Identity, Role
from fedfraud.v1 import federation_pb2, history_pb2
from fedfraud.wire import RoundKey, round_key_from_proto

SIGNED = b"fedfraud/v1/journal"
_ENTRY_LIMIT = 1 << 16


@dataclass(frozen=True)
class CheckedReceipt:
    """What a receipt whose signature holds says; `head` is the journal's after its entry."""

    key: RoundKey
    seat: str
    vector_sha256: bytes
    sequence: int
    head: bytes


def next_head(head: bytes, entry: bytes) -> bytes:
    """The head after this entry, 32 bytes."""
    return hashlib.sha256(head + entry).digest()


def sign(key: Ed25519PrivateKey, head: bytes) -> bytes:
    """The aggregator's word for a head, 64 bytes; the same each time."""
    return key.sign(SIGNED + head)


def is_signed(key: Ed25519PublicKey, head: bytes, signature: bytes) -> bool:
    """Whether the signature is the key's word for the head."""
    try:
        key.verify(signature, SIGNED + head)
    except InvalidSignature:
        return False
    return True


def journal_key(certificate_pem: bytes, ca_pem: bytes) -> Ed25519PublicKey:
    """The key that signs the journal, if the federation's CA certified it for its aggregator."""
    try:
        certificate = x509.load_pem_x509_certificate(certificate_pem)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca_pem))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris, key = names.get_values_for_type(x509.UniformResourceIdentifier), certificate.public_key()
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise Invalid(f"a journal's certificate must be of the federation's CA, got {error!r}") from error
    if uris != [Identity(Role.AGGREGATOR).uri] or not isinstance(key, Ed25519PublicKey):
        raise Invalid(f"a journal's certificate must hold the aggregator's Ed25519 key, got one of {uris}")
    return key


def checked_line(
    line: history_pb2.JournalLine, former_head: bytes, sequence: int, key: Ed25519PublicKey
) -> history_pb2.Entry:
    """The entry of a journal's line; refused unless it follows from the former head, is signed, and is number
    `sequence`."""
    if line.head != next_head(former_head, line.entry):
        raise Invalid(f"entry {sequence}: a head must follow from the entry and the head before it, it does not")
    if not is_signed(key, line.head, line.signature):
        raise Invalid(f"entry {sequence}: a head must be signed by the federation's aggregator, it is not")
    try:
        entry = history_pb2.Entry.FromString(line.entry)
    except DecodeError as error:
        raise Invalid(f"entry {sequence}: an entry must be a fedfraud.v1.Entry, got other bytes") from error
    if entry.sequence != sequence:
        raise Invalid(f"entry {sequence}: entries must count from 1 without a gap, got {entry.sequence}")
    return entry


def checked_receipt(receipt: federation_pb2.Receipt, key: Ed25519PublicKey) -> CheckedReceipt:
    """What the receipt says; refused unless the key signed it and it is about a contribution."""
    head = next_head(receipt.previous_head, receipt.entry)
    if len(receipt.entry) > _ENTRY_LIMIT or not is_signed(key, head, receipt.signature):
        raise Invalid(f"a receipt must be signed by the aggregator, got another signature over {head.hex()[:12]}")
    try:
        entry = history_pb2.Entry.FromString(receipt.entry)
    except DecodeError as error:
        raise Invalid("a receipt must hold a journal entry, got other bytes") from error
    if entry.WhichOneof("event") != "contribution_accepted":
        raise Invalid(f"a receipt must be of an accepted contribution, got {entry.WhichOneof('event')}")
    accepted = entry.contribution_accepted
    key_of_round = round_key_from_proto(accepted.key)
    return CheckedReceipt(key_of_round, accepted.seat, accepted.vector_sha256, entry.sequence, head)
