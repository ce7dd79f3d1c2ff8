"""A model's files: read back to the same bits, and whichever was changed is named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from fedfraud import wire
from fedfraud.errors import Invalid
from fedfraud.recipe import recipe_named
from fedfraud.v1 import history_pb2
from services.reporter import model_files
from services.reporter.model_files import FinalModel
from tests.services.reporter.models import FINAL, another

DESCRIPTION, TENSORS, ONNX = "model.json", "model.safetensors", "model.onnx"
Change = Callable[[Path], None]


def test_what_was_written_is_read_back_to_the_same_bits(tmp_path: Path) -> None:
    model_files.write(tmp_path, FINAL)
    found = model_files.read(tmp_path)
    assert (found.sha256, found.run_state, found.manifest) == (FINAL.sha256, FINAL.run_state, FINAL.manifest)
    assert replace(found, vector=FINAL.vector) == FINAL
    tensors = load_file(tmp_path / TENSORS)
    assert {name: tensor.shape for name, tensor in tensors.items()} == {
        "layers.0.weight": (3, 2),
        "layers.0.bias": (3,),
        "layers.1.weight": (1, 3),
        "layers.1.bias": (1,),
    }
    assert tensors["layers.0.weight"].ravel().tolist() == FINAL.vector[:6].tolist()


def in_json(*path: str | int, value: object) -> Change:
    def change(folder: Path) -> None:
        whole = part = json.loads((folder / DESCRIPTION).read_text())
        for name in path[:-1]:
            part = part[name]
        part[path[-1]] = value
        (folder / DESCRIPTION).write_text(json.dumps(whole))

    return change


def last_byte(name: str) -> Change:
    def change(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[-1] ^= 1
        (folder / name).write_bytes(bytes(data))

    return change


def gone(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def without_a_layer(folder: Path) -> None:
    (folder / TENSORS).write_bytes(save({"layers.0.weight": np.zeros((3, 2), np.float32)}))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (last_byte(TENSORS), f"{TENSORS}: its vector must have the SHA-256 of {DESCRIPTION}"),
        (gone(TENSORS), f"{TENSORS}: it must be there"),
        (without_a_layer, f"{TENSORS}: its tensors must be the manifest's"),
        (last_byte(ONNX), f"{ONNX}: it must be the graph"),
        (gone(ONNX), f"{ONNX}: it must be there"),
        (gone(DESCRIPTION), f"{DESCRIPTION}: it must be there"),
        (in_json("run_state", "means", 0, value=10.5), f"{DESCRIPTION}: manifest, run state and vector must have"),
        (in_json("run_state", "means", value=[10.0]), f"{DESCRIPTION}: a run state must have a mean and a deviation"),
        (in_json("run_state", "row_count", value=1001), f"{DESCRIPTION}: manifest, run state and vector must have"),
        (in_json("manifest", "features", 1, "unit", value="days"), f"{DESCRIPTION}: manifest, run state and vector"),
        (in_json("manifest", "hidden_sizes", value=[4]), f"{TENSORS}: its tensors must be the manifest's"),
        (in_json("manifest", "hidden_sizes", value=[0]), f"{DESCRIPTION}: hidden sizes must be at least 1"),
        (in_json("model_sha256", value="00" * 32), f"{DESCRIPTION}: manifest, run state and vector must have"),
        (in_json("vector_sha256", value="00" * 32), f"{TENSORS}: its vector must have the SHA-256 of {DESCRIPTION}"),
        (in_json("logit_adjustment", value=False), f"{ONNX}: it must be the graph"),
        (in_json("note", value="x"), f"{DESCRIPTION}: it must be there and hold a description"),
    ],
)
def test_a_file_that_was_changed_is_named(tmp_path: Path, change: Change, fault: str) -> None:
    model_files.write(tmp_path, FINAL)
    change(tmp_path)
    with pytest.raises(Invalid) as told:
        model_files.read(tmp_path)
    assert str(told.value).startswith(fault), told.value


def journal(final: FinalModel, run_id: str = "run-1") -> list[tuple[history_pb2.Entry, bytes]]:
    """Of a run that ended at entry 3 with this model, and the head 0xabab… after it."""
    started = history_pb2.RunStarted(run_id=run_id, recipe=wire.recipe_to_proto(recipe_named("default")))
    ended = history_pb2.RunFinished(run_id=run_id, model_sha256=bytes.fromhex(final.sha256))
    return [
        (history_pb2.Entry(sequence=1, run_started=started), b"\x01" * 32),
        (history_pb2.Entry(sequence=2, run_finished=history_pb2.RunFinished(run_id="another")), b"\x02" * 32),
        (history_pb2.Entry(sequence=3, run_finished=ended), b"\xab" * 32),
    ]


def test_files_that_all_belong_together_are_held_to_the_journal() -> None:
    model_files.check_against(FINAL, journal(FINAL))
    for final, entries, fault in (
        (another(), journal(FINAL), "model_sha256 must be that of the run's model in the journal"),
        (FINAL, journal(FINAL, "run-2"), "its run must be one that ended in the journal, got 'run-1'"),
        (replace(FINAL, logit_adjustment=False), journal(FINAL), "logit_adjustment must be the recipe's"),
        (replace(FINAL, journal_sequence=2), journal(FINAL), "journal_sequence must be the entry of the run's end"),
        (replace(FINAL, journal_head="00" * 32), journal(FINAL), "journal_head must be the head after the run's end"),
    ):
        with pytest.raises(Invalid) as told:
            model_files.check_against(final, entries)
        assert str(told.value).startswith(f"{DESCRIPTION}: {fault}"), told.value
