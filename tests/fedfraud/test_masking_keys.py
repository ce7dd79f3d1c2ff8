"""The primitives give what their standards say, and ours are those primitives over framed fields."""

import hmac
from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedfraud.errors import Invalid
from fedfraud.masking_keys import (
    Field,
    agree,
    derive,
    digest,
    framed,
    is_signed,
    mask,
    private_key,
    public_key,
    seal,
    sign,
    stream,
    unseal,
)

KEY = bytes(range(32))


def raw(*parts: str) -> bytes:
    return bytes.fromhex("".join(parts))


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 once more, from HMAC alone."""
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    blocks, output = b"", b""
    for number in range(1, length // 32 + 2):
        blocks = hmac.digest(extracted, blocks + info + bytes([number]), "sha256")
        output += blocks
    return output[:length]


# X25519


@pytest.mark.parametrize(
    ("secret", "public", "shared"),
    [
        (  # RFC 7748, 5.2, the first
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (  # RFC 7748, 6.1, from Bob's side
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
            "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742",
        ),
    ],
)
def test_x25519_agrees_as_in_rfc_7748(secret: str, public: str, shared: str) -> None:
    assert agree(private_key(raw(secret)), raw(public)) == raw(shared)


def test_x25519_gives_the_public_key_of_rfc_7748() -> None:
    secret = raw("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
    assert public_key(private_key(secret)) == raw("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")


LOW_ORDER = [  # in little-endian bytes: 0, 1, the two of order 8, p - 1, p, p + 1
    bytes(32),
    b"\1" + bytes(31),
    raw("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    raw("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point.hex()[:8])
def test_a_point_of_low_order_is_refused(point: bytes) -> None:
    with pytest.raises(Invalid, match="a public key must be 32 bytes and no point of low order, got"):
        agree(private_key(KEY), point)


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(Invalid, match="a public key must be 32 bytes"):
        agree(private_key(KEY), bytes(31))


# HKDF


@pytest.mark.parametrize(
    ("secret", "salt", "info", "output"),
    [
        (  # RFC 5869, A.1
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (  # RFC 5869, A.3
            "0b" * 22,
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_hkdf_derives_as_in_rfc_5869(secret: str, salt: str, info: str, output: str) -> None:
    theirs = HKDF(SHA256(), 42, salt=raw(salt), info=raw(info)).derive(raw(secret))
    assert theirs == hkdf(raw(secret), raw(salt), raw(info), 42) == raw(output)


def test_a_key_is_derived_by_hkdf_with_the_framed_fields_as_its_info() -> None:
    assert derive(KEY, "mask", b"roll", "bank-01") == hkdf(KEY, b"", framed("mask", b"roll", "bank-01"), 32)


# ChaCha20-Poly1305

SUNSCREEN = (
    b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
    b"sunscreen would be it."
)


def test_chacha20_poly1305_encrypts_as_in_rfc_8439() -> None:
    """2.8.2."""
    cipher = ChaCha20Poly1305(bytes(range(0x80, 0xA0)))
    assert cipher.encrypt(raw("070000004041424344454647"), SUNSCREEN, raw("50515253c0c1c2c3c4c5c6c7")) == raw(
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6",
        "3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36",
        "92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc",
        "3ff4def08e4b7a9de576d26586cec64b61161ae10b594f09e26a7e902ecbd0600691",
    )


def test_a_seal_is_that_cipher_bound_to_the_framed_fields() -> None:
    expected = ChaCha20Poly1305(KEY).encrypt(bytes(12), b"two shares", framed("seal", b"roll", "bank-01", "bank-02"))
    assert seal(KEY, b"two shares", b"roll", "bank-01", "bank-02") == expected


def test_a_seal_opens_for_what_it_was_bound_to_alone() -> None:
    sealed = seal(KEY, b"two shares", b"roll", "bank-01", "bank-02")
    assert unseal(KEY, sealed, b"roll", "bank-01", "bank-02") == b"two shares"
    for key, bound in ((bytes(32), ("bank-01", "bank-02")), (KEY, ("bank-02", "bank-01")), (KEY, ("bank-01",))):
        with pytest.raises(Invalid, match="a ciphertext must open with the key it was sealed for"):
            unseal(key, sealed, b"roll", *bound)


# AES-256-CTR


def test_aes_256_ctr_encrypts_as_in_sp_800_38a() -> None:
    """F.5.5."""
    key = raw("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(range(0xF0, 0x100)))).encryptor()
    plaintext = raw(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51",
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    )
    assert encryptor.update(plaintext) == raw(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
    )


def test_a_mask_is_the_encrypted_counter_from_zero_in_little_endian_words() -> None:
    encryptor = Cipher(algorithms.AES256(KEY), modes.ECB()).encryptor()  # noqa: S305  # the counter mode, block by block
    blocks = b"".join(encryptor.update(counter.to_bytes(16)) for counter in range(3))
    expected = [int.from_bytes(blocks[8 * place : 8 * place + 8], "little") for place in range(5)]
    assert mask(KEY, 5).tolist() == expected


def test_a_stream_reads_on_where_it_stopped() -> None:
    read = stream(KEY)
    assert read(5) + read(11) + read(16) == mask(KEY, 4).tobytes()


def test_each_bit_of_a_mask_key_changes_half_of_the_mask() -> None:
    """256 flips of 64 words, 4096 bits: 2048 change, give or take five standard deviations of 32."""
    words = mask(KEY, 64)
    changed = []
    for bit in range(256):
        key = bytearray(KEY)
        key[bit // 8] ^= 1 << bit % 8
        changed.append(int(np.bitwise_count(words ^ mask(bytes(key), 64)).sum()))
    assert all(abs(count - 2048) < 160 for count in changed)
    assert abs(sum(changed) / 256 - 2048) < 10


# Framing and signatures


def test_framed_fields_are_specified_to_the_byte() -> None:
    def field(data: bytes) -> bytes:
        return len(data).to_bytes(8, "big") + data

    expected = [
        field(b"fedfraud/v1/masking/test"),
        field(b"\0\1"),
        field("ü".encode()),
        field(bytes(15) + b"\7"),
        field(raw("4010000000000000")),
        field(field(b"bank-01") + field(b"")),
    ]
    assert framed("test", b"\0\1", "ü", 7, 4.0, ("bank-01", ())) == b"".join(expected)


def test_fields_that_run_together_are_told_apart() -> None:
    lists: list[tuple[Field, ...]] = [
        ("ab", "c"),
        ("a", "bc"),
        ("abc",),
        (("ab", "c"),),
        (("ab",), "c"),
        ("ab", "c", ""),
        ((), "ab", "c"),
    ]
    assert len({digest("test", *fields) for fields in lists}) == len(lists)


def test_purposes_are_told_apart() -> None:
    assert len({derive(KEY, purpose) for purpose in ("mask", "own mask", "seal")}) == 3


def test_a_digest_is_sha_256_of_the_framed_fields() -> None:
    assert digest("test", b"x") == sha256(framed("test", b"x")).digest()


def test_a_signature_holds_for_its_key_purpose_and_fields_alone() -> None:
    key = Ed25519PrivateKey.from_private_bytes(KEY)
    public, signature = key.public_key().public_bytes_raw(), sign(key, "consent", b"opening", "bank-01")
    assert is_signed(public, signature, "consent", b"opening", "bank-01")
    assert not is_signed(public, signature, "masked", b"opening", "bank-01")
    assert not is_signed(public, signature, "consent", b"opening", "bank-02")
    assert not is_signed(bytes(32), signature, "consent", b"opening", "bank-01")
    assert not is_signed(b"", signature, "consent", b"opening", "bank-01")
    assert not is_signed(public, signature[:63], "consent", b"opening", "bank-01")
