"""Which models a reporter may have: those that ended runs left, and no other."""

import pytest

from fedfraud.errors import NotFound
from fedfraud.v1 import history_pb2, model_pb2
from services.aggregator.final_models import FinalModels


def committed(run_id: str, number: int, scaler: bool = False) -> history_pb2.Entry:
    event = history_pb2.RoundCommitted(key=model_pb2.RoundKey(run_id=run_id, round=number))
    event.model.CopyFrom(reference(number))
    if scaler:
        event.run_state.row_count = 90
    return history_pb2.Entry(round_committed=event)


def reference(number: int) -> model_pb2.ModelReference:
    return model_pb2.ModelReference(model_sha256=bytes([number]) * 32, vector_sha256=bytes([100 + number]) * 32)


def started(run_id: str, **known: object) -> history_pb2.Entry:
    manifest = model_pb2.Manifest(population="tutorial")
    return history_pb2.Entry(run_started=history_pb2.RunStarted(run_id=run_id, manifest=manifest, **known))  # type: ignore[arg-type]  # of the fields' kinds


def finished(run_id: str, number: int) -> history_pb2.Entry:
    sha256 = reference(number).model_sha256 if number else b""
    return history_pb2.Entry(run_finished=history_pb2.RunFinished(run_id=run_id, model_sha256=sha256))


def fold(*entries: history_pb2.Entry) -> FinalModels:
    models = FinalModels()
    for entry in entries:
        models.apply(entry)
    return models


def test_the_model_of_an_ended_run_is_its_last_with_the_state_of_its_first_round() -> None:
    models = fold(started("a"), committed("a", 1, scaler=True), committed("a", 2), finished("a", 2))
    told = models.of("a")
    assert (told.manifest.population, told.run_state.row_count, told.model) == ("tutorial", 90, reference(2))


def test_a_run_that_goes_on_and_one_that_left_nothing_have_none() -> None:
    models = fold(started("a"), committed("a", 1, scaler=True), started("b"), finished("b", 0), started("c"))
    for run_id in ("a", "b", "c", "", "x" * 500):
        with pytest.raises(NotFound, match=f"^a run must have ended with a model, got '{run_id[:80]}'$"):
            models.of(run_id)


def test_a_run_that_uses_a_former_ones_state_may_end_with_its_initial_model() -> None:
    state = model_pb2.RunState(row_count=90)
    models = fold(started("a", run_state=state, model=reference(1)), finished("a", 1))
    assert (models.of("a").run_state.row_count, models.of("a").model) == (90, reference(1))
    models.apply(started("b", run_state=state, model=reference(1)))
    models.apply(committed("b", 5))
    models.apply(finished("b", 5))
    assert (models.of("a").model, models.of("b").model) == (reference(1), reference(5))
