"""What banks are told of a round."""

import pytest

from fedfraud.channel import CHUNK_BYTES
from fedfraud.fixed_point import Segment
from fedfraud.manifest import Manifest
from fedfraud.recipe import recipe_named
from fedfraud.transactions import TUTORIAL
from fedfraud.wire import RoundKey
from services.aggregator import messages
from services.aggregator.progress import Progress
from services.aggregator.rounds import Plan

RUN = Progress("run", 7, recipe_named("default"), Manifest("tutorial", TUTORIAL), 10, 3, 5)


@pytest.mark.parametrize(
    ("banks", "piece"), [(1, CHUNK_BYTES), (12, CHUNK_BYTES), (24, CHUNK_BYTES // 2), (192, 2**16), (5_000, 2**16)]
)
def test_a_message_of_each_bank_together_takes_12_mib_or_64_kib_each(banks: int, piece: int) -> None:
    cohort = frozenset(f"bank-{number:04}" for number in range(banks))
    plan = Plan(RoundKey("run", 1, 1), 1, (Segment.TRAIN,), cohort, 3, b"", 5)
    assert messages.instruction(RUN, plan, None, None).piece_bytes == piece
