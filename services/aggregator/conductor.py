"""Starts runs, one at a time: the automatic one when the banks are there, then whatever an operator asks for."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from fedfraud import model
from fedfraud.errors import Stale
from fedfraud.layout import Layout, train_codec
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe, recipe_named
from fedfraud.trade import USUAL_TERMS
from fedfraud.transactions import preset_of
from fedfraud.v1 import federation_pb2, history_pb2
from fedfraud.wire import RoundKey, round_key_from_proto, segments_from_proto
from services.aggregator import averaging, messages
from services.aggregator.averaging import Model
from services.aggregator.open_round import OpenRound
from services.aggregator.progress import Accepted, FormerSums, Progress
from services.aggregator.round_drive import Surroundings
from services.aggregator.runs import Run, new_run_id, store_model
from services.aggregator.seats import Seats
from services.aggregator.settings import Settings

_REMINDER_SECONDS = 10.0
OUTCOMES = {
    history_pb2.RUN_OUTCOME_FINISHED: "finished",
    history_pb2.RUN_OUTCOME_STOPPED: "stopped",
    history_pb2.RUN_OUTCOME_FAILED: "failed",
}


class Conductor:
    """Holds the run that is going on, if any."""

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
    ) -> None:
        self.run: Run | None = None
        self.waiting_for = ""
        self.epoch = 0
        """How often an aggregator began to serve on this journal."""
        self._settings = settings
        self._around = surroundings
        self._participants = surroundings.participants
        self._intake = surroundings.intake
        self._journal = surroundings.journal
        self._log = surroundings.log
        self._progress: Progress | None = None
        self._runs = 0
        self._sums = FormerSums()
        self._starting = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def apply(self, entry: history_pb2.Entry) -> None:
        """Follows the journal: how the newest run stands."""
        match entry.WhichOneof("event"):
            case "aggregator_started":
                self.epoch = entry.aggregator_started.epoch
            case "run_started":
                self._progress = Progress.begun(entry.run_started)
                self._runs += 1
            case _ if self._progress is not None:
                self._progress.apply(entry)
                self._sums.take(self._progress)

    @property
    def progress(self) -> Progress | None:
        """The run that is going on or else was last."""
        return self._progress

    @property
    def open_round(self) -> RoundKey | None:
        """The round whose contributions are still to be added."""
        return round_key_from_proto(self._progress.open.key) if self._progress and self._progress.open else None

    async def begin(self, seats: Seats) -> None:
        """After the journal was replayed: goes on with a run that a former process left, or waits for the banks.

        Misconfigured when the files of that run are not as the journal says.
        """
        there = frozenset(record.name for record in seats.records.values() if record.present)
        await self._journal.append(history_pb2.AggregatorStarted(epoch=self.epoch + 1))
        if self._progress is not None and self._progress.former is not None:
            self._intake.open(_closed(self._progress, *self._progress.former))
        if self._progress is not None and self._progress.finished is None:
            await self._resume(self._progress, there)
        elif self._settings.autostart and self._progress is None:
            self._task = asyncio.create_task(self._automatic_run())

    async def _resume(self, progress: Progress, there: frozenset[str]) -> None:
        if progress.manifest != self._around.manifest:
            reason = "the aggregator was started again with another population or model"
            self._log.error("run failed", run=progress.run_id, reason=reason)
            failed = history_pb2.RunFinished(
                run_id=progress.run_id, outcome=history_pb2.RUN_OUTCOME_FAILED, reason=reason
            )
            await self._journal.append(failed)
            return
        run = Run(progress, self._around, there - progress.missed)
        await run.load()
        self._log.info("run goes on", run=progress.run_id, committed=progress.committed_count, epoch=self.epoch)
        self.run = run
        self._task = asyncio.create_task(self._drive(run))

    async def start(self, rounds: int, recipe: str, seed: int | None) -> str:
        """Begins a run with the banks that are present; returns its id once the journal has it.

        Without a seed it is the set one; with secure aggregation each further run counts it up, because what a bank
        trained from the same seed was opened before, perhaps over other banks.
        """
        async with self._starting:
            if self._progress is not None and self._progress.finished is None:
                raise Stale(f"a run must end before the next begins, {self._progress.run_id} is going on")
            if seed is None:
                seed = (self._settings.seed + (self._runs if self._secure else 0)) % 2**32
            run = await self._started(recipe_named(recipe), rounds, seed, self._journal.append)
            if self._task is not None:
                self._task.cancel()  # the automatic run that still waits for its banks: this one takes its place
            self.waiting_for = ""
            self._task = asyncio.create_task(self._drive(run))
            return run.progress.run_id

    async def stop(self) -> str:
        """Asks the present run to end after its open round; returns its id once the journal has it."""
        if self.run is None:
            raise Stale("a run must be going on to be stopped, none is")
        progress = self.run.progress
        if not progress.stopping:
            await self._journal.append(history_pb2.RunStopRequested(run_id=progress.run_id))
            self._participants.notify()
        return progress.run_id

    def welcome_back(self, seat: str) -> None:
        """Tells a bank that has just joined of the open round, if it is to answer it."""
        for message in self._intake.round.for_returning(seat) if self._intake.round else []:
            self._participants.send(seat, message)
        if self._progress is not None and self._progress.finished is not None:
            # A bank that was away when the run ended must not keep what it had for its last round.
            self._participants.send(seat, _run_ended(self._progress.finished))

    async def close(self) -> None:
        """Leaves the run as it stands; the journal has everything that was acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _started(
        self,
        recipe: Recipe,
        rounds: int,
        seed: int,
        store: Callable[[history_pb2.RunStarted], Awaitable[history_pb2.Entry]],
    ) -> Run:
        """The run, once the journal has its start; `store` is the journal's `append` or `insist`."""
        manifest, settings, run_id = self._around.manifest, self._settings, new_run_id()
        train_codec(manifest, recipe).check_capacity()
        quorum, expected = settings.effective_quorum, settings.expected_banks
        initial = await self._initial(recipe, seed) if self._secure else None
        await store(
            messages.run_started(
                run_id,
                seed,
                recipe,
                manifest,
                rounds=rounds,
                quorum=quorum,
                expected_banks=expected,
                round_deadline=settings.round_deadline,
                secure=self._secure,
                initial=initial,
                counters_sha256=self._sums.counters_of(manifest) if self._secure else b"",
                terms=settings.terms if manifest.feature_plan else USUAL_TERMS,
            )
        )
        if self._progress is None or self._progress.run_id != run_id:
            raise RuntimeError(f"the journal must tell of run {run_id}")  # the listener is told before append returns
        self._log.info("run started", run=run_id, recipe=recipe.name, rounds=rounds)
        self.run = Run(self._progress, self._around)
        await self.run.load()
        return self.run

    @property
    def _secure(self) -> bool:
        return self._settings.aggregation == "secure"

    async def _initial(self, recipe: Recipe, seed: int) -> Model | None:
        """The initial model under the state of a former run: the sums that it comes from are opened once."""
        manifest = self._around.manifest
        if (former := self._sums.state_of(manifest)) is None:
            return None
        state, vector = averaging.rescaled(former, recipe), model.initial_vector(manifest, seed)
        return await store_model(self._around, vector, state)

    async def _automatic_run(self) -> None:
        await self._banks_present()
        settings = self._settings
        async with self._starting:
            if self._progress is not None:  # an operator was quicker
                return
            # Nobody asked for it, so nobody would ask again if the disk failed just now.
            store = self._journal.insist
            run = await self._started(recipe_named(settings.recipe), settings.rounds, settings.seed, store)
        await self._drive(run)

    async def _banks_present(self) -> None:
        """Until all expected banks are there, or the quorum after the start wait; says what it waits for."""
        settings, began = self._settings, time.monotonic()
        while True:
            present, waited = len(self._participants.ready), time.monotonic() - began
            patient = waited < settings.start_wait
            if present >= (settings.expected_banks if patient else settings.effective_quorum):
                self.waiting_for = ""
                return
            wanted = f"{settings.expected_banks} banks" if patient else f"a quorum of {settings.effective_quorum} banks"
            self.waiting_for = f"{wanted}, {present} are present"
            changed = self._participants.changed
            try:
                async with asyncio.timeout(min(_REMINDER_SECONDS, settings.start_wait - waited if patient else 60.0)):
                    await changed.wait()
            except TimeoutError:
                waited = time.monotonic() - began  # now, not when the wait began
                self._log.info("waiting for banks", waiting_for=self.waiting_for, seconds=f"{waited:.0f}")

    async def _drive(self, run: Run) -> None:
        try:
            finished = await run.drive()
        except Exception as error:
            # Not even the run's end could be journalled: the next start goes on with it.
            self._log.error("run could not be driven", exc_info=True, run=run.progress.run_id, reason=error)
            return
        finally:
            self.run = None
        outcome = OUTCOMES[finished.outcome]
        self._log.info(
            f"run {outcome}",
            run=run.progress.run_id,
            reason=finished.reason or "-",
            model=finished.model_sha256.hex()[:12],
        )
        for seat in self._participants.present:
            self._participants.send(seat, _run_ended(finished))


def _run_ended(finished: history_pb2.RunFinished) -> federation_pb2.ParticipateResponse:
    """What banks are told of it."""
    ended = federation_pb2.RunEnded(run_id=finished.run_id, outcome=OUTCOMES[finished.outcome])
    return federation_pb2.ParticipateResponse(run_ended=ended)


def _closed(progress: Progress, opened: history_pb2.RoundOpened, accepted: dict[str, Accepted]) -> OpenRound:
    """A round that closed before a restart, for its receipts alone."""
    segments = segments_from_proto(list(opened.segments))
    layout = Layout(segments, progress.manifest, progress.recipe, progress.terms)
    state = messages.round_of(messages.plan_of(opened, layout.length), accepted)
    state.close()
    closed = OpenRound(state, layout, federation_pb2.RoundInstruction(), lambda: 0.0)
    closed.remember(accepted)
    return closed


def check_settings(settings: Settings, manifest: Manifest) -> None:
    """Refuses to start with what could not be kept: an unknown recipe or preset, a sum that could wrap."""
    train_codec(manifest, recipe_named(settings.recipe)).check_capacity()
    preset_of(settings.population, settings.preset)
