"""Secure aggregation: what banks and aggregator say to each other, and what all of it is bound to.

Bonawitz et al. 2017 (doi:10.1145/3133956.3133982), the variant against active adversaries, over integers modulo 2**64,
with holders chosen as in Bell et al. 2020 above 64 banks (`thresholds.py`). Each attempt of a round has five stages. In
each the aggregator sends a list, the same to all, and each bank that is still there answers once:

    stage      the aggregator sends                   a bank answers                  who must answer, at least
    advertise  Parameters, Roster                     Advertisement                   `minimum` of the cohort
    share      all advertisements                     Shares, one Sealed a holder     `minimum`: "shared"
    mask       Delivery: shared, the Sealed for it    Masked, and word_count words    `minimum`: "survivors"
    consent    survivors                              Consent                         `quorum`
    unmask     all consents                           Unmasking                       `threshold` holders of each secret

Lists are sorted by seat, as text, and name nobody twice. A bank chooses its holders itself, by chance, when the
advertisements are fixed: itself and `holders` peers, which up to 64 banks are all. Two seats are partners, and add and
subtract one mask, if either holds shares of the other.

Hashes chain the stages, SHA-256 over fields framed as masking_keys.py says:

    transcript = digest("transcript", every field of Parameters in order)
    roll       = digest("roll", transcript, the advertisements)
    shared     = digest("shared", roll, the seats that shared)
    opening    = digest("opening", shared, the survivors)

A message's signature is Ed25519, by the seat's key in the roster, over framed(the message's class name in lower case,
context, its other fields in order); the context is transcript for an Advertisement, roll for Shares, shared for Masked
and opening for Consent and Unmasking. A nested message is the list of its fields.

What each party computes is in `masking_bank.py` and `masking_sum.py`, what a bank insists on in `masking_policy.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import stored
from fedfraud.fixed_point import Words
from fedfraud.masking_keys import KEY_BYTES, SIGNATURE_BYTES, Field, derive, digest, is_signed, mask, plain, sign
from fedfraud.masking_parameters import HASH_BYTES, Misbehaved, Parameters, Roster, check_length, check_seats
from fedfraud.shamir import BYTES

SEALED_BYTES = 2 * BYTES + 16


@dataclass(frozen=True)
class Advertisement:
    """Stage advertise: the attempt's X25519 keys, for shares and for masks, and the hash of the seed of the seat's own
    mask, digest("seed", transcript, seat, seed)."""

    seat: str
    share_key: bytes
    mask_key: bytes
    seed_sha256: bytes
    signature: bytes = b""

    def check(self) -> None:
        """Every length."""
        for name in ("share_key", "mask_key", "seed_sha256"):
            check_length(self.seat, f"an advertisement's {name}", getattr(self, name), KEY_BYTES)


@dataclass(frozen=True)
class Sealed:
    """Two shares, of the dealer's seed and of its mask secret, 64 bytes that only the holder can open: 80 sealed. Their
    hashes, digest("share", roll, dealer, holder, share), hold the dealer to them and later the holder."""

    dealer: str
    holder: str
    ciphertext: bytes
    seed_share_sha256: bytes
    secret_share_sha256: bytes


@dataclass(frozen=True)
class Shares:
    """Stage share: one Sealed for each holder that the dealer chose, itself among them, sorted by holder."""

    seat: str
    sealed: tuple[Sealed, ...]
    signature: bytes = b""

    def check(self) -> None:
        """Every length, the order and the dealer."""
        check_seats("holders", self.holders, self.seat)
        for sealed in self.sealed:
            check_length(self.seat, "a sealed pair of shares", sealed.ciphertext, SEALED_BYTES)
            check_length(self.seat, "a share's hash", sealed.seed_share_sha256, HASH_BYTES)
            check_length(self.seat, "a share's hash", sealed.secret_share_sha256, HASH_BYTES)
            if sealed.dealer != self.seat:
                raise Misbehaved(self.seat, f"shares must be the sender's, {self.seat}, got some of {sealed.dealer}")

    @property
    def holders(self) -> tuple[str, ...]:
        """Who got a pair."""
        return tuple(sealed.holder for sealed in self.sealed)


@dataclass(frozen=True)
class Delivery:
    """What stage mask begins with: the seats that shared, and each Sealed that is addressed to this bank, by dealer."""

    shared: tuple[str, ...]
    sealed: tuple[Sealed, ...]


@dataclass(frozen=True)
class Masked:
    """Stage mask: the SHA-256 of the masked words as little-endian bytes; the words travel beside it."""

    seat: str
    vector_sha256: bytes
    signature: bytes = b""

    def check(self) -> None:
        """The length."""
        check_length(self.seat, "a vector's hash", self.vector_sha256, HASH_BYTES)


@dataclass(frozen=True)
class Consent:
    """Stage consent: this bank's word that it opens the sum over these survivors, and no other sum of the round."""

    seat: str
    signature: bytes = b""

    def check(self) -> None:
        """Nothing but a name."""


