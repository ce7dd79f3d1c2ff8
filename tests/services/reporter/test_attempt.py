"""Who has answered the stage that a masked round is at, and whom it waited for where it got stuck."""

from collections.abc import Callable

import pytest

from fedfraud.v1 import history_pb2, masking_pb2, model_pb2
from services.reporter import markdown
from services.reporter.facts import RunFacts
from services.reporter.fold import Facts
from services.reporter.report import compose
from services.reporter.round_facts import MissingAnswer, OpenRound
from tests.services.reporter.figures import figures_of_its_own
from tests.services.reporter.journals import FAILED, RUN, TRAINING, Journal

FOUR = ["bank-01", "bank-02", "bank-03", "bank-04"]
THREE = FOUR[:3]
KEY = model_pb2.RoundKey(run_id=RUN, round=1, attempt=1)
ADVERTISE, SHARE, MASK, CONSENT, UNMASK = (
    masking_pb2.MASKING_STAGE_ADVERTISE,
    masking_pb2.MASKING_STAGE_SHARE,
    masking_pb2.MASKING_STAGE_MASK,
    masking_pb2.MASKING_STAGE_CONSENT,
    masking_pb2.MASKING_STAGE_UNMASK,
)


def opened(cohort: list[str]) -> Journal:
    """A masked training round, which waits for its cohort's keys."""
    journal = Journal().started(secure=True).opened(1, cohort)
    journal.entries[-1].round_opened.task_sha256 = b"t" * 32
    journal.entries[-1].round_opened.step = 1
    return journal


def answered(journal: Journal, seats: list[str], **answer: object) -> Journal:
    for seat in seats:
        told = masking_pb2.StageAnswer(**answer)  # type: ignore[arg-type]  # one of its answers
        journal.add(stage_answered=history_pb2.StageAnswered(key=KEY, seat=seat, answer=told))
    return journal


def closed(journal: Journal, stage: masking_pb2.MaskingStage.ValueType) -> Journal:
    return journal.add(stage_closed=history_pb2.StageClosed(key=KEY, stage=stage))


def advertised(journal: Journal, seats: list[str]) -> Journal:
    return closed(answered(journal, seats, advertisement=masking_pb2.Advertisement()), ADVERTISE)


def shared(journal: Journal, seats: list[str]) -> Journal:
    return closed(answered(journal, seats, shares=masking_pb2.DealtShares()), SHARE)


def masked(journal: Journal, seats: list[str]) -> Journal:
    for seat in seats:
        journal.accepted(1, seat, size=80)
    return closed(journal, MASK)


def unmasking(*dealers: str) -> masking_pb2.Unmasking:
    return masking_pb2.Unmasking(seed_shares=[masking_pb2.ReleasedShare(dealer=dealer) for dealer in dealers])


def standing(journal: Journal) -> OpenRound:
    facts = Facts()
    for entry in journal.entries:
        facts.apply(entry)
    run = facts.completed()
    assert run is not None
    assert run.open is not None
    return run.open


def abandoned(journal: Journal, seats: list[str], reason: str) -> RunFacts:
    ended = history_pb2.RoundAbandoned(key=KEY, step=1, seats=seats, reason=reason)
    ended.segments.extend([model_pb2.SEGMENT_KIND_EVALUATE, model_pb2.SEGMENT_KIND_TRAIN])
    return journal.add(round_abandoned=ended).finished(FAILED, "too few").facts()


def test_each_stage_begins_with_nobody_and_waits_for_those_who_answered_the_one_before() -> None:
    journal = answered(opened(FOUR), ["bank-02"], advertisement=masking_pb2.Advertisement())
    stands = standing(journal)
    assert (stands.stage, stands.answered, stands.awaited) == (
        "advertise",
        ["bank-02"],
        ["bank-01", "bank-03", "bank-04"],
    )
    stands = standing(advertised(journal, ["bank-01", "bank-03"]))
    assert (stands.stage, stands.answered, stands.awaited) == ("share", [], THREE)
    stands = standing(masked(shared(journal, THREE), THREE))
    assert (stands.stage, stands.answered, stands.awaited) == ("consent", [], THREE)
    stands = standing(answered(journal, ["bank-03"], consent=masking_pb2.Consent()))
    assert (stands.answered, stands.awaited, stands.contributed, stands.bytes) == (["bank-03"], THREE[:2], THREE, 240)


def test_in_a_round_without_masks_a_contribution_is_the_answer() -> None:
    stands = standing(Journal().started().opened(1, FOUR).accepted(1, "bank-02"))
    assert (stands.stage, stands.answered, stands.awaited) == (None, ["bank-02"], ["bank-01", "bank-03", "bank-04"])


