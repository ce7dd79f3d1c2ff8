"""A bank against an aggregator that cheats: eighteen attacks by number and what else one might try, each refused by
the bank's own code. The aggregator's part is played by hand where it cheats."""

from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Conflict, Invalid, Stale
from fedfraud.masking import (
    Advertisement,
    Consent,
    Delivery,
    Masked,
    opening_sha256,
    roll_sha256,
    shared_sha256,
    signed,
)
from fedfraud.masking_keys import digest
from fedfraud.masking_parameters import Misbehaved, TooFew
from fedfraud.masking_policy import OpenedBefore, Openings
from fedfraud.masking_replay import recompute
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import Attempt, inputs_of, opened, parameters_of, policy_of, roster_of, signing_key
from tests.fedfraud.third_bank import ME, P, before, begin, consents_to, words_of_all

LOW_ORDER = (1).to_bytes(32, "little")


def test_attack_1_no_seats_seed_and_mask_secret_are_both_released() -> None:
    """There is one list, of survivors; who is not in it is dropped. Bank 10 here."""
    attempt, _ = before(Stage.MASK)
    attempt.leave(["bank-10"])
    bank = attempt.until(Stage.UNMASK).banks[ME]
    released = bank.unmask(attempt.sum.consents)
    assert [share.seat for share in released.seed_shares] == list(P.cohort[:9])
    assert [share.seat for share in released.secret_shares] == ["bank-10"]


def test_attack_2_a_second_list_of_survivors_is_refused() -> None:
    _, bank = before(Stage.CONSENT)
    bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Conflict, match="survivors must stay what they were in this attempt, got others"):
        bank.consent(words_of_all(bank, P.cohort[:9]), Openings())


def test_attack_2_consents_to_another_list_open_nothing() -> None:
    attempt, bank = before(Stage.CONSENT)
    others = consents_to(attempt, P.cohort[:9])
    bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Misbehaved, match="consent must be signed with its seat's key for this very stage"):
        bank.unmask(others)


def test_attack_3_another_attempt_after_the_opening_is_refused() -> None:
    _, bank = before(Stage.CONSENT)
    _, entries = bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Stale, match="a round must come after the last one opened, 1, got 1"):
        begin(replace(P, attempt=1), openings=Openings(entries))


def test_attack_3_an_attempt_begun_before_the_opening_of_another_is_not_opened_either() -> None:
    _, bank = before(Stage.CONSENT)
    _, later = before(Stage.CONSENT, replace(P, attempt=1))
    _, entries = bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Stale, match="a round must come after the last one opened, 1, got 1"):
        later.consent(words_of_all(later, P.cohort), Openings(entries))


def test_attack_4_banks_shown_different_survivors_release_nothing() -> None:
    """Four sign for ten survivors, five for nine: neither list has the seven consents that it needs."""
    attempt, bank = before(Stage.CONSENT)
    mine, others = consents_to(attempt, P.cohort)[:5], consents_to(attempt, P.cohort[:9])
    bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(TooFew, match="an opening must have 7 consents, got 5"):
        bank.unmask(mine)
    with pytest.raises(Misbehaved, match="consent must be signed"):
        bank.unmask((*mine, *others[5:]))


def test_attack_4_a_survivor_that_masked_for_other_sharers_is_not_consented_to() -> None:
    """Else, above 64 banks, one that was told of sharers of the aggregator's choice could be unmasked by the others."""
    _, bank = before(Stage.CONSENT)
    words = list(words_of_all(bank, P.cohort))
    roll = roll_sha256(P.transcript_sha256, bank.state.advertisements)
    words[6] = signed(Masked("bank-07", bytes(32)), signing_key("bank-07"), shared_sha256(roll, P.cohort[:9]))
    rule = "masked must be signed with its seat's key for this very stage of this attempt, got another signature from"
    with pytest.raises(Misbehaved, match=f"{rule} bank-07"):
        bank.consent(words, Openings())
    assert not bank.state.survivors


