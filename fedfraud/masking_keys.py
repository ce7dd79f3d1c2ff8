"""What secure aggregation signs, hashes, agrees, seals and expands, each by one primitive of `cryptography`.

Everything hashed or signed is first framed, so that no two different lists of fields give the same bytes. A field is
its length in bytes as an unsigned 64-bit big-endian number, then its bytes: bytes as they are, text in UTF-8, an
integer as 16 bytes big-endian, a float as IEEE 754 binary64 big-endian, a list as its own fields, framed. The first
field is always `fedfraud/v1/masking/` and the purpose.
"""

import hashlib
import struct
from collections.abc import Callable

import numpy as np
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Words
from fedfraud.stored import field_names

TAG = "fedfraud/v1/masking/"
KEY_BYTES = 32
SIGNATURE_BYTES = 64
_NONCE = bytes(12)
"""Of a seal: the same each time, as a seal's key is used once."""

Field = bytes | str | int | float | tuple["Field", ...]


def framed(purpose: str, *fields: Field) -> bytes:
    """The fields as bytes, as the module's docstring says."""
    return _framed((TAG + purpose, *fields))


def _framed(fields: tuple[Field, ...]) -> bytes:
    parts: list[bytes] = []
    for field in fields:
        data = _encoded(field)
        parts += (len(data).to_bytes(8), data)
    return b"".join(parts)


def _encoded(field: Field) -> bytes:
    match field:
        case bytes():
            return field
        case str():
            return field.encode()
        case int():
            return field.to_bytes(16)
        case float():
            return struct.pack(">d", field)
        case tuple():
            return _framed(field)


def plain(value: object) -> Field:
    """What is framed of a value: a dataclass is the list of its fields."""
    match value:
        case bytes() | str() | int() | float():
            return value
        case tuple():
            return tuple(plain(item) for item in value)
    return tuple(plain(getattr(value, name)) for name in field_names(type(value)))


def digest(purpose: str, *fields: Field) -> bytes:
    """SHA-256 of the framed fields."""
    return hashlib.sha256(framed(purpose, *fields)).digest()


def sign(key: Ed25519PrivateKey, purpose: str, *fields: Field) -> bytes:
    """64 bytes; the same each time (RFC 8032)."""
    return key.sign(framed(purpose, *fields))


def is_signed(public_key: bytes, signature: bytes, purpose: str, *fields: Field) -> bool:
    """Whether the signature is the key's over these fields."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, framed(purpose, *fields))
    except (InvalidSignature, ValueError):
        return False
    return True


def derive(secret: bytes, purpose: str, *fields: Field) -> bytes:
    """A 32-byte key by HKDF-SHA256 (RFC 5869) without salt, its info the framed fields."""
    return HKDF(SHA256(), KEY_BYTES, salt=None, info=framed(purpose, *fields)).derive(secret)


def private_key(secret: bytes) -> X25519PrivateKey:
    """Of 32 secret bytes."""
    return X25519PrivateKey.from_private_bytes(secret)


def public_key(key: X25519PrivateKey) -> bytes:
    """32 bytes."""
    return key.public_key().public_bytes_raw()


def agree(key: X25519PrivateKey, public: bytes) -> bytes:
    """The 32 bytes that the two ends of an X25519 exchange share (RFC 7748); a point of low order is refused."""
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise Invalid(f"a public key must be 32 bytes and no point of low order, got {public.hex()}") from error


def seal(key: bytes, plaintext: bytes, *bound: Field) -> bytes:
    """Encrypts once under this key, 16 bytes longer (ChaCha20-Poly1305, RFC 8439); opens with the same `bound`."""
    return ChaCha20Poly1305(key).encrypt(_NONCE, plaintext, framed("seal", *bound))


def unseal(key: bytes, ciphertext: bytes, *bound: Field) -> bytes:
    """The plaintext; refused if the ciphertext or what it is bound to is another."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCE, ciphertext, framed("seal", *bound))
    except InvalidTag as error:
        raise Invalid(f"a ciphertext must open with the key it was sealed for, got {len(ciphertext)} others") from error


def stream(key: bytes) -> Callable[[int], bytes]:
    """Reads a key's AES-256-CTR keystream (SP 800-38A, counter from 0) on and on, n bytes a call."""
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return lambda count: encryptor.update(bytes(count))


def mask(key: bytes, count: int) -> Words:
    """The first `count` words of the key's keystream, little-endian: uniform modulo 2**64."""
    return np.frombuffer(stream(key)(8 * count), "<u8")
