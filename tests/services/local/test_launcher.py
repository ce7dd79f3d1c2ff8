"""The launcher: when it begins what runs beside the network."""

import pytest

from fedfraud.v1 import history_pb2
from services.local import __main__ as launcher


@pytest.mark.parametrize(
    ("step", "rounds", "begins"), [(1, 3, False), (2, 3, True), (3, 3, True), (0, 1, True), (1, 10, False)]
)
def test_central_begins_before_the_last_training_round(step: int, rounds: int, begins: bool) -> None:
    entry = history_pb2.Entry(round_committed=history_pb2.RoundCommitted(step=step))
    assert launcher._last_is_next(entry, rounds) is begins


def test_central_does_not_begin_with_any_other_event() -> None:
    assert not launcher._last_is_next(history_pb2.Entry(run_started=history_pb2.RunStarted()), 1)


@pytest.mark.parametrize(
    ("cores", "arguments", "hosts"),
    [
        (2, [], 2),
        (2, ["--banks", "1000"], 2),
        (2, ["--hosts", "0"], 0),
        (2, ["--hosts", "5"], 5),
        (2, ["--banks", "4", "--hosts", "5"], 4),
        (10, [], 0),
        (16, [], 0),
        (1, [], 1),
        (None, ["--banks", "1"], 0),
    ],
)
def test_banks_share_a_process_for_each_core_where_there_are_more_of_them(
    monkeypatch: pytest.MonkeyPatch, cores: int | None, arguments: list[str], hosts: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert launcher._hosts(launcher._parser().parse_args(arguments)) == hosts