def test_attack_4_banks_shown_different_sharers_release_nothing() -> None:
    """The seats that shared are part of what is consented to."""
    _, bank = before(Stage.CONSENT)
    roll = digest("shared", b"another list")
    others = [signed(Consent(s), signing_key(s), opening_sha256(roll, P.cohort)) for s in P.cohort]
    bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Misbehaved, match="consent must be signed"):
        bank.unmask(others)


def test_attack_5_a_lowered_threshold_is_refused() -> None:
    with pytest.raises(Invalid, match="a threshold must be 7 of 10 banks, got 3"):
        replace(P, threshold=3)
    with pytest.raises(Invalid, match="a minimum must be 7 to 10, got 3"):
        replace(P, minimum=3)


def test_attack_6_invented_peers_are_refused_in_strict_mode() -> None:
    """At first use a new seat is believed: only the roster file keeps the aggregator's own banks out."""
    grown = parameters_of(12)
    with pytest.raises(Invalid, match="a roster must be the bank's own"):
        begin(grown, roster=roster_of(12))
    begin(grown, roster=roster_of(12), policy=replace(policy_of(10), strict=False))


def test_attack_6_an_advertisement_from_outside_the_cohort_is_refused() -> None:
    attempt, bank = before(Stage.SHARE)
    stranger = signed(Advertisement("bank-11", b"a" * 32, b"b" * 32, b"c" * 32), signing_key("bank-11"), b"")
    with pytest.raises(Invalid, match="advertisements must be among those of the stage before, got bank-11"):
        bank.share((*attempt.sum.advertisements, stranger))


def changed(attempt: Attempt, seat: str, **values: object) -> tuple[Advertisement, ...]:
    """The advertisements with one seat's signed anew, as if the bank itself were bad."""
    transcript = attempt.parameters.transcript_sha256
    return tuple(
        signed(replace(a, **values), signing_key(seat), transcript) if a.seat == seat else a  # type: ignore[arg-type]  # of the fields' kinds
        for a in attempt.sum.advertisements
    )


def test_attack_7_a_substituted_key_of_a_peer_is_refused() -> None:
    attempt, bank = before(Stage.SHARE)
    swapped = tuple(replace(a, mask_key=b"m" * 32) if a.seat == "bank-07" else a for a in attempt.sum.advertisements)
    with pytest.raises(Misbehaved, match=r"advertisement must be signed .* from bank-07"):
        bank.share(swapped)


def test_attack_7_a_substituted_key_of_the_bank_itself_is_refused() -> None:
    attempt, bank = before(Stage.SHARE)
    with pytest.raises(Invalid, match="advertisements must have the bank's own as it made it, got another"):
        bank.share(changed(attempt, ME, mask_key=b"m" * 32))


def test_attack_8_a_peers_keys_of_an_earlier_attempt_are_refused() -> None:
    earlier, _ = before(Stage.SHARE, replace(P, attempt=1))
    attempt, bank = before(Stage.SHARE)
    replayed = tuple(
        old if old.seat == "bank-07" else new
        for old, new in zip(earlier.sum.advertisements, attempt.sum.advertisements, strict=True)
    )
    with pytest.raises(Misbehaved, match=r"advertisement must be signed .* from bank-07"):
        bank.share(replayed)


def test_attack_8_one_key_for_two_seats_is_refused() -> None:
    attempt, bank = before(Stage.SHARE)
    copied = attempt.sum.advertisements[0].mask_key
    with pytest.raises(Invalid, match="advertised keys must all differ, got 19 different ones of 10 seats"):
        bank.share(changed(attempt, "bank-07", mask_key=copied))


def test_attack_9_a_round_on_another_model_than_the_bank_was_given_is_refused() -> None:
    with pytest.raises(Invalid, match="a model hash must be that of the model the bank holds"):
        begin(inputs=replace(inputs_of(P), model_sha256=bytes(32)))


def test_attack_9_banks_with_different_models_cannot_even_exchange_keys() -> None:
    other, _ = before(Stage.SHARE, replace(P, model_sha256=bytes(32)))
    attempt, bank = before(Stage.SHARE)
    mixed = (*attempt.sum.advertisements[:9], other.sum.advertisements[9])
    with pytest.raises(Misbehaved, match=r"advertisement must be signed .* from bank-10"):
        bank.share(mixed)


