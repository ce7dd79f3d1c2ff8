"""A sum and banks whose answers are wrong, doubled or late: the bank is named, and the sum is the others' or none."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedfraud import shamir
from fedfraud.errors import Conflict, Stale
from fedfraud.masking import (
    Consent,
    Message,
    Sealed,
    Share,
    Unmasking,
    opening_sha256,
    roll_sha256,
    shared_sha256,
    signed,
)
from fedfraud.masking_bank import Masker
from fedfraud.masking_parameters import Misbehaved
from fedfraud.masking_policy import Openings
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import Attempt, added, parameters_of, policy_of, signing_key

P = parameters_of(10)
SEATS = P.cohort


def named(seat: str, message: str, call: Callable[[], object]) -> None:
    with pytest.raises(Misbehaved, match=message) as refusal:
        call()
    assert refusal.value.seat == seat


def with_bank(kind: type[Masker], seat: str = "bank-07") -> Attempt:
    """An attempt in which one bank is of another kind."""
    attempt = Attempt(P)
    attempt.banks[seat] = kind(attempt.banks[seat].state, policy_of(10), signing_key(seat))
    return attempt


class GarbageSealer(Masker):
    def _deal(self) -> tuple[Sealed, ...]:
        return tuple(replace(sealed, ciphertext=bytes(80)) for sealed in super()._deal())


class HashLiar(Masker):
    def _deal(self) -> tuple[Sealed, ...]:
        return tuple(replace(sealed, secret_share_sha256=bytes(32)) for sealed in super()._deal())


class OtherSecretDealer(Masker):
    """Deals proper shares of secrets that are not its own."""

    def _deal(self) -> tuple[Sealed, ...]:
        shares = shamir.share(bytes(32), 7, range(1, 11), lambda count: bytes(count))
        return tuple(self._sealed(seat, share, share) for seat, share in zip(SEATS, shares, strict=True))


class OversizedDealer(Masker):
    """Deals numbers beyond the prime."""

    def _deal(self) -> tuple[Sealed, ...]:
        return tuple(self._sealed(seat, b"\xff" * 32, b"\xff" * 32) for seat in SEATS)


class Withholder(Masker):
    """Deals nothing to bank 10."""

    def _deal(self) -> tuple[Sealed, ...]:
        return super()._deal()[:9]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GarbageSealer, "a ciphertext must open with the key it was sealed for, got 80 others from bank-07"),
        (HashLiar, "shares must have the hashes sent with them, got others from bank-07"),
        (Withholder, "holders must be the dealer and 9 peers that advertised, got bank-01, .* from bank-07"),
    ],
)
def test_a_bank_that_deals_badly_is_named_before_anything_is_masked(kind: type[Masker], message: str) -> None:
    attempt = with_bank(kind)
    named("bank-07", message, attempt.run)
    assert attempt.masked == {}


@pytest.mark.parametrize("dropped", [(), ("bank-07",)])
@pytest.mark.parametrize("kind", [OtherSecretDealer, OversizedDealer])
def test_a_bank_whose_shares_do_not_give_its_secret_is_named_and_there_is_no_sum(
    kind: type[Masker], dropped: tuple[str, ...]
) -> None:
    attempt = with_bank(kind)
    message = "(shares dealt must rebuild the secret advertised, got another of|dealt by) bank-07"
    named("bank-07", message, lambda: attempt.run({Stage.MASK: dropped}))


def wrong_share(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, seed_shares=(Share("bank-01", bytes(32)), *unmasking.seed_shares[1:]))


def short_share(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, seed_shares=(Share("bank-01", bytes(31)), *unmasking.seed_shares[1:]))


def one_share_less(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, seed_shares=unmasking.seed_shares[1:])


def one_share_more(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, secret_shares=(Share("bank-01", bytes(32)), *unmasking.secret_shares))


def one_share_twice(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, seed_shares=(unmasking.seed_shares[0], *unmasking.seed_shares))


def kinds_exchanged(unmasking: Unmasking) -> Unmasking:
    return replace(unmasking, seed_shares=unmasking.secret_shares, secret_shares=unmasking.seed_shares)


@pytest.mark.parametrize(
    "change", [wrong_share, short_share, one_share_less, one_share_more, one_share_twice, kinds_exchanged]
)
def test_a_bank_that_releases_other_shares_is_named_and_the_sum_opens_without_it(
    change: Callable[[Unmasking], Unmasking],
) -> None:
    attempt = Attempt(P).until(Stage.MASK)
    attempt.leave(["bank-10"])
    attempt.until(Stage.CONSENT)
    survivors = attempt.sum.survivors
    shared = shared_sha256(roll_sha256(P.transcript_sha256, attempt.sum.advertisements), SEATS)
    attempt.until(Stage.UNMASK)
    honest = attempt.banks["bank-02"].unmask(attempt.sum.consents)
    bad = signed(change(honest), signing_key("bank-02"), opening_sha256(shared, survivors))
    named("bank-02", "share", lambda: attempt.sum.unmask(bad))
    attempt.leave(["bank-02"])
    assert attempt.run().tolist() == added(attempt.words, SEATS[:9])


def answer_of(attempt: Attempt, seat: str) -> tuple[Message, Callable[[Message], bool]]:
    """What a bank would say at the stage that is open, and the door that takes it."""
    bank, total = attempt.fork().banks[seat], attempt.sum
    match total.stage:
        case Stage.ADVERTISE:
            return bank.advertise(), total.advertise  # type: ignore[return-value]  # it takes this kind alone
        case Stage.SHARE:
            return bank.share(total.advertisements), total.share  # type: ignore[return-value]  # it takes this kind alone
        case Stage.MASK:
            masked, words, _ = bank.mask(total.delivery(seat), attempt.words[seat], Openings())
            return masked, lambda answer: total.mask(answer, words)
        case Stage.CONSENT:
            return bank.consent(total.masked, Openings())[0], total.consent  # type: ignore[return-value]  # it takes this kind alone
        case Stage.UNMASK:
            return bank.unmask(total.consents), total.unmask  # type: ignore[return-value]  # it takes this kind alone


@pytest.mark.parametrize("stage", Stage)
def test_a_bad_signature_is_named_at_every_stage(stage: Stage) -> None:
    answer, take = answer_of(Attempt(P).until(stage), "bank-07")
    rule = "must be signed with its seat's key for this very stage of this attempt, got another signature from bank-07"
    named("bank-07", rule, lambda: take(replace(answer, signature=bytes(64))))
    named("bank-07", "a signature must be 64 bytes, got 0 from bank-07", lambda: take(replace(answer, signature=b"")))


@pytest.mark.parametrize("stage", Stage)
def test_an_answer_counts_once_and_a_second_different_one_is_a_conflict(stage: Stage) -> None:
    attempt = Attempt(P).until(stage)
    answer, take = answer_of(attempt, "bank-07")
    assert take(answer)
    assert not take(answer)
    with pytest.raises(Conflict, match=r"a seat answers a stage once, got a second, different \w+ from bank-07"):
        take(replace(answer, signature=bytes(64)))
    assert attempt.run().tolist() == added(attempt.words, SEATS)


def test_an_answer_after_its_stage_is_stale_unless_it_counts_already() -> None:
    attempt = Attempt(P)
    early, late = attempt.banks["bank-01"].advertise(), attempt.banks["bank-07"].advertise()
    attempt.leave(["bank-07"])
    attempt.until(Stage.SHARE)
    assert not attempt.sum.advertise(early)
    with pytest.raises(Stale, match="an answer must be to stage share, got Advertisement from bank-07"):
        attempt.sum.advertise(late)


def test_a_seat_that_left_out_a_stage_is_not_heard_in_the_next() -> None:
    attempt = Attempt(P).until(Stage.MASK)
    late = attempt.banks["bank-07"]
    attempt.leave(["bank-07"])
    attempt.until(Stage.CONSENT)
    with pytest.raises(Stale, match="must come from a seat that answered the stage before, got Consent from bank-07"):
        attempt.sum.consent(signed(Consent("bank-07"), signing_key("bank-07"), bytes(32)))
    assert late.state.survivors == ()


def test_masked_words_of_another_length_or_hash_are_named() -> None:
    attempt = Attempt(P).until(Stage.MASK)
    masked, words, _ = attempt.banks["bank-07"].mask(
        attempt.sum.delivery("bank-07"), attempt.words["bank-07"], Openings()
    )
    named("bank-07", "must have 8 words, got 7 from bank-07", lambda: attempt.sum.mask(masked, words[:7]))
    named(
        "bank-07", "must have 8 words, got 8 from bank-07", lambda: attempt.sum.mask(masked, words.astype(np.float64))
    )
    rule = "must have the hash signed for it, got other words from bank-07"
    named("bank-07", rule, lambda: attempt.sum.mask(masked, words + np.uint64(1)))
    assert attempt.sum.mask(masked, words)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"mask_key": bytes(32)}, "a public key must be 32 bytes and no point of low order, got 0+ from bank-07"),
        ({"share_key": bytes(32)}, "a public key must be 32 bytes and no point of low order, got 0+ from bank-07"),
        ({"share_key": b"k" * 32, "mask_key": b"k" * 32}, "advertised keys must all differ, got one for two from"),
        ({"mask_key": b"k"}, "an advertisement's mask_key must be 32 bytes, got 1 from bank-07"),
    ],
)
def test_a_bank_with_bad_keys_is_named(keys: dict[str, bytes], message: str) -> None:
    attempt = Attempt(P)
    bad = replace(attempt.banks["bank-07"].advertise(), **keys)  # type: ignore[arg-type]  # keys alone
    bad = signed(bad, signing_key("bank-07"), P.transcript_sha256)
    named("bank-07", message, lambda: attempt.sum.advertise(bad))


def test_a_bank_that_advertises_anothers_keys_is_named() -> None:
    attempt = Attempt(P)
    first = attempt.banks["bank-01"].advertise()
    attempt.sum.advertise(first)
    copied = signed(replace(first, seat="bank-07"), signing_key("bank-07"), P.transcript_sha256)
    named("bank-07", "advertised keys must all differ, got one for two from", lambda: attempt.sum.advertise(copied))
