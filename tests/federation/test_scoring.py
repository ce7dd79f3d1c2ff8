"""After a run of real processes each bank scores by itself: by file, over its socket, and as the run evaluated."""

import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from fedfraud.channel import scoring_channel
from fedfraud.contract import CARDS
from fedfraud.feature_plan import PLANS
from fedfraud.recipe import recipe_named
from fedfraud.v1 import scoring_pb2, scoring_pb2_grpc
from services.bank_client import evaluation, features, kept_model, own_data
from services.bank_client.examples import Payments
from services.bank_client.merchant_key import read_merchant_key
from services.bank_client.settings import Settings
from services.bank_client.transactions import Transactions
from tests.federation.networks import FINISHED, network
from tests.federation.waiting import wait_for

ROOT = Path(__file__).parents[2]
PLAN = PLANS["cards"]
TEST_TIME = PLAN.start_time + PLAN.test_start * features.DAY
ROWS = 1_000


def command(folder: Path, *words: str, **variables: str) -> list[str]:
    """A bank's command on its folder."""
    given = [f"{name}={value}" for name, value in {"DATA_DIR": str(folder), **variables}.items()]
    return ["env", *given, sys.executable, "-m", "services.bank_client", *words]


@contextmanager
def served(folder: Path, socket: Path) -> Iterator[scoring_pb2_grpc.ScoringServiceStub]:
    """`serve-scores` as a process."""
    serving = subprocess.Popen(command(folder, "serve-scores", SCORE_SOCKET=str(socket)), cwd=ROOT)
    try:
        wait_for(lambda: socket.exists() or serving.poll() is not None, "the socket", 60.0)
        assert serving.poll() is None
        with scoring_channel(socket) as channel:
            yield scoring_pb2_grpc.ScoringServiceStub(channel)
    finally:
        serving.terminate()
        assert serving.wait(30) == 0


def evaluated(folder: Path) -> dict[str, float]:
    """Each validation payment's probability by its id, by the run's own arithmetic on the bank's rows."""
    own = own_data.load(Settings(data_dir=folder), CARDS, keep_ids=True)
    kept = kept_model.load(folder)
    assert own.payments is not None
    assert own.ids is not None
    dataset = Payments(own.payments, PLAN, read_merchant_key(folder / "merchant.key"))
    dataset.learn(kept.run_state.counters_sha256, kept_model.load_counters(folder, kept))
    rows = dataset.under(kept.run_state.counters_sha256).validation
    logits = evaluation.logits(kept.manifest, recipe_named("cards"), kept.run_state, kept.vector, rows)
    _, places = features.split(features.planned(own.payments, PLAN), PLAN)
    assert len(own.payments) == len(features.planned(own.payments, PLAN))
    probabilities = 1 / (1 + np.exp(-logits.astype(np.float64)))
    return dict(zip(own.ids.take(places).to_pylist(), probabilities.tolist(), strict=True))


def week_and_history(folder: Path, known: dict[str, float], history: Path) -> tuple[Path, Transactions, list[str]]:
    """The first payments of the validation week, ROWS of which were evaluated, without labels; and the folder of a bank
    that has the same model and does not know these payments yet."""
    table = pq.read_table(folder / "dataset.parquet")
    own = own_data.load(Settings(data_dir=folder), CARDS, keep_ids=True)
    assert own.payments is not None
    assert own.ids is not None
    ids = own.ids.to_pylist()
    first = int(np.searchsorted(own.payments.time, TEST_TIME))
    is_evaluated = np.cumsum([name in known for name in ids[first:]])
    end = first + int(np.searchsorted(is_evaluated, ROWS)) + 1
    chosen = set(ids[first:end])
    mask = [str(name) in chosen for name in table["transaction_id"].to_pylist()]
    week = folder.parent / "week.parquet"
    pq.write_table(table.filter(mask).drop_columns(["fraud", "fraud_known_at"]), week)
    history.mkdir()
    before = set(ids[:first])
    mask = [str(name) in before for name in table["transaction_id"].to_pylist()]
    pq.write_table(table.filter(mask), history / "dataset.parquet")
    for path in (folder / "merchant.key", folder / kept_model.FILE, *folder.glob("kept-counters-*")):
        shutil.copy2(path, history)
    return week, own.payments.take(np.arange(first, end)), ids[first:end]


