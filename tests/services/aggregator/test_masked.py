"""A masked round's answers on a real journal: side by side, each on disk before it counts, none after its end."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from fedfraud.errors import Conflict, Invalid, NotStored, Stale
from fedfraud.identity import Identity, Role
from fedfraud.masking_parameters import TooFew
from fedfraud.masking_policy import Openings
from fedfraud.masking_sum import Stage
from fedfraud.masking_wire import answer_to_proto
from fedfraud.v1 import history_pb2, masking_pb2
from fedfraud.wire import RoundKey
from services.aggregator.journal import Journal
from services.aggregator.masked import MaskedRound
from services.aggregator.rounds import Plan
from tests.fedfraud.masked_round import Attempt, added, parameters_of
from tests.services.aggregator.journals import change, held, opened


def begun(attempt: Attempt, journal: Journal) -> MaskedRound:
    parameters = attempt.parameters
    key, cohort = RoundKey("run-1", 1, 0), frozenset(parameters.cohort)
    return MaskedRound(Plan(key, 1, (), cohort, 3, b"", parameters.word_count), attempt.sum, {}, journal)


async def test_shares_that_come_when_the_sum_can_be_opened_without_them_are_acknowledged_and_not_journalled(
    tmp_path: Path,
) -> None:
    attempt = Attempt(parameters_of(4)).until(Stage.UNMASK)  # any three of the four can open it
    with opened(tmp_path) as journal:
        masked = begun(attempt, journal)

        async def answer(seat: str, given: masking_pb2.StageAnswer) -> None:
            await masked.answer(Identity(Role.BANK, seat), given)

        shares = {seat: answer_to_proto(bank.unmask(attempt.sum.consents)) for seat, bank in attempt.banks.items()}
        *enough, late = shares
        for seat in enough:
            assert not masked.progressed.is_set()
            await answer(seat, shares[seat])
        assert masked.progressed.is_set()
        head = journal.head
        # The stage's end, and the share that came too late for it, at once: whichever the loop takes first.
        await asyncio.gather(masked.end(), answer(late, shares[late]))
        assert attempt.sum.open().tolist() == added(attempt.words, frozenset(attempt.parameters.cohort))
        await answer(late, shares[late])
        declined = masking_pb2.StageAnswer(declined=masking_pb2.Declined())
        for seat, given in ((late, declined), ("bank-09", shares[late])):
            with pytest.raises(Stale, match=r"^an answer must be to a stage of the open masked round"):
                await answer(seat, given)
        assert journal.head == head == len(enough)


async def test_a_stage_ends_when_every_answer_that_came_is_on_disk_or_refused(tmp_path: Path) -> None:
    attempt = Attempt(parameters_of(4)).until(Stage.SHARE)
    with opened(tmp_path) as journal:
        masked = begun(attempt, journal)
        shares = {seat: answer_to_proto(bank.share(attempt.sum.advertisements)) for seat, bank in attempt.banks.items()}
        *others, last = shares
        with held(journal):
            change(tmp_path, "ALTER TABLE entries RENAME TO elsewhere")
            first = asyncio.create_task(masked.answer(Identity(Role.BANK, last), shares[last]))
            again = asyncio.create_task(masked.answer(Identity(Role.BANK, last), shares[last]))
            await asyncio.sleep(0)
        assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], NotStored)
        change(tmp_path, "ALTER TABLE elsewhere RENAME TO entries")
        with suppress(NotStored):  # the same again had to wait its turn, and is told the truth
            await again
        assert (last in masked.awaited) == (journal.head == 0)
        with held(journal):
            coming = [asyncio.create_task(masked.answer(Identity(Role.BANK, s), shares[s])) for s in others]
            await asyncio.sleep(0)
            closing = asyncio.create_task(masked.close())
            await asyncio.sleep(0)
            assert not closing.done()
            assert not masked.progressed.is_set()
        await asyncio.gather(*coming, closing)
        assert masked.stage is Stage.MASK
        kinds = [entry.WhichOneof("event") for entry in await journal.read(0)]
        assert kinds == ["stage_answered"] * (journal.head - 1) + ["stage_closed"]
        assert journal.head >= 4


async def test_a_stage_goes_on_when_the_last_answer_of_all_is_a_wrong_one_beside_a_right_one(tmp_path: Path) -> None:
    attempt = Attempt(parameters_of(4)).until(Stage.SHARE)
    with opened(tmp_path) as journal:
        masked = begun(attempt, journal)
        shares = {seat: answer_to_proto(bank.share(attempt.sum.advertisements)) for seat, bank in attempt.banks.items()}
        *others, last = shares
        for seat in others:
            await masked.answer(Identity(Role.BANK, seat), shares[seat])
        wrong = masking_pb2.StageAnswer()
        wrong.CopyFrom(shares[last])
        wrong.shares.signature = bytes(64)
        both = (masked.answer(Identity(Role.BANK, last), given) for given in (shares[last], wrong))
        _, refused = await asyncio.gather(*both, return_exceptions=True)
        assert isinstance(refused, Conflict | Invalid)
        assert masked.progressed.is_set()
        with held(journal):
            closing = asyncio.create_task(masked.close())
            await asyncio.sleep(0)
            assert masked.instruction(last) is None, "nobody is told of a stage that is not on disk"
        await closing
        assert masked.instruction(last) is not None


async def test_words_that_come_after_the_end_of_a_round_with_too_few_of_them_are_not_stored(tmp_path: Path) -> None:
    attempt = Attempt(parameters_of(4)).until(Stage.MASK)
    with opened(tmp_path) as journal:
        masked = begun(attempt, journal)
        seat, bank = next(iter(attempt.banks.items()))
        told, words, _ = bank.mask(attempt.sum.delivery(seat), attempt.words[seat], Openings())

        async def store() -> None:
            await journal.append(history_pb2.ContributionAccepted(seat=seat))

        with pytest.raises(TooFew):
            await masked.close()
        await masked.end()
        with pytest.raises(Stale, match=r"^masked words must come before the end of their round, run-1/1/0 is over$"):
            await masked.take_words(told, words, store)
        assert (attempt.sum.survivors, journal.head) == ((), 0)
