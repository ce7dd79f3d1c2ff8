"""Computes a bank's answer to one round from its own rows: plain functions of data, no gRPC."""

import gc
import hashlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Invalid
from fedfraud.fixed_point import Segment, Words
from fedfraud.identity import write_durably
from fedfraud.layout import Layout, count_codec, trade_codec
from fedfraud.logs import Log
from fedfraud.manifest import Manifest
from fedfraud.masking_policy import Inputs
from fedfraud.model import RunState, Vector, to_bytes
from fedfraud.recipe import Recipe
from fedfraud.wire import Disclosure
from services.bank_client import evaluation, kept_model, own_trade, personal, trade
from services.bank_client.dataset import Rows
from services.bank_client.examples import Dataset
from services.bank_client.outbox import Outbox
from services.bank_client.own_data import read_table
from services.bank_client.release import Released, ReleaseDoor
from services.bank_client.settings import Settings
from services.bank_client.task import Task

_COUNTERS = "counters.sha256"
"""The file with the hash of the counters that the bank used first."""


class Contributor:
    """A bank's rows and what is kept between the rounds of a run."""

    def __init__(self, settings: Settings, manifest: Manifest, dataset: Dataset) -> None:
        self._settings = settings
        self._manifest = manifest
        self._dataset = dataset
        self._read_holdout()  # here its faults are found out; it is looked at once a run, and not kept
        self._trainer: tuple[Recipe, RunState, object] | None = None
        self._validation: tuple[Recipe, RunState, evaluation.Validation] | None = None
        self._alone: tuple[tuple[int, Recipe, int], tuple[RunState, Vector]] | None = None
        self._outbox = Outbox(settings.data_dir)
        self._compared: frozenset[str] = frozenset()
        self._final: Task | None = None
        self._lock = threading.Lock()

    @property
    def row_count(self) -> int:
        """The bank's rows, training and validation."""
        return self._dataset.row_count

    def knows(self, counters_sha256: bytes) -> bool:
        """Whether features can be had under these counters; otherwise `learn` comes first."""
        return self._dataset.knows(counters_sha256)

    def learn(self, counters_sha256: bytes, words: Words) -> None:
        """Computes the features under the summed counters.

        A bank that insists on masks takes no others than it used first, but by its own leave: what leaves under made-up
        ones would tell of single merchants.
        """
        with self._lock:
            self._pin(counters_sha256)
            if not self._dataset.knows(counters_sha256):
                self._validation = None  # its rows, where they are many, are a part of the former examples
                self._dataset.learn(counters_sha256, count_codec(self._manifest).decode(words))
                kept_model.keep_counters(self._settings.data_dir, counters_sha256, words)

    def _pin(self, counters_sha256: bytes) -> None:
        path = self._settings.data_dir / _COUNTERS
        first = path.read_text().strip() if path.exists() else ""
        settings, same = self._settings, first == counters_sha256.hex()
        if first and not same and settings.aggregation == "secure" and not settings.reopen_counts:
            raise Invalid(
                f"counters must be those that this bank used first, {first[:12]}, got {counters_sha256.hex()[:12]}: "
                "REOPEN_COUNTS=true takes others"
            )
        if not same:
            write_durably(path, f"{counters_sha256.hex()}\n".encode())

    def inputs(self, task: Task) -> Inputs:
        """What the bank's own policy has to know of a contribution: what each segment's figures follow from."""
        sources = {
            Segment.COUNT: b"",
            Segment.STANDARDISE: b"",
            Segment.EVALUATE: task.model_sha256,
            Segment.TRADE: task.model_sha256,
            Segment.TRAIN: task.training_seed,
        }
        named = tuple(hashlib.sha256(sources[segment]).digest() for segment in task.segments)
        layout = Layout(task.segments, self._manifest, task.recipe, task.terms)
        names = tuple(segment.value for segment in task.segments)
        clip, data_sha256 = task.recipe.clip, self._dataset.sha256
        return Inputs(task.model_sha256, task.task_sha256, clip, names, named, data_sha256, layout.length)

    def erase(self) -> None:
        """The run is over: the contribution that was kept to be sent again goes."""
        with self._lock:
            self._outbox.erase()

    def contribute(self, task: Task, cancelled: Callable[[], bool]) -> Released:
        """The released contribution, kept on disk; raises Cancelled when `cancelled` turns true while it trains.

        One at a time: a task that was cancelled may still be in its last batch when the next one comes.
        """
        with self._lock:
            self._final = task if task.is_last else None
            kept = self._outbox.find(task.key, self.inputs(task).sha256)
            if kept is None:
                kept = self._contribute(task, cancelled)
                if cancelled():
                    raise Invalid(f"a contribution must be to a round that is going on, {task.key} is over")
                self._outbox.keep(kept)
            return kept

    def after_run(self, run_id: str, cancelled: Callable[[], bool]) -> None:
        """What the bank does for itself when a run is over; raises Cancelled when `cancelled` turns true meanwhile.

        Nothing where this process did not answer the run's final round.
        """
        with self._lock:
            task, self._final = self._final, None
        if task is None or task.key.run_id != run_id or task.run_state is None or task.vector is None:
            return
        if Segment.TRADE in task.segments:
            examples = self._dataset.alone()
            unhurried = replace(task, alone_until=math.inf)
            if alone := self._trained_alone(unhurried, examples.training, cancelled):
                logits = evaluation.logits(self._manifest, task.recipe, *alone, examples.validation)
                self._keep_trade(task, self._scored(task, task.run_state, task.vector)[0], logits)
        if self._settings.personalise:
            self._personalise(task, task.run_state, task.vector, cancelled)

    def _personalise(self, task: Task, state: RunState, vector: Vector, cancelled: Callable[[], bool]) -> None:
        """Fine-tunes the run's final model, keeps that where it gains, and tells."""
        from services.bank_client import training  # it imports torch

        with self._lock:
            self._trainer = None  # its copy of the rows goes before there is another
        final = personal.Federated(self._manifest, task.recipe, state, vector, task.model_sha256)
        rows, validation = self._dataset.under(task.counters_sha256)
        chosen, device, folder = self._dataset.for_choice(), self._settings.device, self._settings.data_dir
        found = personal.personalised(final, rows, validation, chosen, task.seed, task.seat, cancelled, device)
        with self._lock:  # a later run's counters come under it, and what is kept names this run's alone
            if cancelled():
                raise training.Cancelled
            personal.keep(folder, task.key.run_id, final, found, validation.labels)
            personal.tell(folder, task.key.run_id, final, found)

    def _contribute(self, task: Task, cancelled: Callable[[], bool]) -> Released:
        layout = Layout(task.segments, self._manifest, task.recipe, task.terms)
        door = ReleaseDoor(layout, task.key, task.model_sha256, self.inputs(task).sha256, masked=task.masked)
        for segment in task.segments:
            if segment is Segment.COUNT:
                door.count(self._dataset.counts())
            elif segment is Segment.STANDARDISE:
                training = self._dataset.under(task.counters_sha256).training
                door.standardise(training.features, training.labels)
            elif task.run_state is None or task.vector is None:
                raise Invalid(f"a {segment.value} segment must come with a model and a run state, got none")
            elif segment is Segment.EVALUATE:
                logits, labels = self._scored(task, task.run_state, task.vector)
                door.evaluate(logits, labels)
                if task.is_last:
                    self._keep(task, task.run_state, task.vector, logits, labels)
            elif segment is Segment.TRADE:
                self._trade(task, self._scored(task, task.run_state, task.vector)[0], door)
            else:
                self._train(task, task.run_state, task.vector, door, cancelled)
        return door.release(self._disclosure(task, cancelled))

    def _trade(self, task: Task, logits: Vector, door: ReleaseDoor) -> None:
        """What alerts come to: for the sum, and under the bank's own budget for itself."""
        if not task.final:
            raise Invalid(f"a trade segment must be of a run's final round, {task.key} is none")
        seed = trade.replicate_seed(self._dataset.sha256, task.model_sha256)
        door.trade(trade.trade_of(self._dataset.judged(), logits, trade_codec(self._manifest, task.terms), seed))
        self._keep_trade(task, logits)

    def _keep_trade(self, task: Task, logits: Vector, alone: Vector | None = None) -> None:
        """The bank's own figures, and those of its model without the federation once they are known."""
        plan = self._manifest.feature_plan
        assert plan is not None  # noqa: S101  # for the type checker: payments have one
        seed = trade.replicate_seed(self._dataset.sha256, task.model_sha256)
        own = own_trade.OwnTrade(
            task.key.run_id,
            task.model_sha256,
            self._dataset.judged(),
            plan.test_days,
            self._settings.alert_budget,
            seed,
            task.terms.admin_cents,
        )
        own_trade.keep(self._settings.data_dir, own, logits, alone)

    def _keep(self, task: Task, state: RunState, vector: Vector, logits: Vector, labels: NDArray[np.bool_]) -> None:
        """The final model and what it takes to score with it stay on the bank's volume."""
        budget = self._settings.alert_budget
        days = kept_model.day_count(self._manifest, len(labels))
        found = own_trade.threshold(logits, labels, days, budget)
        variant = kept_model.Variant(kept_model.FEDERATED, to_bytes(vector), task.model_sha256, found)
        kept = kept_model.KeptModel(
            task.key.run_id,
            self._manifest,
            state,
            task.recipe.logit_adjustment,
            budget,
            self._dataset.merchant_key,
            (variant,),
        )
        kept_model.keep(self._settings.data_dir, kept)

    def _scored(self, task: Task, state: RunState, vector: Vector) -> tuple[Vector, NDArray[np.bool_]]:
        """(rows,) logits and labels of the validation rows."""
        rows, kept = self._dataset.under(task.counters_sha256).validation, self._validation
        if kept is None or kept[:2] != (task.recipe, state):
            kept = task.recipe, state, evaluation.Validation(self._manifest, task.recipe, state, rows)
            self._validation = kept
        return kept[2].logits(vector), rows.labels

    def _train(
        self, task: Task, state: RunState, vector: Vector, door: ReleaseDoor, cancelled: Callable[[], bool]
    ) -> None:
        # Here and not above: torch takes seconds to import, and a bank joins before.
        from services.bank_client import training

        rows = self._dataset.under(task.counters_sha256).training
        if self._trainer is None or self._trainer[:2] != (task.recipe, state):
            self._trainer = None  # the former one's copy of the rows goes before there is another
            trainer = training.Trainer(self._manifest, task.recipe, state, rows, self._settings.device)
            self._trainer = (task.recipe, state, trainer)
        kept = self._trainer[2]
        assert isinstance(kept, training.Trainer)  # noqa: S101  # for the type checker
        trained = kept.train(vector, task.training_seed, cancelled)
        door.train(trained - vector, training.weight(task.recipe, state, rows))

    def _disclosure(self, task: Task, cancelled: Callable[[], bool]) -> Disclosure | None:
        """What the bank chose to give in its own name; how it fares alone and federated with the last round."""
        chosen = set(self._settings.disclose.split(","))
        own = self._comparison(task, chosen, cancelled) if self._is_last(task) else {}
        rows = self._dataset.row_count if "rows" in chosen else None
        rate = self._dataset.fraud_count / self._dataset.row_count if "fraud_rate" in chosen else None
        return None if chosen == {"none"} else Disclosure(rows, rate, **own)

    def _is_last(self, task: Task) -> bool:
        """Whether it is the round in which a run's banks compare themselves: once a run, whatever is asked."""
        if not task.is_last:
            return False
        known, self._compared = task.key.run_id in self._compared, self._compared | {task.key.run_id}
        return not known

    def _comparison(self, task: Task, chosen: set[str], cancelled: Callable[[], bool]) -> dict[str, float | None]:
        own: dict[str, float | None] = {}
        holdout = self._read_holdout() if chosen & {"federated", "alone"} else None
        if "federated" in chosen and task.run_state is not None and task.vector is not None:
            rows = self._dataset.under(task.counters_sha256).validation
            own |= self._precisions("federated", task.recipe, task.run_state, task.vector, rows, holdout)
        if "alone" in chosen:
            examples = self._dataset.alone()
            if alone := self._trained_alone(task, examples.training, cancelled):
                own |= self._precisions("alone", task.recipe, *alone, examples.validation, holdout)
        return own

    def _trained_alone(self, task: Task, rows: Rows, cancelled: Callable[[], bool]) -> tuple[RunState, Vector] | None:
        """The bank's model without the federation; None if the deadline is too near: it must not cost the round."""
        from services.bank_client import training

        epochs = task.rounds * task.recipe.local_epochs
        if self._alone is None or self._alone[0] != (task.seed, task.recipe, epochs):
            try:
                alone = training.train_alone(
                    self._manifest,
                    task.recipe,
                    epochs,
                    rows,
                    task.seed,
                    task.seat,
                    lambda: cancelled() or time.monotonic() > task.alone_until,
                    self._settings.device,
                )
            except training.Cancelled:
                if cancelled():
                    raise
                Log(task.seat).warning("not trained alone: the deadline is near", seat=task.seat, epochs=epochs)
                return None
            self._alone = (task.seed, task.recipe, epochs), alone
        return self._alone[1]

    def _precisions(
        self, name: str, recipe: Recipe, state: RunState, vector: Vector, rows: Rows, holdout: Rows | None
    ) -> dict[str, float | None]:
        """Average precision on the bank's own validation rows, and on the public hold-out where there is one."""
        precision = evaluation.average_precision
        own = precision(self._manifest, recipe, state, vector, rows)
        public = precision(self._manifest, recipe, state, vector, holdout) if holdout else None
        return {name: own, f"{name}_holdout": public}

    def _read_holdout(self) -> Rows | None:
        path = self._settings.data_dir / self._settings.holdout
        return read_table(path, self._manifest.features) if path.exists() else None


def preload() -> None:
    """Imports what training needs, ahead of the first model that is to be trained.

    The collector rests: nothing of it is garbage, and looking for some is a seventh of the time.
    """
    gc.disable()
    try:
        import services.bank_client.training  # noqa: F401  # for its import time
    finally:
        gc.enable()
