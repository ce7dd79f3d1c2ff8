"""What a model of all rows in one place came to, for the end of a run: if it is this run's, and there in time."""

import asyncio
import time
from pathlib import Path

from fedfraud.central import Central, Purpose, read_central
from fedfraud.logs import Log
from services.aggregator.progress import Progress
from services.aggregator.seats import Seats

_POLL_SECONDS = 0.05
_log = Log("aggregator")


def purpose_of(progress: Progress, seats: Seats, preset: str) -> Purpose | None:
    """What it must have been trained for; None where the model does not have the first slots' rows, and no others."""
    slots = {seats.record(seat).slot for seat in progress.trainers}
    if not slots or slots != set(range(1, len(slots) + 1)):
        return None
    plan = progress.manifest.feature_plan
    return Purpose.of(
        population=progress.manifest.population,
        preset=preset,
        seed=progress.seed,
        recipe=progress.recipe.name,
        rounds=progress.round_count,
        banks=len(slots),
        first_day=plan.first_day if plan else "",
        terms=progress.terms,
    )


async def central_result(path: Path, purpose: Purpose, patience: float) -> Central | None:
    """What it came to, waited for at most `patience` seconds while the file says that they are under way."""
    ends = time.monotonic() + patience
    while True:
        found: Central | None = await asyncio.to_thread(read_central, path)
        if found is None or found.purpose != purpose:
            return None
        if found.scores is not None:
            return found
        if time.monotonic() >= ends:
            _log.warning("the run ends without central: it is not there in time", seconds=f"{patience:g}")
            return None
        await asyncio.sleep(_POLL_SECONDS)