def test_attack_10_a_tiny_cohort_is_refused() -> None:
    with pytest.raises(Invalid, match="a masked sum must have a cohort of at least 4 banks, got 2"):
        replace(P, cohort=("bank-03", "bank-04"))
    small = replace(P, cohort=P.cohort[:4], threshold=3, holders=3, minimum=3)
    begin(small)
    with pytest.raises(Invalid, match="a cohort must have at least 8 banks, got 4"):
        begin(small, policy=replace(policy_of(10), min_cohort=8))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction_bits": 60}, "fraction bits must be the bank's own, 24, got 60"),
        ({"clip": 1e6}, "a clip must be the bank's own, 4.0, got 1000000.0"),
        ({"weight_cap": 1}, "a weight cap must be the bank's own, 1048576, got 1"),
    ],
)
def test_attack_11_another_scale_clip_or_cap_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(Invalid, match=message):
        begin(replace(P, **change))  # type: ignore[arg-type]  # of the fields' kinds


def test_attack_11_another_modulus_or_mode_is_refused() -> None:
    with pytest.raises(Invalid, match="a modulus must be 18446744073709551616, got 16"):
        replace(P, modulus=16)
    with pytest.raises(Invalid, match="a mode must be 'secure', got 'plain'"):
        replace(P, mode="plain")


@pytest.mark.parametrize("name", ["share_key", "mask_key"])
def test_attack_12_a_point_of_low_order_is_refused(name: str) -> None:
    attempt, bank = before(Stage.SHARE)
    with pytest.raises(Misbehaved, match="a public key must be 32 bytes and no point of low order") as refusal:
        bank.share(changed(attempt, "bank-07", **{name: LOW_ORDER}))
    assert refusal.value.seat == "bank-07"


def delivered(attempt: Attempt, place: int, **values: object) -> Delivery:
    """Bank 3's delivery with one dealer's pair changed."""
    delivery = attempt.sum.delivery(ME)
    sealed = list(delivery.sealed)
    sealed[place] = replace(sealed[place], **values)  # type: ignore[arg-type]  # of the fields' kinds
    return replace(delivery, sealed=tuple(sealed))


def test_attack_13_shares_sealed_for_another_bank_are_refused() -> None:
    attempt, bank = before(Stage.MASK)
    for_bank_4 = attempt.sum.delivery("bank-04").sealed[6]
    with pytest.raises(Invalid, match="shares must be addressed to bank-03, got some for bank-04"):
        bank.mask(
            delivered(attempt, 6, holder="bank-04", ciphertext=for_bank_4.ciphertext), attempt.words[ME], Openings()
        )
    with pytest.raises(Misbehaved, match=r"a ciphertext must open with the key it was sealed for, .* from bank-07"):
        bank.mask(delivered(attempt, 6, ciphertext=for_bank_4.ciphertext), attempt.words[ME], Openings())


def test_attack_13_shares_said_to_be_another_dealers_are_refused() -> None:
    attempt, bank = before(Stage.MASK)
    of_bank_8 = attempt.sum.delivery(ME).sealed[7]
    with pytest.raises(Misbehaved, match=r"a ciphertext must open with the key it was sealed for, .* from bank-07"):
        bank.mask(delivered(attempt, 6, ciphertext=of_bank_8.ciphertext), attempt.words[ME], Openings())


def test_attack_14_survivors_below_the_minimum_are_refused() -> None:
    _, bank = before(Stage.CONSENT)
    with pytest.raises(TooFew, match="survivors must be at least 7, got 6"):
        bank.consent(words_of_all(bank, P.cohort[:6]), Openings())


def test_attack_15_survivors_that_did_not_share_are_refused() -> None:
    attempt, _ = before(Stage.SHARE)
    attempt.leave(["bank-10"])
    bank = attempt.until(Stage.CONSENT).banks[ME]
    with pytest.raises(Invalid, match="survivors must be among those of the stage before, got bank-10"):
        bank.consent(words_of_all(bank, P.cohort), Openings())


