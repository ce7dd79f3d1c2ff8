"""A masked round's answers on a real journal: none is written after the round's end."""

import asyncio
from pathlib import Path

import pytest

from fedfraud.errors import Stale
from fedfraud.identity import Identity, Role
from fedfraud.masking_sum import Stage
from fedfraud.masking_wire import answer_to_proto
from fedfraud.v1 import masking_pb2
from fedfraud.wire import RoundKey
from services.aggregator.masked import MaskedRound
from services.aggregator.rounds import Plan
from tests.fedfraud.masked_round import Attempt, added, parameters_of
from tests.services.aggregator.test_journal import opened


async def test_shares_that_come_when_the_sum_can_be_opened_without_them_are_acknowledged_and_not_journalled(
    tmp_path: Path,
) -> None:
    attempt = Attempt(parameters_of(4)).until(Stage.UNMASK)  # any three of the four can open it
    cohort = frozenset(attempt.parameters.cohort)
    plan = Plan(RoundKey("run-1", 1, 0), 1, (), cohort, 3, b"", attempt.parameters.word_count)
    with opened(tmp_path) as journal:
        masked = MaskedRound(plan, attempt.sum, {}, journal)

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
        assert attempt.sum.open().tolist() == added(attempt.words, cohort)
        await answer(late, shares[late])
        declined = masking_pb2.StageAnswer(declined=masking_pb2.Declined())
        for seat, given in ((late, declined), ("bank-09", shares[late])):
            with pytest.raises(Stale, match=r"^an answer must be to a stage of the open masked round"):
                await answer(seat, given)
        assert journal.head == head == len(enough)
