"""A bank in a masked sum: stages in order, a refusal that changes nothing, the same answers after a restart, and keys
that each attempt has for itself."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedfraud.errors import Conflict, Invalid, Stale
from fedfraud.fixed_point import Words
from fedfraud.masking import Advertisement, Consent, Delivery, Masked, Shares, Unmasking
from fedfraud.masking_bank import BankState, Masker
from fedfraud.masking_parameters import TooFew
from fedfraud.masking_policy import Openings
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import MODEL, Attempt, added, inputs_of, policy_of, roster_of, signing_key
from tests.fedfraud.third_bank import ME, P, before, begin, consents_to, words_of_all


def test_stages_come_in_order() -> None:
    bank = begin()
    with pytest.raises(Stale, match="a stage must come after the one before, got one before shares"):
        bank.mask(Delivery((), ()), np.zeros(8, np.uint64), Openings())
    with pytest.raises(Stale, match="got one before a masked vector"):
        bank.consent(words_of_all(bank, P.cohort), Openings())
    with pytest.raises(Stale, match="got one before consent"):
        bank.unmask(())


def test_words_of_another_length_are_not_masked() -> None:
    attempt, bank = before(Stage.MASK)
    with pytest.raises(Invalid, match=r"a contribution must have 8 words, got \(9,\) uint64"):
        bank.mask(attempt.sum.delivery(ME), np.zeros(9, np.uint64), Openings())


def test_a_bank_signs_with_the_key_that_the_roster_has() -> None:
    with pytest.raises(Invalid, match="a roster must have the bank's own key for bank-03"):
        Masker.begin(
            P, roster_of(10), ME, inputs_of(P), policy_of(10), Openings(), signing_key("bank-04"), lambda n: bytes(n)
        )


def test_a_refusal_changes_nothing() -> None:
    attempt, bank = before(Stage.CONSENT)
    state = bank.state
    with pytest.raises(TooFew):
        bank.consent(words_of_all(bank, P.cohort[:6]), Openings())
    assert bank.state == state
    assert bank.consent(words_of_all(bank, P.cohort), Openings())[0] == consents_to(attempt, P.cohort)[2]


def restarted(bank: Masker) -> Masker:
    return Masker(BankState.from_bytes(bank.state.to_bytes()), policy_of(10), signing_key(ME))


Answer = Advertisement | Shares | tuple[Masked, list[int]] | tuple[Consent, dict[bytes, bytes]] | Unmasking


def answers(attempt: Attempt, stage: Stage) -> Callable[[Masker], Answer]:
    """What bank 3 says at a stage."""

    def masked(bank: Masker) -> tuple[Masked, list[int]]:
        header, words, _ = bank.mask(attempt.sum.delivery(ME), attempt.words[ME], Openings())
        return header, words.tolist()

    says: dict[Stage, Callable[[Masker], Answer]] = {
        Stage.ADVERTISE: Masker.advertise,
        Stage.SHARE: lambda bank: bank.share(attempt.sum.advertisements),
        Stage.MASK: masked,
        Stage.CONSENT: lambda bank: bank.consent(attempt.sum.masked, Openings()),
        Stage.UNMASK: lambda bank: bank.unmask(attempt.sum.consents),
    }
    return says[stage]


@pytest.mark.parametrize("stage", Stage)
def test_a_bank_restarted_before_or_after_an_answer_says_the_same(stage: Stage) -> None:
    attempt, bank = before(stage)
    says = answers(attempt, stage)
    restored = restarted(bank)
    assert restored.state == bank.state
    first = says(bank)
    assert says(bank) == first
    assert says(restored) == first
    assert says(restarted(bank)) == first
    assert restarted(bank).state.to_bytes() == bank.state.to_bytes()


@pytest.mark.parametrize("restart", [lambda bank: bank, restarted])
def test_one_key_masks_one_vector(restart: Callable[[Masker], Masker]) -> None:
    attempt, bank = before(Stage.MASK)
    delivery, words = attempt.sum.delivery(ME), attempt.words[ME]
    bank.mask(delivery, words, Openings())
    with pytest.raises(Conflict, match="words_sha256 must stay what they were in this attempt, got others"):
        restart(bank).mask(delivery, words + np.uint64(1), Openings())
    nine = Delivery(P.cohort[:9], delivery.sealed[:9])
    with pytest.raises(Conflict, match="shared must stay what they were in this attempt, got others"):
        restart(bank).mask(nine, words, Openings())


def test_one_attempt_shares_with_one_list_of_peers() -> None:
    attempt, bank = before(Stage.SHARE)
    bank.share(attempt.sum.advertisements)
    with pytest.raises(Conflict, match="advertisements must stay what they were in this attempt, got others"):
        restarted(bank).share(attempt.sum.advertisements[:9])


def test_the_seed_is_not_shown_by_the_way() -> None:
    bank = begin(seed=b"S" * 32)
    assert "SSSS" not in repr(bank.state)
    assert (b"S" * 32).hex().encode() in bank.state.to_bytes()


def test_a_state_of_another_version_is_refused() -> None:
    data = begin().state.to_bytes()
    with pytest.raises(Invalid, match="stored bytes must be version 1 of a BankState"):
        BankState.from_bytes(data.replace(b'"version":1', b'"version":0'))


def test_each_seed_makes_keys_of_its_own() -> None:
    first, second = begin(seed=bytes(32)).advertise(), begin(seed=b"\1" * 32).advertise()
    fields = [(a.share_key, a.mask_key, a.seed_sha256) for a in (first, second)]
    assert len({key for three in fields for key in three}) == 6


def test_each_attempt_makes_keys_of_its_own_even_from_one_seed() -> None:
    assert begin().advertise().mask_key != begin(replace(P, attempt=1)).advertise().mask_key


def test_a_masked_vector_is_the_words_plus_one_mask_for_itself_and_one_for_each_partner() -> None:
    """All words 0: what the ten banks add cancels but for their own masks, and no vector is 0."""
    zeros: dict[str, Words] = {seat: np.zeros(8, np.uint64) for seat in P.cohort}
    attempt = Attempt(P, zeros)
    assert attempt.run().tolist() == [0] * 8
    assert added(attempt.masked, P.cohort) != [0] * 8
    assert len({tuple(words.tolist()) for words in attempt.masked.values()}) == 10
    assert P.model_sha256 == MODEL
