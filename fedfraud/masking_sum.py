"""The aggregator's side of one attempt: takes each stage's answers in and opens the exact sum, or says why it cannot.

All that it holds is in the Transcript, which the banks get after the round: it is the aggregator's view and no more.
Rebuilt from it by masking_replay.py, the same sum comes out. The caller makes an answer durable before it acknowledges
it, and a stage's end before it sends the next list. A round whose survivors were sent out is not tried again: banks
consent once a round.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from itertools import islice
from typing import TypeVar

import numpy as np

from fedfraud import fixed_point, shamir
from fedfraud.errors import Conflict, Invalid, Stale
from fedfraud.fixed_point import Words
from fedfraud.masking import (
    Advertisement,
    Consent,
    Delivery,
    Masked,
    Sealed,
    Share,
    Shares,
    Transcript,
    Unmasking,
    check_signed,
    opening_sha256,
    pair_mask,
    roll_sha256,
    seed_mask,
    shared_sha256,
)
from fedfraud.masking_keys import agree, digest, private_key, public_key
from fedfraud.masking_parameters import Misbehaved, Parameters, Roster, TooFew, check_roster

T = TypeVar("T")
M = TypeVar("M", Advertisement, Shares, Masked, Consent, Unmasking)
_PROBE = private_key(bytes(32))
"""Any X25519 secret shows a point of low order."""


class Stage(IntEnum):
    """What is being collected."""

    ADVERTISE = 0
    SHARE = 1
    MASK = 2
    CONSENT = 3
    UNMASK = 4


class MaskedSum:
    """One attempt. An answer is taken in once: True if it is new, False for the very same again."""

    def __init__(self, parameters: Parameters, roster: Roster) -> None:
        check_roster(parameters, roster)
        self.parameters = parameters
        self.stage = Stage.ADVERTISE
        self.roster = roster
        self._advertisements: dict[str, Advertisement] = {}
        self._shares: dict[str, Shares] = {}
        self._masked: dict[str, Masked] = {}
        self._consents: dict[str, Consent] = {}
        self._unmaskings: dict[str, Unmasking] = {}
        self._total: Words = np.zeros(parameters.word_count, np.uint64)

    # What banks answer.

    def advertise(self, advertisement: Advertisement) -> bool:
        """Stage advertise."""
        return self._take(Stage.ADVERTISE, advertisement, self._advertisements, self._check_keys)

    def share(self, shares: Shares) -> bool:
        """Stage share."""
        return self._take(Stage.SHARE, shares, self._shares, self._check_holders)

    def mask(self, masked: Masked, words: Words) -> bool:
        """Stage mask: the words, (word_count,), are added and not kept."""
        if not self._take(Stage.MASK, masked, self._masked, lambda _: self._check_words(masked, words)):
            return False
        self._total += words
        return True

    def consent(self, consent: Consent) -> bool:
        """Stage consent."""
        return self._take(Stage.CONSENT, consent, self._consents, lambda _: None)

    def unmask(self, unmasking: Unmasking) -> bool:
        """Stage unmask: each share is held to the hash that its dealer signed, so a wrong one names who released it."""
        return self._take(Stage.UNMASK, unmasking, self._unmaskings, self._check_released)

    def forget(self, seat: str, words: Words | None = None) -> None:
        """Takes back the seat's answer to this stage: it could not be made durable and was not acknowledged."""
        del self._answers()[seat]
        if words is not None:
            self._total -= words

    # What the aggregator does.

    def missing(self) -> tuple[str, ...]:
        """Who may still answer this stage; nobody once the sum can be opened."""
        if self.stage is Stage.UNMASK and not self._lacking():
            return ()
        return tuple(seat for seat in self.expected() if seat not in self._answers())

    def close(self) -> None:
        """Ends the stage with the answers there are; with too few, nothing was opened and nothing can be."""
        if self.stage is Stage.UNMASK:
            raise Stale("a stage that is closed must not be the last, which open() ends, got UNMASK")
        least = self.parameters.quorum if self.stage is Stage.CONSENT else self.parameters.minimum
        if len(self._answers()) < least:
            rule = f"stage {self.stage.name.lower()} must have answers of {least} banks"
            raise TooFew(f"{rule}, got {len(self._answers())}", self.missing())
        self.stage = Stage(self.stage + 1)

    def delivery(self, seat: str) -> Delivery:
        """What stage mask begins with for a seat that shared."""
        return Delivery(self.shared, self._held[seat])

    def open(self) -> Words:
        """The exact sum of the survivors' words modulo 2**64, (word_count,); a bank whose shares do not rebuild what it
        advertised is named."""
        self._check_openable()
        roll, count, total = self._roll, self.parameters.word_count, self._total.copy()
        rebuilt = self._rebuilt()
        for seat in self.survivors:
            total -= seed_mask(seat, rebuilt[seat], roll, count)
        for seat in self.dropped:
            key = private_key(rebuilt[seat])
            for other in self._surviving_partners(seat):  # adds what the dropped seat would have added
                agreed = agree(key, self._advertisements[other].mask_key)
                total += pair_mask(seat, other, agreed, roll, count)
        return total

    def transcript(self) -> Transcript:
        """What was taken in so far."""
        return Transcript(
            self.parameters,
            self.roster,
            self.advertisements,
            _by_seat(self._shares),
            self.masked,
            self.consents,
            _by_seat(self._unmaskings),
        )

    @property
    def advertisements(self) -> tuple[Advertisement, ...]:
        """What stage share begins with."""
        return _by_seat(self._advertisements)

    @property
    def masked(self) -> tuple[Masked, ...]:
        """What stage consent begins with."""
        return _by_seat(self._masked)

    @property
    def shared(self) -> tuple[str, ...]:
        """Who dealt shares."""
        return tuple(sorted(self._shares))

    @property
    def survivors(self) -> tuple[str, ...]:
        """Whose words are in the sum."""
        return tuple(sorted(self._masked))

    @property
    def dropped(self) -> tuple[str, ...]:
        """Who shared and sent no words."""
        return tuple(sorted(self._shares.keys() - self._masked))

    @property
    def consents(self) -> tuple[Consent, ...]:
        """What stage unmask begins with."""
        return _by_seat(self._consents)

    # What an answer must be.

    def _take(self, stage: Stage, message: M, answers: dict[str, M], check: Callable[[M], None]) -> bool:
        seat, name = message.seat, type(message).__name__
        if answers.get(seat) == message:
            return False
        if seat in answers:
            raise Conflict(f"a seat answers a stage once, got a second, different {name} from {seat}")
        if stage is not self.stage:
            raise Stale(f"an answer must be to stage {self.stage.name.lower()}, got {name} from {seat}")
        if seat not in self.expected():
            raise Stale(f"an answer must come from a seat that answered the stage before, got {name} from {seat}")
        check_signed(message, self.roster, self._context())
        check(message)
        answers[seat] = message
        return True

    def _check_keys(self, advertisement: Advertisement) -> None:
        seat, keys = advertisement.seat, (advertisement.share_key, advertisement.mask_key)
        known = {key for other in self._advertisements.values() for key in (other.share_key, other.mask_key)}
        if len({*known, *keys}) != len(known) + len(keys):
            raise Misbehaved(seat, f"advertised keys must all differ, got one for two from {seat}")
        try:
            for key in keys:
                agree(_PROBE, key)
        except Invalid as error:
            raise Misbehaved(seat, f"{error} from {seat}") from error

    def _check_holders(self, shares: Shares) -> None:
        seat, holders, count = shares.seat, set(shares.holders), len(self._advertisements)
        size = min(self.parameters.holders + 1, count)
        if len(holders) != size or seat not in holders or not holders <= self._advertisements.keys():
            rule = f"holders must be the dealer and {size - 1} peers that advertised"
            raise Misbehaved(seat, f"{rule}, got {', '.join(shares.holders)[:200]} from {seat}")

    def _check_words(self, masked: Masked, words: Words) -> None:
        seat, count = masked.seat, self.parameters.word_count
        if words.dtype != np.uint64 or words.shape != (count,):
            raise Misbehaved(seat, f"a masked vector must have {count} words, got {words.size} from {seat}")
        if sha256(fixed_point.to_bytes(words)).digest() != masked.vector_sha256:
            raise Misbehaved(seat, f"a masked vector must have the hash signed for it, got other words from {seat}")

    def _check_released(self, unmasking: Unmasking) -> None:
        seat, held = unmasking.seat, self._held[unmasking.seat]
        seeds = [(s.dealer, s.seed_share_sha256) for s in held if s.dealer in self._masked]
        secrets = [(s.dealer, s.secret_share_sha256) for s in held if s.dealer not in self._masked]
        if (self._hashes(seat, unmasking.seed_shares), self._hashes(seat, unmasking.secret_shares)) != (seeds, secrets):
            rule = "released shares must be those dealt, of each survivor's seed and each dropped seat's mask secret"
            raise Misbehaved(seat, f"{rule}, got others from {seat}")

    def _hashes(self, holder: str, shares: Iterable[Share]) -> list[tuple[str, bytes]]:
        return [(s.seat, digest("share", self._roll, s.seat, holder, s.share)) for s in shares]

    # What opens the sum.

    def _check_openable(self) -> None:
        if self.stage is not Stage.UNMASK:
            raise Stale(f"a sum must be opened at stage unmask, got {self.stage.name.lower()}")
        lacking = self._lacking()
        if lacking:
            rule = f"an opening must have {self.parameters.threshold} shares of each secret"
            raise TooFew(f"{rule}, got fewer for {', '.join(lacking)[:200]}", self.missing())

    def _lacking(self) -> list[str]:
        """Whose secret cannot be rebuilt yet."""
        released = self._released()
        return [seat for seat in sorted(self._shares) if len(released.get(seat, ())) < self.parameters.threshold]

    def _released(self) -> dict[str, dict[int, bytes]]:
        """By seat and place, the shares of its seed if it survived, of its mask secret if it was dropped."""
        released: dict[str, dict[int, bytes]] = {}
        for holder, unmasking in sorted(self._unmaskings.items()):
            place = self.parameters.place(holder)
            for share in (*unmasking.seed_shares, *unmasking.secret_shares):
                released.setdefault(share.seat, {})[place] = share.share
        return released

    def _rebuilt(self) -> dict[str, bytes]:
        """Each seat's seed or mask secret, held to what it advertised; the dealer of other shares is named."""
        rebuilt = {seat: self._combined(seat, shares) for seat, shares in self._released().items()}
        for seat, secret in rebuilt.items():
            advertised = self._advertisements[seat]
            survived = seat in self._masked
            own = digest("seed", self._transcript, seat, secret) if survived else public_key(private_key(secret))
            if own != (advertised.seed_sha256 if survived else advertised.mask_key):
                raise Misbehaved(seat, f"shares dealt must rebuild the secret advertised, got another of {seat}")
        return rebuilt

    def _combined(self, seat: str, shares: Mapping[int, bytes]) -> bytes:
        try:
            return shamir.combine(dict(islice(shares.items(), self.parameters.threshold)))
        except Invalid as error:
            raise Misbehaved(seat, f"{error} dealt by {seat}") from error

    def _surviving_partners(self, seat: str) -> list[str]:
        """The survivors that masked their words with this seat too."""
        holders = set(self._shares[seat].holders)
        return [s for s in self.survivors if s in holders or seat in self._shares[s].holders]

    # What the stages have fixed.

    def _answers(self) -> dict[str, object]:
        """To this stage, so far."""
        answers = (self._advertisements, self._shares, self._masked, self._consents, self._unmaskings)
        return answers[self.stage]  # type: ignore[return-value]  # of one kind each

    def expected(self) -> tuple[str, ...]:
        """Whose answers to this stage count: who answered the one before. To unmask every survivor may."""
        lists = (self.parameters.cohort, self._advertisements, self._shares, self._masked, self._masked)
        return tuple(sorted(lists[self.stage]))

    def _context(self) -> bytes:
        """What this stage's answers are signed for."""
        match self.stage:
            case Stage.ADVERTISE:
                return self._transcript
            case Stage.SHARE:
                return self._roll
            case Stage.MASK:
                return self._shared
            case Stage.CONSENT | Stage.UNMASK:
                return self._opening

    @property
    def _transcript(self) -> bytes:
        return self.parameters.transcript_sha256

    @cached_property
    def _roll(self) -> bytes:
        return roll_sha256(self._transcript, self.advertisements)

    @cached_property
    def _shared(self) -> bytes:
        return shared_sha256(self._roll, self.shared)

    @cached_property
    def _opening(self) -> bytes:
        return opening_sha256(self._shared, self.survivors)

    @cached_property
    def _held(self) -> dict[str, tuple[Sealed, ...]]:
        """What was dealt to each seat, by dealer."""
        held: dict[str, list[Sealed]] = {seat: [] for seat in self._advertisements}
        for _, shares in sorted(self._shares.items()):
            for sealed in shares.sealed:
                held[sealed.holder].append(sealed)
        return {seat: tuple(dealt) for seat, dealt in held.items()}


def _by_seat(answers: Mapping[str, T]) -> tuple[T, ...]:
    return tuple(answers[seat] for seat in sorted(answers))
