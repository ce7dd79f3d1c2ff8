"""A bank and whoever says it is the aggregator: what is wrong gets no answer, and a cut line costs no round."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from fedfraud import model
from fedfraud.channel import bind_mutual, mutual_server
from fedfraud.contract import contract_named
from fedfraud.errors import Invalid, Stale
from fedfraud.fixed_point import Segment, from_bytes
from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector
from fedfraud.recipe import Recipe
from fedfraud.standardise_codec import StandardiseCodec
from fedfraud.transactions import SCHEMAS, Feature
from fedfraud.v1 import federation_pb2, federation_pb2_grpc, model_pb2
from fedfraud.wire import recipe_to_proto, run_state_to_proto, segments_to_proto
from services.bank_client.dataset import Rows, write
from services.bank_client.enrol import store_pair
from services.bank_client.participant import BankClient
from services.bank_client.settings import Settings
from tests.federation.waiting import until
from tests.fedfraud.certificates import HOST, SmallCa, uri
from tests.services.bank_client.lines import Line

MANIFEST = Manifest("two", (Feature("a", "euro", 2.0**-20), Feature("b", "euro", 2.0**-20)), (4,))
STATE = RunState((0.0, 0.0), (1.0, 1.0), 85, 17, 1000.0)
VECTOR = initial_vector(MANIFEST, 7)
Instruction = federation_pb2.RoundInstruction


def standardise(number: int) -> Instruction:
    instruction = Instruction(
        segments=segments_to_proto((Segment.STANDARDISE,)), recipe=recipe_to_proto(Recipe("r", 0.1, 16)), round_count=1
    )
    instruction.key.run_id, instruction.key.round, instruction.key.attempt = "run", number, 1
    return instruction


def evaluate(number: int) -> Instruction:
    """A round with a model, as a faultless aggregator asks for it."""
    instruction = standardise(number)
    instruction.segments[:] = segments_to_proto((Segment.EVALUATE,))
    instruction.model.vector_sha256 = hashlib.sha256(VECTOR.tobytes()).digest()
    instruction.model.model_sha256 = model.model_sha256(MANIFEST, STATE, VECTOR)
    instruction.run_state.CopyFrom(run_state_to_proto(STATE))
    return instruction


@pytest.fixture(autouse=True)
def known_population(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SCHEMAS, MANIFEST.population, MANIFEST.features)


def rows(path: Path, value: float) -> None:
    """Ten rows, one of them a fraud; the last value of the second column is `value`."""
    features = np.ones((10, 2))
    features[9, 1] = value
    write(path, Rows(features, np.arange(10) < 1), MANIFEST.features)


@asynccontextmanager
async def bank(
    home: Path,
    aggregation: Literal["plain", "secure"] = "plain",
    manifest: Manifest = MANIFEST,
    value: float = 1.0,
    **more: object,
) -> AsyncIterator[tuple[Line, "asyncio.Task[int]"]]:
    """A bank that serves ten rows, the last with this value, and the other end of its line."""
    rows(home / "dataset.parquet", value)
    ca, stop = SmallCa(), asyncio.Event()
    line = Line(ca.journal_pair(), MANIFEST, VECTOR.tobytes())
    line.manifest = manifest
    own = ca.pair(HOST)
    server = mutual_server([])
    federation_pb2_grpc.add_FederationServiceServicer_to_server(line, server)
    port = bind_mutual(server, "127.0.0.1:0", ca.pem, lambda: own)
    await server.start()
    (home / "join").mkdir()
    (home / "join" / "ca.pem").write_bytes(ca.pem)
    (home / "join" / "token").write_text("unused")
    store_pair(home, ca.pair(uri("spiffe://fedfraud/bank/bank-01")))
    (home / "signing.key").write_bytes(bytes(32))
    enrolment = {"seat": "bank-01", "slot": 1, "population": MANIFEST.population, "population_seed": 7}
    (home / "enrolment.json").write_text(json.dumps(enrolment))
    settings = Settings(
        aggregator=f"localhost:{port}",
        join_dir=home / "join",
        data_dir=home,
        retry_limit=0.2,
        aggregation=aggregation,
        **more,  # type: ignore[arg-type]  # whatever the test sets
    )
    serving = asyncio.create_task(BankClient(settings, stop).serve())
    try:
        yield line, serving
    finally:
        stop.set()
        await asyncio.wait({serving}, timeout=10)
        await server.stop(grace=0)


def with_nan(line: Line, instruction: Instruction) -> None:
    """The hashes are right: only the number is not one."""
    vector = VECTOR.copy()
    vector[3] = float("nan")
    line.vector = vector.tobytes()
    instruction.model.vector_sha256 = hashlib.sha256(line.vector).digest()
    instruction.model.model_sha256 = model.model_sha256(MANIFEST, STATE, vector)


def with_infinity(line: Line, instruction: Instruction) -> None:
    vector = VECTOR.copy()
    vector[:2] = float("inf")
    line.vector = vector.tobytes()
    instruction.model.vector_sha256 = hashlib.sha256(line.vector).digest()


def with_other_bytes(line: Line, instruction: Instruction) -> None:
    line.vector = bytes(len(line.vector))


def with_more_bytes(line: Line, instruction: Instruction) -> None:
    line.vector += bytes(8)
    instruction.model.vector_sha256 = hashlib.sha256(line.vector).digest()


def with_fewer_bytes(line: Line, instruction: Instruction) -> None:
    line.vector = line.vector[:-4]
    instruction.model.vector_sha256 = hashlib.sha256(line.vector).digest()


def with_another_model_hash(line: Line, instruction: Instruction) -> None:
    instruction.model.model_sha256 = bytes(32)


def with_a_mean_that_is_no_number(line: Line, instruction: Instruction) -> None:
    instruction.run_state.means[0] = float("nan")


def without_a_model(line: Line, instruction: Instruction) -> None:
    instruction.ClearField("model")


def with_an_unknown_segment(line: Line, instruction: Instruction) -> None:
    instruction.ClearField("segments")
    instruction.segments.append(model_pb2.SEGMENT_KIND_UNSPECIFIED)


def with_a_recipe_out_of_range(line: Line, instruction: Instruction) -> None:
    instruction.recipe.learning_rate = -1.0


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (with_nan, "a model must be finite, got 1 NaN or infinite coordinates"),
        (with_infinity, "a model must be finite, got 2 NaN or infinite coordinates"),
        (with_other_bytes, "a model must have the hash it came with, "),
        (with_more_bytes, "a model vector must have 68 bytes, got "),
        (with_fewer_bytes, "a model vector must have 68 bytes, got 64"),
        (with_another_model_hash, "a model must have the hash it came with, 000000000000, got "),
        (with_a_mean_that_is_no_number, "a mean must be finite, got nan"),
        (without_a_model, "a evaluate segment must come with a model and a run state, got none"),
        (with_an_unknown_segment, "a segment kind must be one of "),
        (with_a_recipe_out_of_range, "learning rate must be above 0 and finite, got -1.0"),
    ],
)
@pytest.mark.parametrize("told", [False, True], ids=["asked for", "with the instruction"])
async def test_what_an_aggregator_must_not_ask_gets_no_contribution(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Line, Instruction], None],
    sentence: str,
    told: bool,
) -> None:
    async with bank(tmp_path) as (line, _):
        instruction = evaluate(1)
        spoil(line, instruction)
        if told:
            instruction.vector = line.vector
        await line.says.put(instruction)

        def reasons() -> list[str]:
            fields = [getattr(record, "fields", {}) for record in caplog.records if record.msg == "not released"]
            return [str(field["reason"]) for field in fields]

        with caplog.at_level(logging.ERROR):
            await until(reasons, "the bank refuses")
        assert reasons()[0].startswith(sentence)
        await line.says.put(standardise(2))  # the bank lives on and answers what it may
        await until(lambda: line.heard, "the next contribution")
        assert [header.key.round for header, _ in line.heard] == [2]


async def test_a_bank_answers_with_the_sums_of_its_training_rows(tmp_path: Path) -> None:
    async with bank(tmp_path) as (line, _):
        await line.says.put(standardise(1))
        await until(lambda: line.heard, "a contribution")
    ((header, data),) = line.heard
    assert (header.key.run_id, header.key.round, header.fencing_number) == ("run", 1, 1)
    assert hashlib.sha256(data).digest() == header.vector_sha256
    summed = StandardiseCodec((2.0**-20, 2.0**-20)).decode(from_bytes(data))
    assert (summed.row_count, summed.fraud_count) == (9, 1)  # one of nine legitimate rows is for validation


async def test_a_round_whose_line_is_cut_while_the_model_comes_is_answered_on_the_next_line(tmp_path: Path) -> None:
    async with bank(tmp_path) as (line, serving):
        line.holding = asyncio.Event()
        await line.says.put(evaluate(1))
        await until(lambda: line.asked == 1, "the bank asks for the model")
        await line.says.put(None)
        await until(lambda: line.joined == 2, "the bank joins again")
        line.holding.set()
        await line.says.put(evaluate(1))
        await until(lambda: line.heard, "the contribution")
        assert not serving.done()
    ((header, _),) = line.heard
    assert (header.key.round, header.fencing_number) == (1, 2)


async def test_a_round_that_is_asked_for_twice_is_prepared_once(tmp_path: Path) -> None:
    async with bank(tmp_path) as (line, _):
        await line.says.put(evaluate(1))
        await line.says.put(evaluate(1))
        await until(lambda: len(line.heard) == 2, "both are answered")
    assert line.asked == 1
    assert line.heard[0] == line.heard[1]


async def test_a_vector_that_came_with_the_instruction_is_not_asked_for(tmp_path: Path) -> None:
    async with bank(tmp_path) as (line, _):
        await line.says.put(evaluate(1))
        await until(lambda: line.heard, "a contribution to a vector that was asked for")
        instruction = evaluate(2)
        instruction.vector = line.vector
        await line.says.put(instruction)
        await until(lambda: len(line.heard) == 2, "a contribution to one that was not")
    assert line.asked == 1
    assert line.heard[0][1] == line.heard[1][1]


async def test_a_manifest_that_is_another_the_next_time_ends_the_bank(tmp_path: Path) -> None:
    """With a second Attempts over one folder it would mask one figure twice."""
    async with bank(tmp_path) as (line, serving):
        await until(lambda: line.joined == 1, "the bank joins")
        line.manifest = replace(MANIFEST, hidden_sizes=(5,))
        await line.says.put(None)
        async with asyncio.timeout(20):
            with pytest.raises(Stale, match=r"^a manifest must stay what bank-01 joined with: to join with another, "):
                await serving


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (replace(MANIFEST, population="three"), "^a population must be one of .*two, got 'three'$"),
        (
            replace(MANIFEST, features=(Feature("a", "euro", 2.0**-20), Feature("label", "euro", 2.0**-20))),
            "^a manifest must have the features of two as this bank knows them, got others$",
        ),
        (
            replace(MANIFEST, features=(Feature("a", "euro", 2.0**-20), Feature("b", "euro", 2.0**-60))),
            "^a manifest must have the features of two as this bank knows them, got others$",
        ),
    ],
)
async def test_a_manifest_with_other_columns_or_other_rounding_than_the_schemas_ends_the_bank(
    tmp_path: Path, manifest: Manifest, sentence: str
) -> None:
    async with bank(tmp_path, manifest=manifest) as (_, serving), asyncio.timeout(20):
        with pytest.raises(Stale, match=sentence):
            await serving


@pytest.mark.parametrize(("sha256", "words"), [(b"", "none"), (b"\x01" * 32, "010101010101")])
async def test_a_contract_with_another_hash_than_the_banks_ends_it_by_both_hashes(
    tmp_path: Path, sha256: bytes, words: str
) -> None:
    own = contract_named("two").sha256.hex()[:12]
    async with bank(tmp_path) as (line, serving), asyncio.timeout(20):
        line.contract_sha256 = sha256
        with pytest.raises(
            Stale, match=f"^the contract two must have the hash that this bank knows, {own}, got {words}"
        ):
            await serving
        assert line.heard == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
async def test_a_dataset_with_a_value_that_cannot_be_summed_ends_the_bank_before_it_joins(
    tmp_path: Path, value: float
) -> None:
    rule = "lie within ±2**40 times its resolution, 9.53674e-07 euro" if value == 1e30 else "hold finite numbers"
    async with bank(tmp_path, value=value) as (line, serving):
        await line.says.put(standardise(1))
        async with asyncio.timeout(20):
            with pytest.raises(Invalid) as refused:
                await serving
        assert str(refused.value) == f"dataset.parquet: column 'b' must {rule}, got {value:g} in row 10"
        assert line.joined == 0


async def test_a_bank_that_insists_on_masks_answers_no_plain_round(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        async with bank(tmp_path, "secure") as (line, _):
            await line.says.put(standardise(1))
            await until(lambda: "not released" in caplog.messages, "the bank refuses")
            assert line.heard == []
    (refused,) = [getattr(record, "fields", {}) for record in caplog.records if record.msg == "not released"]
    assert refused["reason"] == "a round must be masked, this one is not"


def final(number: int) -> Instruction:
    """The round after the one round of the run."""
    instruction = evaluate(number)
    instruction.final, instruction.step = True, 2
    return instruction


async def test_a_bank_fine_tunes_when_its_run_is_over_and_nothing_of_it_leaves(tmp_path: Path) -> None:
    async with bank(tmp_path, personalise=True) as (line, _):
        await line.says.put(final(3))
        await until(lambda: line.heard, "the contribution")
        assert not (tmp_path / "personal.json").exists()
        await line.says.put(federation_pb2.RunEnded(run_id="run", outcome="finished"))
        await until((tmp_path / "personal.json").exists, "what fine-tuning gains", 30)
        await line.says.put(standardise(4))
        await until(lambda: len(line.heard) == 2, "the next contribution")
    assert [header.key.round for header, _ in line.heard] == [3, 4]
    assert "personal" not in str(line.heard[0][0].disclosure)


@pytest.mark.parametrize("how", ["by default", "of another run", "without a final round"])
async def test_a_bank_that_does_not_fine_tune(tmp_path: Path, how: str) -> None:
    async with bank(tmp_path, personalise=how != "by default") as (line, _):
        await line.says.put(evaluate(3) if how == "without a final round" else final(3))
        await until(lambda: line.heard, "the contribution")
        await line.says.put(federation_pb2.RunEnded(run_id="other" if how == "of another run" else "run"))
        await line.says.put(standardise(4))
        await until(lambda: len(line.heard) == 2, "the next contribution")
    assert not (tmp_path / "personal.json").exists()


async def test_a_bank_that_stops_ends_its_own_work_first(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with bank(tmp_path, personalise=True) as (line, serving):
        await line.says.put(final(3))
        await until(lambda: line.heard, "the contribution")
        await line.says.put(federation_pb2.RunEnded(run_id="run"))
        await until(lambda: "run ended" in caplog.messages, "the bank knows that the run is over")
    assert serving.result() == 0
    assert (tmp_path / "personal.json").exists()