@dataclass(frozen=True)
class Share:
    """A share, 32 bytes, of a secret of this seat."""

    seat: str
    share: bytes


@dataclass(frozen=True)
class Unmasking:
    """Stage unmask: of whatever shares the bank holds, those of the survivors' seeds and those of the mask secrets of
    seats that shared and did not survive; never both of one seat."""

    seat: str
    seed_shares: tuple[Share, ...]
    secret_shares: tuple[Share, ...]
    signature: bytes = b""

    def check(self) -> None:
        """Every length and the order."""
        for shares in (self.seed_shares, self.secret_shares):
            check_seats("released shares", [share.seat for share in shares], self.seat)
            for share in shares:
                check_length(self.seat, "a share", share.share, BYTES)


@dataclass(frozen=True)
class Transcript:
    """The answers that were accepted, each kind by seat; the masked words lie beside it, by their hash."""

    parameters: Parameters
    roster: Roster
    advertisements: tuple[Advertisement, ...] = ()
    shares: tuple[Shares, ...] = ()
    masked: tuple[Masked, ...] = ()
    consents: tuple[Consent, ...] = ()
    unmaskings: tuple[Unmasking, ...] = ()

    def to_bytes(self) -> bytes:
        """For the export."""
        return stored.to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes) -> "Transcript":
        """What `to_bytes` gave."""
        return stored.from_bytes(Transcript, data)


Message = Advertisement | Shares | Masked | Consent | Unmasking
M = TypeVar("M", Advertisement, Shares, Masked, Consent, Unmasking)


def signed(message: M, key: Ed25519PrivateKey, context: bytes) -> M:
    """The message with its signature, as the module's docstring specifies it."""
    return replace(message, signature=sign(key, type(message).__name__.lower(), context, *_unsigned(message)))


def check_signed(message: Message, roster: Roster, context: bytes) -> None:
    """Holds a message to its form and to the roster's key of its seat."""
    message.check()
    check_length(message.seat, "a signature", message.signature, SIGNATURE_BYTES)
    purpose, key = type(message).__name__.lower(), roster.keys.get(message.seat, b"")
    if not is_signed(key, message.signature, purpose, context, *_unsigned(message)):
        rule = f"{purpose} must be signed with its seat's key for this very stage of this attempt"
        raise Misbehaved(message.seat, f"{rule}, got another signature from {message.seat}")


def _unsigned(message: Message) -> tuple[Field, ...]:
    names = stored.field_names(type(message))
    return tuple(plain(getattr(message, name)) for name in names if name != "signature")


def roll_sha256(transcript_sha256: bytes, advertisements: Sequence[Advertisement]) -> bytes:
    """The hash that fixes who takes part with which keys."""
    return digest("roll", transcript_sha256, plain(tuple(advertisements)))


def shared_sha256(roll: bytes, shared: Sequence[str]) -> bytes:
    """The hash that fixes who shared besides."""
    return digest("shared", roll, tuple(shared))


def opening_sha256(shared: bytes, survivors: Sequence[str]) -> bytes:
    """The hash that names one opening: whose words are in the sum."""
    return digest("opening", shared, tuple(survivors))


def seed_mask(seat: str, seed: bytes, roll: bytes, count: int) -> Words:
    """What a seat adds to its words for itself."""
    return mask(derive(seed, "own mask", roll, seat), count)


def pair_mask(own: str, other: str, agreed: bytes, roll: bytes, count: int) -> Words:
    """What `own` adds to its words for its partner, which adds the negative: `count` words from the secret that their
    mask keys agree on."""
    low, high = sorted((own, other))
    words = mask(derive(agreed, "mask", roll, low, high), count)
    return words if own == low else np.negative(words)