def test_who_sits_out_is_not_waited_for() -> None:
    declined = masking_pb2.Declined(reason=masking_pb2.DECLINE_REASON_POLICY)
    stands = standing(answered(advertised(opened(FOUR), FOUR), ["bank-04"], declined=declined))
    assert (stands.sat_out, stands.awaited) == (["bank-04"], THREE)


def test_to_unmask_every_seat_of_the_sum_may_and_nobody_is_waited_for_once_it_can_be_opened() -> None:
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), FOUR)
    closed(answered(journal, THREE, consent=masking_pb2.Consent()), CONSENT)
    assert standing(journal).awaited == FOUR
    # Four banks: a threshold of 3 shares of each of the four secrets.
    answered(journal, ["bank-04", "bank-01"], unmasking=unmasking(*FOUR))
    assert standing(journal).awaited == ["bank-02", "bank-03"]
    answered(journal, ["bank-02"], unmasking=unmasking(*THREE))
    assert standing(journal).awaited == ["bank-03"]
    answered(journal, ["bank-03"], unmasking=unmasking("bank-04"))
    assert standing(journal).awaited == []


def test_an_abandoned_round_names_whom_it_waited_for_where_it_got_stuck_and_why() -> None:
    declined = masking_pb2.Declined(reason=masking_pb2.DECLINE_REASON_LOST)
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), FOUR)
    answered(answered(journal, ["bank-01"], consent=masking_pb2.Consent()), ["bank-03"], declined=declined)
    run = abandoned(journal, FOUR, "stage consent must have answers of 3 banks, got 1")
    (done,) = run.rounds
    assert (done.stage, done.dropped) == ("consent", ["bank-02", "bank-03", "bank-04"])
    assert done.missing == [
        MissingAnswer(seat="bank-02", stage="consent", reason="no answer in time"),
        MissingAnswer(seat="bank-03", stage="consent", reason="sat out: lost"),
        MissingAnswer(seat="bank-04", stage="consent", reason="no answer in time"),
    ]
    assert run.totals.answers_missing == 3
    told = [event.text for event in run.events if event.kind == "missing"]
    assert told == [
        "No answer in time from bank-02, bank-04 at stage consent.",
        "bank-03 sat out: lost at stage consent.",
    ]
    made = compose(run)
    assert (
        "Training round 1 was abandoned at stage consent, where answers were missing (bank-02, bank-04: no answer in "
        "time; bank-03: sat out: lost)."
    ) in markdown.render(made)
    assert [fault for text in made.document.texts() for fault in figures_of_its_own(text)] == []


def test_a_void_masked_round_blames_nobody_who_answered() -> None:
    run = answered(opened(FOUR), THREE[:2], advertisement=masking_pb2.Advertisement()).void(1, 1, [], "3 are needed")
    (done,) = run.finished(FAILED).facts().rounds
    assert (done.stage, done.dropped, done.banks) == ("advertise", ["bank-03", "bank-04"], 0)


def test_who_falls_away_before_the_sum_is_named_with_the_stage_and_who_is_in_it_is_not() -> None:
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), THREE)
    closed(answered(journal, THREE[:2], consent=masking_pb2.Consent()), CONSENT)
    (done,) = journal.committed(1, 1, THREE, TRAINING).finished().facts().rounds
    assert (done.stage, done.dropped) == (None, ["bank-04"])
    assert done.missing == [MissingAnswer(seat="bank-04", stage="mask", reason="no answer in time")]


def test_a_sum_that_was_opened_and_is_out_of_bounds_is_nobodys_missing_answer() -> None:
    journal = masked(shared(advertised(opened(FOUR), FOUR), FOUR), FOUR)
    closed(answered(journal, FOUR, consent=masking_pb2.Consent()), CONSENT)
    run = abandoned(answered(journal, THREE, unmasking=unmasking(*FOUR)), FOUR, "a sum must be within its bounds")
    assert (run.rounds[0].stage, run.rounds[0].missing) == ("unmask", [])
    told = markdown.render(compose(run))
    assert "Training round 1 was abandoned at stage unmask: a sum must be within its bounds." in told


@pytest.mark.parametrize("change", [lambda key: key.MergeFrom(model_pb2.RoundKey(attempt=2)), lambda key: key.Clear()])
def test_answers_to_another_try_change_nothing(change: Callable[[model_pb2.RoundKey], None]) -> None:
    journal = answered(opened(FOUR), ["bank-01"], advertisement=masking_pb2.Advertisement())
    change(journal.entries[-1].stage_answered.key)
    assert standing(journal).answered == []
