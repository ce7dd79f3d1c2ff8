"""SIGKILL at random, ten times in each run: of the aggregator or of banks, while they serve and while they start.

Two trials are plain, two masked, and so on.
"""

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fedfraud.errors import Misconfigured
from tests.faults.campaign import Campaign
from tests.faults.four_banks import BANKS, SEATS, check_everything, computed_sha256, finished, four_banks
from tests.federation.networks import Network
from tests.federation.waiting import wait_for

KILLS = 10
"""In one trial."""
TRIALS = 20
ROUNDS = 60
"""Of one trial: so many that the last kill comes before its end."""
_MISSED_ROUNDS = 300
"""Of one trial whose rounds go on while a killed bank comes back."""
_DEADLINE = 1.5
"""Of the rounds that do not wait for a killed bank."""


def aggregator_trial(number: int, folder: Path) -> None:
    """Kills the aggregator; the model is the undisturbed one."""
    draws, kills = random.Random(number), 0  # noqa: S311  # so that a trial can be done again
    with four_banks(folder, rounds=ROUNDS, aggregation=_aggregation(number)) as present:
        present.start_aggregator()
        present.start_banks(*BANKS)
        while kills < KILLS:
            _after(present, draws.randint(1, 20))
            _strike(draws, present.kill_aggregator)
            kills += 1
            if kills < KILLS and draws.random() < 0.25:
                _kill_a_starting_aggregator(present, draws)
                kills += 1
            present.start_aggregator()
        _check_same_model(present)


def patient_bank_trial(number: int, folder: Path) -> None:
    """Kills banks whose rounds wait for them; the model is the undisturbed one."""
    with four_banks(folder, rounds=ROUNDS, aggregation=_aggregation(number)) as present:
        _kill_banks(present, random.Random(number), lambda _: False)  # noqa: S311  # drawn for a trial
        _check_same_model(present)


def missed_bank_trial(number: int, folder: Path) -> None:
    """Kills banks whose rounds go on without them; the model is that of the cohorts that the journal names.

    Plain: three of four banks are too few to open a masked round.
    """
    draws = random.Random(number)  # noqa: S311  # drawn for a trial
    with four_banks(folder, rounds=_MISSED_ROUNDS, quorum=3, round_deadline=_DEADLINE) as present:
        _kill_banks(present, draws, lambda draws: draws.random() < 0.5)
        finished(present)
        check_everything(present, _MISSED_ROUNDS, may_miss=True)


def bank_trial(number: int, folder: Path) -> None:
    """Kills banks; in every fourth trial the rounds go on without them."""
    (missed_bank_trial if number % 4 == 1 else patient_bank_trial)(number, folder)


def _aggregation(number: int) -> str:
    return "secure" if number % 4 >= 2 else "plain"


def _kill_banks(present: Network, draws: random.Random, stays_away: Callable[[random.Random], bool]) -> None:
    present.start_aggregator()
    present.start_banks(*BANKS)
    kills = 0
    while kills < KILLS:
        kills += _kill_bank(present, draws, stays_away(draws), again=kills + 1 < KILLS and draws.random() < 0.25)


def _kill_bank(present: Network, draws: random.Random, away: bool, again: bool) -> int:
    """Kills one bank, and `again` while it starts; returns how often. It is back in a cohort before the next one."""
    _after(present, draws.randint(1, 10))
    bank = draws.choice(BANKS)
    _strike(draws, lambda: present.kill(bank))
    before = _open_rounds(present)
    if away:
        wait_for(lambda: len(present.events("round_committed")) > before, "a round goes on without the bank")
    if again:
        present.restart(bank)
        _strike(draws, lambda: present.kill(bank))
    before = _open_rounds(present)
    present.restart(bank)
    wait_for(lambda: _all_asked_after(present, before), f"bank {bank} is asked again", 60.0)
    return 1 + again


def _open_rounds(present: Network) -> int:
    return len(present.events("round_opened"))


def _all_asked_after(present: Network, before: int) -> bool:
    """Whether a round was opened since for all banks."""
    return any(len(event.cohort) == len(BANKS) for event in present.events("round_opened")[before:])


def _after(present: Network, count: int) -> None:
    """Waits for so many further entries of the journal."""
    before = len(present.entries())
    wait_for(lambda: len(present.entries()) >= before + count, f"{count} further entries", 60.0)
    assert not present.events("run_finished"), "a run must be longer than its kills"


def _strike(draws: random.Random, kill: Callable[[], None]) -> None:
    """Kills at a moment that nobody chose."""
    time.sleep(draws.uniform(0, 0.1))
    kill()


def _kill_a_starting_aggregator(present: Network, draws: random.Random) -> None:
    former = present.processes["aggregator"]

    def start() -> None:
        with suppress(Misconfigured):  # it was killed before it served
            present.start_aggregator()

    starting = threading.Thread(target=start)
    starting.start()
    wait_for(lambda: present.processes["aggregator"] is not former, "the next aggregator is started")
    _strike(draws, present.kill_aggregator)
    starting.join()


def _check_same_model(present: Network) -> None:
    finished(present)
    check_everything(present, ROUNDS)
    assert present.events("run_finished")[0].model_sha256.hex() == computed_sha256((SEATS,) * (ROUNDS + 1))


AGGREGATOR = Campaign(
    "aggregator-kills",
    f"the aggregator killed at random, {KILLS} times a trial: nothing acknowledged is lost; same model",
    lambda: TRIALS,
    1,
    aggregator_trial,
)
BANK = Campaign(
    "bank-kills",
    f"banks killed at random, {KILLS} times a trial: same model, or that of the journal's cohorts",
    lambda: TRIALS,
    1,
    bank_trial,
)