def test_attack_15_survivors_without_the_bank_itself_are_refused() -> None:
    _, bank = before(Stage.CONSENT)
    with pytest.raises(Invalid, match="survivors must have the bank itself, bank-03, got"):
        bank.consent(words_of_all(bank, [seat for seat in P.cohort if seat != ME]), Openings())


def test_attack_16_a_seat_named_twice_is_refused_in_every_list() -> None:
    twice = (*P.cohort[:9], "bank-09")
    attempt, bank = before(Stage.SHARE)
    with pytest.raises(Invalid, match="advertisements must be sorted and name each seat once"):
        bank.share((*attempt.sum.advertisements[:9], attempt.sum.advertisements[8]))
    attempt, bank = before(Stage.MASK)
    delivery = attempt.sum.delivery(ME)
    with pytest.raises(Invalid, match="seats that shared must be sorted and name each seat once"):
        bank.mask(replace(delivery, shared=twice), attempt.words[ME], Openings())
    with pytest.raises(Invalid, match="dealers must be sorted and name each seat once"):
        bank.mask(replace(delivery, sealed=(*delivery.sealed[:9], delivery.sealed[8])), attempt.words[ME], Openings())
    attempt, bank = before(Stage.CONSENT)
    with pytest.raises(Invalid, match="survivors must be sorted and name each seat once"):
        bank.consent(words_of_all(bank, twice), Openings())
    consents = consents_to(attempt, P.cohort)
    bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Invalid, match="consents must be sorted and name each seat once"):
        bank.unmask(consents[:1] * 7)


def test_attack_17_a_forged_sum_does_not_come_out_of_the_transcript() -> None:
    """The aggregator says one more; or it leaves bank 10's words out, and no quorum signed for that."""
    attempt = Attempt(P)
    claimed = attempt.run() + np.uint64(1)
    transcript = attempt.sum.transcript()
    assert (recompute(transcript, attempt.masked.__getitem__) != claimed).all()
    with pytest.raises(Misbehaved, match="consent must be signed"):
        recompute(replace(transcript, masked=transcript.masked[:9]), attempt.masked.__getitem__)


def test_attack_18_a_rolled_back_aggregator_finds_rounds_that_stay_opened() -> None:
    """It forgot rounds 1 to 5 and begins anew, in that run or after another."""
    openings = Openings()
    for number in range(1, 6):
        openings = opened(replace(P, round=number), openings)
    openings = opened(replace(P, run_id="run-2"), openings)
    with pytest.raises(Stale, match="a round must come after the last one opened, 5, got 1"):
        begin(openings=openings)


def test_a_bank_that_is_left_out_of_a_list_does_not_go_on() -> None:
    attempt, bank = before(Stage.SHARE)
    with pytest.raises(Invalid, match="advertisements must have the bank itself, bank-03"):
        bank.share(tuple(a for a in attempt.sum.advertisements if a.seat != ME))


def test_fewer_peers_than_an_opening_needs_get_no_shares() -> None:
    attempt, bank = before(Stage.SHARE)
    with pytest.raises(TooFew, match="advertisements must be at least 7, got 6"):
        bank.share(attempt.sum.advertisements[:6])


def test_a_peer_whose_shares_are_held_back_is_noticed() -> None:
    attempt, bank = before(Stage.MASK)
    delivery = attempt.sum.delivery(ME)
    with pytest.raises(Invalid, match="shares must come from the seats that shared, got bank-01"):
        bank.mask(replace(delivery, sealed=delivery.sealed[:9]), attempt.words[ME], Openings())


def test_figures_are_not_opened_over_other_banks_even_by_an_attempt_that_began_before() -> None:
    """Differencing by retry: the sum of ten in one run and of nine in the next would show the tenth's."""
    static = replace(P, segments=("standardise",))
    _, bank = before(Stage.CONSENT, static)
    known = opened(replace(static, run_id="run-0"))
    with pytest.raises(OpenedBefore, match=r"figures must be opened over the same banks and rows .* got standardise "):
        bank.consent(words_of_all(bank, P.cohort[:9]), known)
    bank.consent(words_of_all(bank, P.cohort), known)  # over the same banks it says nothing new
