"""Fuzzed calls of every rpc: five thousand in this process and a thousand over mTLS here, 200,000 in `make faults`."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from fedfraud.errors import Invalid
from fedfraud.v1 import scoring_pb2
from services.bank_client.score_desk import ScoreDesk
from tests.faults.campaign import chosen
from tests.faults.fuzz import FUZZ, FUZZ_WIRE, STATM
from tests.faults.fuzz_masked import CAMPAIGN as MASKED
from tests.faults.fuzz_messages import message, rpcs
from tests.services.bank_client.scoring_banks import drawn_table, paid, payments_bank, settings, table_bank


@pytest.mark.parametrize("number", chosen(FUZZ.trials(), FUZZ.short))
def test_whatever_is_sent_is_answered_as_designed_and_harms_nothing(tmp_path: Path, number: int) -> None:
    FUZZ.trial(number, tmp_path)


@pytest.mark.parametrize("number", chosen(FUZZ_WIRE.trials(), FUZZ_WIRE.short))
def test_the_same_holds_over_grpc_and_mutual_tls(tmp_path: Path, number: int) -> None:
    FUZZ_WIRE.trial(number, tmp_path)


@pytest.mark.parametrize("number", chosen(MASKED.trials(), MASKED.short))
def test_whatever_is_answered_to_a_stage_of_a_masked_round_only_a_banks_own_word_counts(
    tmp_path: Path, number: int
) -> None:
    MASKED.trial(number, tmp_path)


def test_memory_is_measured(lacking: Callable[[str], NoReturn]) -> None:
    if not STATM.exists():
        lacking(f"{STATM}: how memory grew under the fuzzed calls was not looked at")


@pytest.mark.parametrize("kind", ["payments", "table"])
def test_whatever_a_bank_is_asked_to_score_is_scored_or_refused_in_words(tmp_path: Path, kind: str) -> None:
    if kind == "payments":
        payments_bank(tmp_path, paid(), rows=1_500)
    else:
        table_bank(tmp_path, drawn_table(50))
    desk, rng = ScoreDesk(settings(tmp_path)), Random(7)  # noqa: S311  # the same calls each time
    refused, scored = [], []
    known: dict[str, list[object]] = {
        "seconds": [int(paid().time[-1])],
        "customer_id": ["customer-1"],
        "amount_cents": [5_000],
        "reason_count": [3],
    }
    for number in range(2_000):
        asked = message(scoring_pb2.ScoreRequest.DESCRIPTOR, rng, known, rng.choice((0.0, 0.1, 0.5)))
        assert isinstance(asked, scoring_pb2.ScoreRequest)
        if asked.WhichOneof("transaction") == "payment" and number % 2:
            asked.payment.transaction_id = f"fuzz-{number}"
        try:
            scored.append(desk.score(asked).probability)
        except Invalid as refusal:
            refused.append(str(refusal))
    assert refused
    assert max(map(len, refused)) < 2_000
    assert scored or kind == "table", "a payment that could be is among them"
    assert all(0 <= probability <= 1 for probability in scored)


def test_every_service_of_the_contract_is_fuzzed() -> None:
    services = {rpc.service.rpartition(".")[2] for rpc in rpcs()}
    assert services == {"EnrolmentService", "FederationService", "HistoryService", "OperationService"}
    assert len({rpc.name for rpc in rpcs()}) == len(rpcs()), "an rpc is known by its name here"
