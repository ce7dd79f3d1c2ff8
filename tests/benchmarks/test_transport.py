"""The benchmark of transport: its sizes, its stand-ins' contributions, and one round of each kind over real ports."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from benchmarks import raw_grpc, transport
from benchmarks.measuring import Report, Row
from benchmarks.stand_in import Shared, contribution, manifest_of_bytes
from fedfraud.fixed_point import Segment
from fedfraud.layout import Layout
from fedfraud.packing import Packing
from fedfraud.recipe import recipe_named

TRAINING = (Segment.EVALUATE, Segment.TRAIN)


@pytest.mark.parametrize("size", [140, 1 << 14, 10**6, 10**8, 1 << 30])
def test_a_model_is_the_largest_that_fits(size: int) -> None:
    hidden = manifest_of_bytes(size).hidden_sizes[0]
    parameters = [31 * h + (h + 1) * h + h + 1 for h in (hidden, hidden + 1)]
    assert parameters[0] == manifest_of_bytes(size).parameter_count
    assert 4 * parameters[0] <= size < 4 * parameters[1]


def test_a_size_below_the_least_model_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 140 bytes, got 139"):
        manifest_of_bytes(139)


@pytest.mark.parametrize("segments", [(Segment.STANDARDISE,), TRAINING, (Segment.EVALUATE,)])
def test_what_a_stand_in_sends_is_within_the_bounds(segments: tuple[Segment, ...]) -> None:
    manifest, recipe = manifest_of_bytes(1 << 14), recipe_named("default")
    layout = Layout(segments, manifest, recipe)
    words = Packing(layout).unpack(contribution(layout))
    layout.check(words)
    if Segment.TRAIN in segments:
        assert not layout.part(words, Segment.TRAIN)[:-2].any()  # the vector comes back as it went


async def test_rounds_go_through_the_product_and_through_raw_grpc(tmp_path: Path) -> None:
    manifest = manifest_of_bytes(1 << 21)  # a contribution of 2 MB: by file
    costs, receipts, peak = await transport.federation(tmp_path / "ours", manifest, 2, 2)
    assert len(costs) == len(receipts) == 2
    for cost, (first, last) in zip(costs, receipts, strict=True):
        assert 0 < first <= last <= cost.seconds
    assert peak > 50
    sums = sorted((tmp_path / "ours" / "aggregator" / "vectors").glob("*/*.sum.u64"))
    assert [path.name[:5] for path in sums] == [
        "00001",
        "00002",
        "00003",
        "00004",
    ]  # the scaler's, one that is not counted, two
    coordinates = np.fromfile(sums[-1], "<u8")[2 * 8192 :]
    assert coordinates[-2] == 2000  # both banks weigh 1000
    assert not coordinates[:-2].any()
    for tls in (False, True):
        raw, _ = await raw_grpc.exchange(tmp_path / f"raw-{tls}", 2, 1 << 21, 1 << 21, 2, tls=tls)
        assert len(raw) == 2
        left = await asyncio.to_thread(lambda: list(tmp_path.glob("raw-*/contribution*")))
        assert left == []


def test_the_disk_that_rounds_need_is_counted() -> None:
    model = 4 * manifest_of_bytes(10**6).parameter_count
    # A round leaves a sum of two models, a momentum of two and a model; while it is open there are ten contributions.
    assert transport.disk_bytes(manifest_of_bytes(10**6), 10, 3) == model * (5 * 5 + 10)


def measured(model: str, banks: int, peak: float) -> Row:
    shares = {transport.TWICE: 0.88, transport.SAME: 0.37, transport.SAME_TLS: 0.63}
    return {
        "model": model,
        "banks": banks,
        "CPU s a round": 10.2,
        "aggregator peak MB": peak,
        "allowed MB": 240.0,
        **shares,
    }


def test_each_share_is_named_and_the_aims_stand_beside_what_was_measured() -> None:
    report = Report("transport", "", machine={})
    transport.hold(report, [measured("10M", 10, 156.0), measured("100M", 10, 298.0)])
    aimed, stricter, tls, cpu, *peaks = report.findings
    assert aimed.startswith("the aim's workload, a contribution of twice the model")
    assert aimed.endswith("ours has 0.880 (the aim: at least 0.500): yes")
    assert stricter.startswith("stricter than the aim, the very bytes that our banks send")
    assert stricter.endswith("ours has 0.370; at least 0.500: no")
    assert tls.endswith("ours has 0.630; no aim")
    assert cpu == "CPU s a round, of both ends: 10.2 (the aim: at most 10.0): no"
    assert peaks == [
        "10M, 10 banks: aggregator's peak MB 156 (the aim: at most 240): yes",
        "100M, 10 banks: aggregator's peak MB 298 (the aim: at most 240): no",
    ]


def test_other_sizes_and_banks_have_no_aim_of_rate() -> None:
    report = Report("transport", "", machine={})
    transport.hold(report, [measured("100M", 30, 156.0)])
    assert report.findings == [
        "the aims of rate and CPU are of 100M with 10 banks, not measured here",
        "100M, 30 banks: aggregator's peak MB 156 (the aim: at most 240): yes",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sizes", "16K,100"], "argument --sizes: must be of 16K, 1M, 10M, 100M, 1G, got '100'"),
        (["--banks", "0"], "argument --banks: must be a whole number from 1 to 4096, got '0'"),
        (["--memory-alone", "--frameworks", "Flower simulation"], "--memory-alone must have no --frameworks beside it"),
        (["--rounds", "-1"], "argument --rounds: must be a whole number from 1 to 10000, got '-1'"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["transport.py", *words])
    with pytest.raises(SystemExit):
        transport.main()
    assert capsys.readouterr().err.endswith(f"{sentence}\n")


def test_rounds_of_three_sizes_grow_along_a_line() -> None:
    report = Report("transport", "", machine={})
    sizes = [("1M", 0.3), ("10M", 2.1), ("100M", 20.1)]  # 200 ms a MB, and 100 ms
    rows: list[Row] = [{"model": name, "banks": 10, "s a round": seconds} for name, seconds in sizes]
    others: list[Row] = [{"model": name, "banks": 2, "s a round": seconds} for name, seconds in sizes[:2]]
    transport.by_size(report, [*rows, *others])
    (said,) = report.findings
    assert said == "a round of 10 banks takes 100.0 ms and 200 ms a MB of the model (R² 1.000); the order is 0.91"


def test_a_benchmark_that_measured_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "_RESERVE_BYTES", 10**18)
    monkeypatch.setattr("sys.argv", ["transport.py", "--sizes=16K", "--banks=2", f"--folder={tmp_path}"])
    with pytest.raises(SystemExit, match=r"^one size must be measured at least, none was: the lines above say why$"):
        transport.main()
    assert "16K was left out: it must have 1000000000 GB of disk" in capsys.readouterr().out


def test_a_gigabyte_that_is_asked_for_and_left_out_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "disk_bytes", lambda manifest, *_: 10**18 * (manifest.parameter_count > 10**8))
    words = ["--sizes=16K", "--banks=2", "--rounds=2", "--gigabyte", f"--folder={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["transport.py", *words])
    with pytest.raises(SystemExit, match=r"^1G was asked for and left out: the lines above say why$"):
        transport.main()


def test_memory_alone_runs_nothing_beside_and_holds_its_aim(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_grpc, "exchange", None)  # nobody asks for it
    words = ["--sizes=16K,1M", "--banks=3", "--rounds=1", "--memory-alone", f"--folder={tmp_path}"]
    monkeypatch.setattr("sys.argv", ["transport.py", *words])
    transport.main()
    said = capsys.readouterr().out.splitlines()
    aims = [line for line in said if "aggregator's peak MB" in line]
    assert [line.split(":")[0] for line in aims] == ["- 16K, 3 banks", "- 1M, 3 banks"]
    assert all(line.endswith("): yes") for line in aims)
    assert [line.split(", ")[-1] for line in said if line.startswith("  memory: model")] == [
        "allowed MB 200",
        "allowed MB 204",
    ]


async def test_banks_that_share_memory_fetch_the_model_that_the_aggregator_has(tmp_path: Path) -> None:
    manifest, memory = manifest_of_bytes(1 << 20), Shared()  # too long for an instruction
    await transport.federation(tmp_path, manifest, 3, 1, memory)
    size = 4 * manifest.parameter_count
    newest = max((tmp_path / "aggregator" / "vectors" / "models").iterdir(), key=lambda path: path.stat().st_mtime)
    assert bytes(memory.lend(size)) == newest.read_bytes()
    memory.lend(size)[:4] = b"abcd"
    assert bytes(memory.lend(size)[:4]) == b"abcd"


def test_figures_that_were_not_measured_hold_no_aim() -> None:
    report = Report("transport", "", machine={})
    transport.hold(report, [{"model": "100M", "banks": 10, "allowed MB": 600.0}])
    assert [said.rpartition(": ")[2] for said in report.findings if "the aim: " in said] == ["no", "no", "no"]
