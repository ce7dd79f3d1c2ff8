"""A bank's side of one attempt: what it checks, computes and says at each stage, and the state it keeps.

All secrets come from one 32-byte seed, so the state is that seed and the lists that the stages brought, and a message
follows from it: asked the same again, after a restart too, a bank says the same; asked anything else, Conflict.

The caller writes `state` to disk after each call and before the answer leaves; for a consent the openings first, which
one attempt at a time may change. It keeps the words too, and erases all but the openings when the round is over. A bank
that lost its state sits the attempt out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedfraud import fixed_point, shamir, stored
from fedfraud.errors import Conflict, Invalid, Stale
from fedfraud.fixed_point import Words
from fedfraud.masking import (
    SEALED_BYTES,
    Advertisement,
    Consent,
    Delivery,
    Masked,
    Sealed,
    Share,
    Shares,
    Unmasking,
    check_signed,
    opening_sha256,
    pair_mask,
    roll_sha256,
    seed_mask,
    shared_sha256,
    signed,
)
from fedfraud.masking_keys import KEY_BYTES, agree, derive, digest, private_key, public_key, seal, stream, unseal
from fedfraud.masking_parameters import Misbehaved, Parameters, Roster, TooFew, check_length, check_seats
from fedfraud.masking_policy import Figures, Inputs, Openings, Policy

Pair = tuple[bytes, bytes]
"""The shares of a seed and of a mask secret; or what two seats' keys agree on, for shares and for masks."""


@dataclass(frozen=True)
class BankState:
    """All that a bank must keep of an attempt; what is empty has not come yet. `seed` is secret."""

    seat: str
    seed: bytes = field(repr=False)
    sources: tuple[bytes, ...]
    data_sha256: bytes
    parameters: Parameters
    roster: Roster
    advertisements: tuple[Advertisement, ...] = ()
    shared: tuple[str, ...] = ()
    sealed: tuple[Sealed, ...] = ()
    words_sha256: bytes = b""
    survivors: tuple[str, ...] = ()

    def to_bytes(self) -> bytes:
        """For the disk, and for nobody's eyes but the bank's."""
        return stored.to_bytes(self)

    @staticmethod
    def from_bytes(data: bytes) -> "BankState":
        """What `to_bytes` gave."""
        return stored.from_bytes(BankState, data)


