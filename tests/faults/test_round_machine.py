"""The round machine under random sequences: a few hundred here, thousands in `make faults`."""

from pathlib import Path

import pytest

from tests.faults.campaign import chosen
from tests.faults.round_machine import ROUND_MACHINE


@pytest.mark.parametrize("number", chosen(ROUND_MACHINE.trials(), ROUND_MACHINE.short))
def test_random_sequences_keep_every_invariant_of_a_round(tmp_path: Path, number: int) -> None:
    ROUND_MACHINE.trial(number, tmp_path)
