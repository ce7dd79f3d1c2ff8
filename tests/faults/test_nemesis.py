"""A few rounds under the random nemesis: nothing acknowledged is lost, and nothing grows."""

from pathlib import Path

from tests.conftest import say_lacking
from tests.faults.campaign import chosen
from tests.faults.nemesis import nemesis_trial

SHORT_ROUNDS, SEEDS = 15, 1000


def test_a_run_under_a_random_nemesis_keeps_every_promise_and_grows_by_nothing(tmp_path: Path) -> None:
    if not Path("/proc/self/fd").exists():
        say_lacking("/proc: growth of memory and descriptors under a nemesis is not tested")
    for number in chosen(SEEDS, 1):
        nemesis_trial(number, tmp_path, SHORT_ROUNDS)
