"""Many simulated banks in one process: each with its own folder, key, certificate, seat and channel, on one event loop.

It does for each bank what a bank's own process does, with the same code; torch is in memory once. Several event loops
of gRPC in a process disturb each other, so there is one; training has threads of its own, so that a bank's short
answers do not wait behind it.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from fedfraud.errors import FedfraudError
from fedfraud.logs import Log
from services.bank_client.contribution import preload
from services.bank_client.enrol import Enrolment, ensure_enrolled
from services.bank_client.participant import BankClient
from services.bank_client.settings import Settings
from services.bank_client.write_shard import HOLDOUT, write_shard

_THREADS = 32
"""For what waits for the disk or takes milliseconds."""


async def serve(
    banks: Sequence[Settings], training_threads: int, stop: asyncio.Event, enrolled: Callable[[], None]
) -> int:
    """Serves all of them until `stop`, or until none is left; the exit status is 0 if every one ended well, else 1.

    They enrol one after another, so that the first bank gets the first seat, and at a pace that the aggregator's limit
    allows; `enrolled` is called when they have.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS))
    enrolments = []
    for settings in banks:
        if stop.is_set():
            return 0
        enrolments.append(await ensure_enrolled(settings))
        Log(enrolments[-1].seat).info("enrolled", seat=enrolments[-1].seat, slot=enrolments[-1].slot)
    enrolled()
    await asyncio.to_thread(_write_shards, banks, enrolments, stop)
    await asyncio.to_thread(preload)
    training = ThreadPoolExecutor(training_threads, thread_name_prefix="training")
    try:
        return max(await asyncio.gather(*(_serve(settings, stop, training) for settings in banks)))
    finally:
        training.shutdown(wait=False, cancel_futures=True)


async def _serve(settings: Settings, stop: asyncio.Event, training: ThreadPoolExecutor) -> int:
    """One bank; what ends it does not end the others."""
    try:
        return await BankClient(settings, stop, training).serve()
    except FedfraudError as error:
        Log(settings.data_dir.name).error("cannot go on", reason=error)
    except Exception:
        Log(settings.data_dir.name).error("failed", exc_info=True)
    return 1


def _write_shards(banks: Sequence[Settings], enrolments: Sequence[Enrolment], stop: asyncio.Event) -> None:
    """Each bank's rows; the public hold-out is the same for all, one file with a name in every folder."""
    for settings, enrolment in zip(banks, enrolments, strict=True):
        if stop.is_set():
            return
        first, own = banks[0].data_dir / HOLDOUT, settings.data_dir / HOLDOUT
        if first.exists() and not own.exists():
            os.link(first, own)
        write_shard(**enrolment.shard, data_dir=settings.data_dir)
