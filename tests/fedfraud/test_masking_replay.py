"""From the accepted answers the same attempt comes back: after a crash at any stage, and for whoever checks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fedfraud.masking import Transcript
from fedfraud.masking_parameters import Misbehaved, TooFew
from fedfraud.masking_replay import recompute, replay
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import Attempt, added, parameters_of

P = parameters_of(10)
SEATS = P.cohort


def finished() -> Attempt:
    """Bank 10 shared and sent no words."""
    attempt = Attempt(P)
    attempt.run({Stage.MASK: ["bank-10"]})
    return attempt


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("answered", [0, 5, 9])
def test_an_aggregator_that_crashed_at_any_stage_goes_on_to_the_same_sum(stage: Stage, answered: int) -> None:
    undisturbed = finished()
    attempt = Attempt(P)
    if stage > Stage.MASK:
        attempt.until(Stage.MASK).leave(["bank-10"])
    attempt.until(stage).leave(["bank-10"] if stage is Stage.MASK else [])
    for seat in SEATS[:answered]:
        attempt.answer(seat, attempt.banks[seat])
    attempt.sum = replay(Transcript.from_bytes(attempt.sum.transcript().to_bytes()), attempt.masked.__getitem__, stage)
    total = attempt.run({Stage.MASK: ["bank-10"]})
    assert total.tolist() == added(attempt.words, SEATS[:9])
    assert attempt.sum.transcript() == undisturbed.sum.transcript()


def test_anybody_recomputes_the_sum_from_the_public_transcript() -> None:
    attempt = finished()
    transcript = Transcript.from_bytes(attempt.sum.transcript().to_bytes())
    assert recompute(transcript, attempt.masked.__getitem__).tolist() == added(attempt.words, SEATS[:9])


def test_masked_words_that_nobody_signed_are_noticed() -> None:
    attempt = finished()
    changed = {**attempt.masked, "bank-04": attempt.masked["bank-04"] + np.uint64(1)}
    with pytest.raises(Misbehaved, match="got other words from bank-04"):
        recompute(attempt.sum.transcript(), changed.__getitem__)


@pytest.mark.parametrize("name", ["advertisements", "shares", "masked"])
def test_an_answer_that_is_left_out_is_noticed(name: str) -> None:
    attempt = finished()
    transcript = attempt.sum.transcript()
    answers: Any = tuple(answer for answer in getattr(transcript, name) if answer.seat != "bank-05")
    with pytest.raises(Misbehaved, match="must be signed with its seat's key for this very stage"):
        recompute(replace(transcript, **{name: answers}), attempt.masked.__getitem__)


@pytest.mark.parametrize(("name", "message"), [("consents", "got 6"), ("unmaskings", "got fewer for bank-01")])
def test_a_sum_without_a_quorum_or_enough_shares_is_none(name: str, message: str) -> None:
    attempt = finished()
    transcript = attempt.sum.transcript()
    with pytest.raises(TooFew, match=message):
        recompute(replace(transcript, **{name: getattr(transcript, name)[3:]}), attempt.masked.__getitem__)


def test_a_transcript_under_other_parameters_is_noticed() -> None:
    attempt = finished()
    with pytest.raises(Misbehaved, match="advertisement must be signed"):
        recompute(replace(attempt.sum.transcript(), parameters=replace(P, clip=8.0)), attempt.masked.__getitem__)
