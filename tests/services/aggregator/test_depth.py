"""A round's line stands beneath the header, column by column."""

from fedfraud.wire import RoundKey
from services.aggregator.depth import HEADER, Depth


def test_each_cell_stands_in_the_column_that_the_header_names() -> None:
    found = Depth(RoundKey("20261123-224501-5f3a", 12, 1), "10/10", "committed", 1000, "opened again", "recomputed")
    assert HEADER == "run                    round  step      outcome    banks  contributions  sum         model"
    assert found.text == "20261123-224501-5f3a      12  10/10     committed   1000  opened again   recomputed  -"
