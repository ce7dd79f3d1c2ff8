"""Fuzzed calls of every rpc: five thousand in this process and a thousand over mTLS here, 200,000 in `make faults`."""

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.faults.campaign import chosen
from tests.faults.fuzz import FUZZ, FUZZ_WIRE, STATM
from tests.faults.fuzz_masked import CAMPAIGN as MASKED
from tests.faults.fuzz_messages import rpcs


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


def test_every_service_of_the_contract_is_fuzzed() -> None:
    services = {rpc.service.rpartition(".")[2] for rpc in rpcs()}
    assert services == {"EnrolmentService", "FederationService", "HistoryService", "OperationService"}
    assert len({rpc.name for rpc in rpcs()}) == len(rpcs()), "an rpc is known by its name here"