@pytest.fixture(scope="module")
def banks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four banks that is over, and its network too."""
    folder = tmp_path_factory.mktemp("run")
    settings = {"population": "cards", "preset": "regional", "expected_banks": 4, "rounds": 1, "autostart": True}
    with network(folder, round_deadline=120.0, **settings) as present:
        present.start_aggregator()
        for number in range(1, 5):
            present.start_bank(number, aggregation="plain")
        finished = present.wait("run_finished", seconds=240.0)
        assert finished.outcome == FINISHED
    for number in range(1, 5):
        kept = kept_model.load(folder / f"bank-{number:02}")
        assert (kept.run_id, kept.scoring.model_sha256) == (finished.run_id, finished.model_sha256)
        assert kept.scoring.threshold is not None
    return folder


def test_a_thousand_payments_have_one_score_by_file_over_the_socket_and_in_the_run(banks: Path, tmp_path: Path) -> None:
    folder, history = banks / "bank-01", tmp_path / "history"
    known = evaluated(folder)
    week, paid, ids = week_and_history(folder, known, history)
    out = tmp_path / "out.csv"
    done = subprocess.run(
        command(folder, "score", str(week), "--out", str(out)), cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    with out.open(newline="") as stream:
        by_file = {line["transaction_id"]: line for line in csv.DictReader(stream)}
    assert list(by_file) == ids

    with tempfile.TemporaryDirectory() as short, served(history, Path(short) / "own" / "s") as stub:
        for place, name in enumerate(ids):
            request = scoring_pb2.ScoreRequest(
                payment=scoring_pb2.Payment(
                    transaction_id=name,
                    customer_id=paid.customer_ids[paid.customer[place]],
                    merchant_id=paid.merchant_ids[paid.merchant[place]],
                    amount_cents=int(paid.amount[place]),
                )
            )
            request.payment.time.seconds = int(paid.time[place])
            answer = stub.Score(request, timeout=30)
            line = by_file[name]
            assert abs(answer.probability - float(line["probability"])) <= 1e-6
            assert {True: "yes", False: "no"}[answer.alert] == line["alert"]
            assert answer.reasons[0].name == line["reason_1"]
            assert answer.model_sha256.hex() == line["model_sha256"]
            assert answer.feature_plan_sha256.hex() == line["feature_plan_sha256"] == PLAN.sha256.hex()
            assert answer.stale_days == int(line["stale_days"]) == 0

    both = [name for name in ids if name in known]
    assert len(both) == ROWS
    assert max(abs(float(by_file[name]["probability"]) - known[name]) for name in both) <= 1e-6
    assert len({round(known[name], 6) for name in both}) > 100


def test_who_reads_the_first_lines_alone_is_told_nothing_of_it(banks: Path) -> None:
    words = command(banks / "bank-01", "score", str(banks / "bank-01" / "dataset.parquet"), "--since", "2018-05-23")
    done = subprocess.run(
        ["sh", "-c", '"$@" | head -n 2', "sh", *words], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert [line.split(",")[0] == "transaction_id" for line in done.stdout.splitlines()] == [True, False]
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


def test_a_bank_without_a_kept_model_says_what_it_lacks(banks: Path, tmp_path: Path) -> None:
    for words in (("score", str(banks / "bank-01" / "dataset.parquet")), ("serve-scores",)):
        done = subprocess.run(command(tmp_path, *words), cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert done.returncode == 2
        assert "a bank must have kept a model to score with" in done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []
