"""Starts runs, one at a time: the automatic one when the banks are there, then whatever an operator asks for."""

import asyncio
import time
from collections.abc import Callable

from fedfraud.errors import Misconfigured, Stale
from fedfraud.fixed_point import train_codec
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.recipe import Recipe, recipe_named
from fedfraud.v1 import federation_pb2, history_pb2
from services.aggregator.intake import Intake
from services.aggregator.journal import Journal
from services.aggregator.participants import Participants
from services.aggregator.rounds import RunPlan
from services.aggregator.runs import Run, new_run_id
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
        manifest: Manifest,
        participants: Participants,
        intake: Intake,
        journal: Journal,
        make_run: Callable[[RunPlan], Run],
        log: Log,
    ) -> None:
        self.run: Run | None = None
        self.waiting_for = ""
        self._settings = settings
        self._manifest = manifest
        self._participants = participants
        self._intake = intake
        self._journal = journal
        self._make_run = make_run
        self._log = log
        self._unfinished = ""
        self._had_a_run = False
        self._task: asyncio.Task[None] | None = None

    def apply(self, entry: history_pb2.Entry) -> None:
        """Follows the journal: which run is unfinished."""
        match entry.WhichOneof("event"):
            case "run_started":
                self._unfinished, self._had_a_run = entry.run_started.run_id, True
            case "run_finished":
                self._unfinished = ""

    async def begin(self) -> None:
        """After the journal was replayed: ends a run that a former process left, then waits for the banks."""
        if self._unfinished:
            reason = "the aggregator was restarted during the run"
            self._log.warning("run failed", run=self._unfinished, reason=reason)
            await self._journal.append(
                history_pb2.RunFinished(run_id=self._unfinished, outcome=history_pb2.RUN_OUTCOME_FAILED, reason=reason)
            )
        if self._settings.autostart and not self._had_a_run:
            self._task = asyncio.create_task(self._automatic_run())

    def start(self, rounds: int, recipe: str, seed: int) -> str:
        """Begins a run with the banks that are present; returns its id."""
        if self.run is not None:
            raise Stale(f"a run must end before the next begins, {self.run.plan.run_id} is going on")
        plan = self._plan(recipe_named(recipe), rounds, seed)
        if self._task is not None:
            self._task.cancel()  # the automatic run that still waits for its banks: this one takes its place
        self.waiting_for = ""
        self.run = self._make_run(plan)
        self._task = asyncio.create_task(self._drive(self.run))
        return plan.run_id

    def stop(self) -> str:
        """Asks the present run to end after its open round; returns its id."""
        if self.run is None:
            raise Stale("a run must be going on to be stopped, none is")
        self.run.stop()
        return self.run.plan.run_id

    def welcome_back(self, seat: str) -> None:
        """Tells a bank that has just joined of the open round, if it is to answer it."""
        if self._intake.round is not None and self._intake.round.awaits(seat):
            self._participants.send(seat, self._intake.round.instruction())

    async def close(self) -> None:
        """Leaves the run as it stands; the journal has everything that was acknowledged."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def _plan(self, recipe: Recipe, rounds: int, seed: int) -> RunPlan:
        train_codec(self._manifest, recipe).check_capacity()
        settings = self._settings
        return RunPlan(
            new_run_id(),
            seed,
            recipe,
            rounds,
            settings.effective_quorum,
            settings.expected_banks,
            settings.round_deadline,
        )

    async def _automatic_run(self) -> None:
        await self._banks_present()
        settings = self._settings
        self.run = self._make_run(self._plan(recipe_named(settings.recipe), settings.rounds, settings.seed))
        await self._drive(self.run)

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
                self._log.info("waiting for banks", waiting_for=self.waiting_for, seconds=f"{waited:.0f}")

    async def _drive(self, run: Run) -> None:
        try:
            finished = await run.drive()
        except Exception as error:
            # Not even the run's end could be journalled: the next start marks the run failed.
            self._log.error("run could not be driven", exc_info=True, run=run.plan.run_id, reason=error)
            return
        finally:
            self.run = None
        outcome = OUTCOMES[finished.outcome]
        self._log.info(
            f"run {outcome}", run=run.plan.run_id, reason=finished.reason or "-", model=finished.model_sha256.hex()[:12]
        )
        ended = federation_pb2.RunEnded(run_id=run.plan.run_id, outcome=outcome)
        for seat in self._participants.present:
            self._participants.send(seat, federation_pb2.ParticipateResponse(run_ended=ended))


def check_settings(settings: Settings, manifest: Manifest) -> None:
    """Refuses to start with what could not be kept: an unknown recipe, a sum that could wrap, a missing mode."""
    train_codec(manifest, recipe_named(settings.recipe)).check_capacity()
    if settings.aggregation != "plain":
        raise Misconfigured(
            f"aggregation must be plain (secure comes with a later version), got {settings.aggregation}"
        )
    if settings.preset:
        raise Misconfigured(f"the population {settings.population} has no presets, got {settings.preset!r}")