class Masker:
    """One bank in one attempt, over a state that was begun or read back."""

    def __init__(self, state: BankState, policy: Policy, key: Ed25519PrivateKey) -> None:
        self.state = state
        self._policy = policy
        self._key = key
        self._transcript = state.parameters.transcript_sha256
        self._agreed: dict[Advertisement, Pair] = {}
        self._opened: dict[Sealed, Pair] = {}

    @classmethod
    def begin(
        cls,
        parameters: Parameters,
        roster: Roster,
        seat: str,
        inputs: Inputs,
        policy: Policy,
        openings: Openings,
        key: Ed25519PrivateKey,
        random_bytes: Callable[[int], bytes],
    ) -> "Masker":
        """Takes part in an attempt that the bank's policy allows; `random_bytes(32)` is asked once."""
        policy.check(parameters, roster, seat, inputs)
        policy.check_unopened(parameters, inputs.figures, openings, parameters.cohort)
        if key.public_key().public_bytes_raw() != roster.keys[seat]:
            raise Invalid(f"a roster must have the bank's own key for {seat}, got {roster.keys[seat].hex()[:12]}")
        seed = random_bytes(KEY_BYTES)
        return cls(BankState(seat, seed, inputs.sources, inputs.data_sha256, parameters, roster), policy, key)

    def advertise(self) -> Advertisement:
        """The attempt's public keys, and the hash that holds the bank to its seed."""
        return self._advertisement

    def share(self, advertisements: Sequence[Advertisement]) -> Shares:
        """Sealed shares of the bank's secrets for the holders that it chooses, once it has checked who takes part."""
        state = self._with(advertisements=tuple(advertisements))
        if not self.state.advertisements:
            self._check_advertisements(state.advertisements)
        self.state = state
        return signed(Shares(state.seat, self._deal()), self._key, self._roll)

    def mask(self, delivery: Delivery, words: Words, openings: Openings) -> tuple[Masked, Words, dict[bytes, bytes]]:
        """The words, (word_count,), plus the bank's own mask and one for each partner, modulo 2**64; and the openings
        with them, to be on disk before they leave: others may open them without this bank's hearing of it."""
        self._need(self.state.advertisements, "shares")
        if words.dtype != np.uint64 or words.shape != (self.state.parameters.word_count,):
            rule = f"a contribution must have {self.state.parameters.word_count} words"
            raise Invalid(f"{rule}, got {words.shape} {words.dtype}")
        words_sha256 = sha256(fixed_point.to_bytes(words)).digest()
        state = self._with(shared=delivery.shared, sealed=delivery.sealed, words_sha256=words_sha256)
        shared = shared_sha256(self._roll, state.shared)
        if not self.state.shared:
            self._check_delivery(delivery)
            self._policy.check_unopened(state.parameters, self._figures, openings, state.parameters.cohort, shared)
        self.state = state
        masked = self._masked(words)
        vector_sha256 = sha256(fixed_point.to_bytes(masked)).digest()
        entries = openings.sent(self._figures, shared)
        return signed(Masked(state.seat, vector_sha256), self._key, self._shared), masked, entries

    def consent(self, masked: Sequence[Masked], openings: Openings) -> tuple[Consent, dict[bytes, bytes]]:
        """The bank's word for one opening of the round, and the openings with it: to be on disk before it leaves.
        `masked` is of each survivor its own word, which says that it was told of the same seats that shared."""
        self._need(self.state.words_sha256, "a masked vector")
        state = self._with(survivors=tuple(one.seat for one in masked))
        if not self.state.survivors:
            self._policy.check_unopened(state.parameters, self._figures, openings, state.survivors, self._shared)
            self._check_survivors(masked)
        self.state = state
        consent = signed(Consent(state.seat), self._key, self._opening)
        return consent, openings.opened(state.parameters, self._figures, state.survivors)

    def unmask(self, consents: Sequence[Consent]) -> Unmasking:
        """The shares that open the sum over the survivors, once a quorum has consented to that very sum."""
        self._need(self.state.survivors, "consent")
        self._check_consents(consents)
        pairs, survivors = self._pairs(), set(self.state.survivors)
        seeds = tuple(Share(dealer, pairs[dealer][0]) for dealer in pairs if dealer in survivors)
        secrets = tuple(Share(dealer, pairs[dealer][1]) for dealer in pairs if dealer not in survivors)
        return signed(Unmasking(self.state.seat, seeds, secrets), self._key, self._opening)

    # What each stage's list must be.

    def _check_advertisements(self, advertisements: Sequence[Advertisement]) -> None:
        seats, parameters = [advertisement.seat for advertisement in advertisements], self.state.parameters
        self._check_list("advertisements", seats, parameters.cohort)
        if self.advertise() not in advertisements:
            raise Invalid("advertisements must have the bank's own as it made it, got another")
        for advertisement in advertisements:
            if advertisement.seat != self.state.seat:  # its own it has just made
                check_signed(advertisement, self.state.roster, self._transcript)
        keys = {key for advertisement in advertisements for key in (advertisement.share_key, advertisement.mask_key)}
        if len(keys) != 2 * len(seats):
            raise Invalid(f"advertised keys must all differ, got {len(keys)} different ones of {len(seats)} seats")
        for advertisement in advertisements:
            self._agree(advertisement)

    def _check_delivery(self, delivery: Delivery) -> None:
        parameters, dealers = self.state.parameters, tuple(sealed.dealer for sealed in delivery.sealed)
        self._check_list("seats that shared", delivery.shared, [a.seat for a in self.state.advertisements])
        self._check_holders("shared", delivery.shared)
        check_seats("dealers", dealers)
        if not set(dealers) <= set(delivery.shared) or (parameters.is_complete and dealers != delivery.shared):
            raise Invalid(f"shares must come from the seats that shared, got {', '.join(dealers)[:200]}")
        for sealed in delivery.sealed:
            if sealed.holder != self.state.seat:
                raise Invalid(f"shares must be addressed to {self.state.seat}, got some for {sealed.holder}")
            self._open(sealed)

    def _check_survivors(self, masked: Sequence[Masked]) -> None:
        survivors = [one.seat for one in masked]
        self._check_list("survivors", survivors, self.state.shared)
        self._check_holders("survived", survivors)
        for one in masked:  # who was told of other seats that shared masked its words for those, and signed so
            check_signed(one, self.state.roster, self._shared)

    def _check_consents(self, consents: Sequence[Consent]) -> None:
        seats, quorum = [consent.seat for consent in consents], self.state.parameters.quorum
        check_seats("consents", seats)
        if not set(seats) <= set(self.state.survivors):
            raise Invalid(f"consents must come from survivors, got {', '.join(seats)[:200]}")
        for consent in consents:
            check_signed(consent, self.state.roster, self._opening)
        if len(consents) < quorum:
            raise TooFew(f"an opening must have {quorum} consents, got {len(consents)}")

    def _check_list(self, what: str, seats: Sequence[str], allowed: Sequence[str]) -> None:
        """Sorted and unique, none but those allowed, the bank itself, and enough for an opening."""
        minimum, strangers = self.state.parameters.minimum, sorted(set(seats) - set(allowed))
        check_seats(what, seats)
        if strangers:
            raise Invalid(f"{what} must be among those of the stage before, got {', '.join(strangers)[:200]}")
        if self.state.seat not in seats:
            raise Invalid(f"{what} must have the bank itself, {self.state.seat}, got {', '.join(seats)[:200]}")
        if len(seats) < minimum:
            raise TooFew(f"{what} must be at least {minimum}, got {len(seats)}")

    def _check_holders(self, what: str, seats: Sequence[str]) -> None:
        """Enough of those who hold this bank's secrets are there: an honest one among them keeps its mask on."""
        threshold, count = self.state.parameters.threshold, len(set(self._holders) & set(seats))
        if count < threshold:
            raise TooFew(f"{threshold} of the bank's holders must have {what}, got {count}")

    # What the bank computes.

    @cached_property
    def _advertisement(self) -> Advertisement:
        seat, own_seed = self.state.seat, self._secret("own seed")
        advertisement = Advertisement(
            seat,
            public_key(self._share_key),
            public_key(self._mask_key),
            digest("seed", self._transcript, seat, own_seed),
        )
        return signed(advertisement, self._key, self._transcript)

    @cached_property
    def _holders(self) -> list[str]:
        """Itself and as many peers as the parameters say, by a draw of its own that follows the advertisements: whoever
        made those could not foresee it, so bad banks cannot crowd around it. Sorted."""
        seat, draw = self.state.seat, self._secret("holders", self._roll)
        peers = [a.seat for a in self.state.advertisements if a.seat != seat]
        drawn = sorted(peers, key=lambda peer: digest("holder", draw, peer))
        return sorted([seat, *drawn[: self.state.parameters.holders]])

    def _deal(self) -> tuple[Sealed, ...]:
        """A pair of shares for each holder, sealed."""
        parameters, holders = self.state.parameters, self._holders
        places = [parameters.place(holder) for holder in holders]
        draw = stream(self._secret("polynomials", self._roll))
        seeds = shamir.share(self._secret("own seed"), parameters.threshold, places, draw)
        secrets = shamir.share(self._secret("mask key"), parameters.threshold, places, draw)
        return tuple(self._sealed(*deal) for deal in zip(holders, seeds, secrets, strict=True))

    def _sealed(self, holder: str, seed_share: bytes, secret_share: bytes) -> Sealed:
        bound = (self._roll, self.state.seat, holder)
        key = derive(self._agree(self._advertised[holder])[0], "seal", *bound)
        ciphertext = seal(key, seed_share + secret_share, *bound)
        return Sealed(
            self.state.seat,
            holder,
            ciphertext,
            digest("share", *bound, seed_share),
            digest("share", *bound, secret_share),
        )

    def _open(self, sealed: Sealed) -> Pair:
        """The shares that a dealer sealed for this bank; a dealer that sealed anything else is named."""
        if sealed in self._opened:
            return self._opened[sealed]
        bound = (self._roll, sealed.dealer, self.state.seat)
        key = derive(self._agree(self._advertised[sealed.dealer])[0], "seal", *bound)
        check_length(sealed.dealer, "a sealed pair of shares", sealed.ciphertext, SEALED_BYTES)
        try:
            plaintext = unseal(key, sealed.ciphertext, *bound)
        except Invalid as error:
            raise Misbehaved(sealed.dealer, f"{error} from {sealed.dealer}") from error
        pair: Pair = plaintext[: shamir.BYTES], plaintext[shamir.BYTES :]
        if [digest("share", *bound, s) for s in pair] != [sealed.seed_share_sha256, sealed.secret_share_sha256]:
            raise Misbehaved(
                sealed.dealer, f"shares must have the hashes sent with them, got others from {sealed.dealer}"
            )
        self._opened[sealed] = pair
        return pair

    def _pairs(self) -> dict[str, Pair]:
        """The shares that this bank holds, by dealer."""
        return {sealed.dealer: self._open(sealed) for sealed in self.state.sealed}

    def _masked(self, words: Words) -> Words:
        own = self.state.seat
        total = words + seed_mask(own, self._secret("own seed"), self._roll, len(words))
        for seat in self._partners():
            total += pair_mask(own, seat, self._agree(self._advertised[seat])[1], self._roll, len(words))
        return total

    def _partners(self) -> list[str]:
        """Who shared and holds shares of this bank's secrets, or dealt it some."""
        linked = {*self._holders, *(sealed.dealer for sealed in self.state.sealed)}
        return [seat for seat in self.state.shared if seat in linked and seat != self.state.seat]

    def _agree(self, advertisement: Advertisement) -> Pair:
        """The secrets shared with a seat, for shares and for masks; a seat with a point of low order is named."""
        if advertisement not in self._agreed:
            try:
                secrets = agree(self._share_key, advertisement.share_key), agree(self._mask_key, advertisement.mask_key)
            except Invalid as error:
                raise Misbehaved(advertisement.seat, f"{error} from {advertisement.seat}") from error
            self._agreed[advertisement] = secrets
        return self._agreed[advertisement]

    def _secret(self, purpose: str, context: bytes = b"") -> bytes:
        return derive(self.state.seed, purpose, context or self._transcript)

    # What the stages have fixed.

    @cached_property
    def _figures(self) -> Figures:
        return Figures(self.state.parameters.segments, self.state.sources, self.state.data_sha256)

    @cached_property
    def _share_key(self) -> X25519PrivateKey:
        return private_key(self._secret("share key"))

    @cached_property
    def _mask_key(self) -> X25519PrivateKey:
        return private_key(self._secret("mask key"))

    @cached_property
    def _advertised(self) -> dict[str, Advertisement]:
        return {advertisement.seat: advertisement for advertisement in self.state.advertisements}

    @cached_property
    def _roll(self) -> bytes:
        return roll_sha256(self._transcript, self.state.advertisements)

    @cached_property
    def _shared(self) -> bytes:
        return shared_sha256(self._roll, self.state.shared)

    @cached_property
    def _opening(self) -> bytes:
        return opening_sha256(self._shared, self.state.survivors)

    def _with(self, **lists: object) -> BankState:
        """The state with what a stage brought; what it brought before must be the same."""
        for name, value in lists.items():
            if getattr(self.state, name) not in (type(value)(), value):
                raise Conflict(f"{name} must stay what they were in this attempt, got others")
        return replace(self.state, **lists)  # type: ignore[arg-type]  # the field of that name has that type

    def _need(self, known: object, what: str) -> None:
        if not known:
            raise Stale(f"a stage must come after the one before, got one before {what}")
