"""The model of a real run as files beside its report: fetched by the reporter, and checked against the journal."""

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest

from fedfraud import model
from fedfraud.channel import mutual_channel
from fedfraud.enrolment import JoinFolder, enrol
from fedfraud.identity import new_key
from fedfraud.v1 import history_pb2, history_pb2_grpc
from services.aggregator.verify import export
from services.reporter import model_files
from services.reporter.__main__ import main
from tests.federation.networks import Network, network
from tests.federation.oracle import model_sha256
from tests.federation.waiting import wait_for

BANKS, ROUNDS, SEED = 3, 2, 7


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, Path]]:
    """A network whose run of two rounds has ended, and the folder of its report."""
    home = tmp_path_factory.mktemp("model")
    with network(home, autostart=True, expected_banks=BANKS, rounds=ROUNDS, seed=SEED) as present:
        present.start_aggregator()
        present.start_host(range(1, BANKS + 1))
        present.start_reporter(home / "reports")
        folder = home / "reports" / present.run_ended().run_id
        wait_for((folder / "report.md").exists, "the report", 60.0)
        yield present, folder


def checked(present: Network, folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    """Exit status and words of the command, given the network's journal."""
    journal = present.run_dir / "export"
    export(present.run_dir / "aggregator", journal)
    ca, certificate = present.join_dir / "reporter" / "ca.pem", present.run_dir / "aggregator/authority/journal.pem"
    options = ["--journal", str(journal), "--ca", str(ca), "--certificate", str(certificate)]
    return check(folder, capsys, *options, *more)


def check(folder: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["reporter", "check-model", str(folder), *options])
        status = main()
    return status, capsys.readouterr().out.strip()


def test_when_the_report_is_there_the_model_is_too_and_the_journal_has_it(
    ended: tuple[Network, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    present, folder = ended
    sha256 = model_sha256("default", ROUNDS, BANKS, SEED)
    assert {path.name for path in folder.iterdir()} >= {
        "model.safetensors",
        "model.onnx",
        "model.json",
        "MODEL_CARD.md",
    }
    end = next(entry for entry in present.entries() if entry.WhichOneof("event") == "run_finished")
    status, said = checked(present, folder, capsys)
    which = f"model {sha256} of run {folder.name}: its files belong together"
    assert (status, said) == (0, f"{which}, and the journal has it at entry {end.sequence}")
    assert check(folder, capsys) == (0, f"{which}; no journal was given")
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["run"]["model_sha256"] == sha256
    assert f'model_sha256: "{sha256}"' in (folder / "MODEL_CARD.md").read_text()


def test_files_that_belong_together_but_are_not_the_runs_are_found_out_by_the_journal(
    ended: tuple[Network, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    present, folder = ended
    final = model_files.read(folder)
    vector = final.vector.copy()
    vector[0] += 1
    model_files.write(tmp_path, model_files.FinalModel(**{**vars(final), "vector": vector}))
    assert check(tmp_path, capsys)[0] == 0
    status, said = checked(present, tmp_path, capsys)
    assert (status, said.split(" in the journal")[0]) == (
        1,
        "FAULT  model.json: model_sha256 must be that of the run's model",
    )


def test_the_onnx_file_scores_as_the_aggregator_does(ended: tuple[Network, Path]) -> None:
    _, folder = ended
    final = model_files.read(folder)
    features = np.random.default_rng(7).normal(size=(1000, len(final.manifest.features))) * 3
    logits = model.calibrated_logits(
        final.manifest, final.run_state, final.vector, features, logit_adjustment=final.logit_adjustment
    )
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (given,) = session.run(["probability"], {"features": features.astype(np.float32)})
    assert np.abs(given - 1 / (1 + np.exp(-logits.astype(np.float64)))).max() < 1e-5


async def test_a_reporter_gets_the_model_of_an_ended_run_and_nothing_else(ended: tuple[Network, Path]) -> None:
    present, folder = ended
    join = JoinFolder.read(present.join_dir / "reporter")
    _, own = await enrol(present.enrolment_address, join, new_key())
    committed = present.events("round_committed")
    async with mutual_channel(present.address, join.ca_pem, own) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)

        async def got(run_id: str) -> list[history_pb2.GetModelResponse]:
            return [part async for part in stub.GetModel(history_pb2.GetModelRequest(run_id=run_id), timeout=20)]

        description, *chunks = await got(folder.name)
        assert description.description.model == committed[-1].model
        assert model.to_bytes(model_files.read(folder).vector) == b"".join(part.chunk for part in chunks)
        others = [committed[0].model.vector_sha256.hex(), f"{folder.name}/00001-1.sum.u64", "../models", ""]
        for run_id in others:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await got(run_id)
            assert refused.value.code() is grpc.StatusCode.NOT_FOUND
