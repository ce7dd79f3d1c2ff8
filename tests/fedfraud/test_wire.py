"""Wire to values and back: what goes out comes back equal, and what breaks a rule is refused."""

from dataclasses import replace

import pytest

from fedfraud.calibration import Recalibration
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import Segment
from fedfraud.identity import Role
from fedfraud.manifest import Manifest
from fedfraud.metrics import CurvePoint, Scores
from fedfraud.model import RunState
from fedfraud.recipe import RECIPES, Recipe, WeightRule
from fedfraud.transactions import TUTORIAL, Feature
from fedfraud.v1 import model_pb2
from fedfraud.wire import (
    PROTOCOL_VERSION,
    Disclosure,
    RoundKey,
    curve_from_proto,
    curve_to_proto,
    disclosure_from_proto,
    disclosure_to_proto,
    manifest_from_proto,
    manifest_to_proto,
    recalibration_from_proto,
    recalibration_to_proto,
    recipe_from_proto,
    recipe_to_proto,
    role_from_proto,
    role_to_proto,
    round_key_from_proto,
    round_key_to_proto,
    run_state_from_proto,
    run_state_to_proto,
    scores_from_proto,
    scores_to_proto,
    segments_from_proto,
    segments_to_proto,
)
from tests.test_imports import ROOT

NAN, INF = float("nan"), float("inf")
MANIFEST = Manifest("cards", (Feature("amount", "euro", 0.01), Feature("age", "year", 1.0)), hidden_sizes=(8, 4))
PLANNED = replace(MANIFEST, feature_plan=FeaturePlan("2018-04-01", bucket_count=64))
STATE = RunState((0.1, -2.0), (1.5, 1e-9), row_count=48_000, fraud_count=1_180, weight_scale=1 / 3)


def test_a_round_key_comes_back_and_reads_as_run_round_attempt() -> None:
    key = RoundKey("20261123-224501-5f3a", 12, 2)
    assert round_key_from_proto(round_key_to_proto(key)) == key
    assert str(key) == "20261123-224501-5f3a/12/2"


def test_a_strangers_run_id_is_cut_at_64_characters() -> None:
    assert round_key_from_proto(model_pb2.RoundKey(run_id="x" * 65, round=-1)) == RoundKey("x" * 64, -1, 0)


def test_segments_come_back_in_order() -> None:
    for segments in (tuple(Segment), tuple(reversed(Segment)), (), (Segment.TRAIN, Segment.TRAIN)):
        assert segments_from_proto(segments_to_proto(segments)) == segments


@pytest.mark.parametrize("kind", [0, 99])
def test_an_unknown_segment_kind_is_refused(kind: model_pb2.SegmentKind.ValueType) -> None:
    with pytest.raises(Invalid, match=rf"^a segment kind must be one of \[1, 2, 3, 4, 5\], got {kind}$"):
        segments_from_proto([model_pb2.SEGMENT_KIND_TRAIN, kind])


@pytest.mark.parametrize("role", list(Role))
def test_a_role_comes_back(role: Role) -> None:
    assert role_from_proto(role_to_proto(role)) is role


@pytest.mark.parametrize("role", [0, 99])
def test_an_unknown_role_is_refused(role: model_pb2.Role.ValueType) -> None:
    with pytest.raises(Invalid, match=rf"^a role must be one of \[1, 2, 3, 4\], got {role}$"):
        role_from_proto(role)


@pytest.mark.parametrize("manifest", [MANIFEST, Manifest("tutorial", TUTORIAL), PLANNED])
def test_a_manifest_comes_back_with_the_same_canonical_bytes(manifest: Manifest) -> None:
    back = manifest_from_proto(model_pb2.Manifest.FromString(manifest_to_proto(manifest).SerializeToString()))
    assert back == manifest
    assert back.canonical_json() == manifest.canonical_json()


@pytest.mark.parametrize("resolution", [0.0, -1.0, NAN, INF])
def test_a_resolution_that_cannot_divide_is_refused(resolution: float) -> None:
    message = manifest_to_proto(MANIFEST)
    message.features[1].resolution = resolution
    with pytest.raises(Invalid, match=r"^a feature's resolution must be above 0 and finite, got .* for 'age'$"):
        manifest_from_proto(message)


def test_a_manifest_of_another_version_is_refused() -> None:
    message = manifest_to_proto(MANIFEST)
    message.version = 2
    with pytest.raises(Invalid, match=r"^manifest version must be 1, got 2$"):
        manifest_from_proto(message)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), Recipe("h", 0.1, 1, 3, 0.2, True, WeightRule.HARMONIC, 0.9, 1)])
def test_a_recipe_comes_back(recipe: Recipe) -> None:
    assert recipe_from_proto(model_pb2.Recipe.FromString(recipe_to_proto(recipe).SerializeToString())) == recipe


def test_a_recipe_out_of_range_or_without_a_weight_rule_is_refused() -> None:
    message = recipe_to_proto(RECIPES["default"])
    message.batch_size = 0
    with pytest.raises(Invalid, match=r"^batch size must be 1 to 65536, got 0$"):
        recipe_from_proto(message)
    with pytest.raises(Invalid, match=r"^a weight rule must be one of \[1, 2, 3\], got 0$"):
        recipe_from_proto(model_pb2.Recipe())


def test_a_feature_plan_out_of_range_is_refused() -> None:
    message = manifest_to_proto(PLANNED)
    message.feature_plan.bucket_count = 1000
    with pytest.raises(Invalid, match=r"^bucket count must be a power of two up to 16777216, got 1000$"):
        manifest_from_proto(message)


@pytest.mark.parametrize(
    ("manifest", "state"), [(MANIFEST, STATE), (PLANNED, replace(STATE, counters_sha256=bytes(range(32))))]
)
def test_a_run_state_comes_back_bit_for_bit(manifest: Manifest, state: RunState) -> None:
    message = model_pb2.RunState.FromString(run_state_to_proto(state).SerializeToString())
    assert run_state_from_proto(message, manifest).to_bytes() == state.to_bytes()


def test_a_run_state_has_counters_exactly_where_features_follow_from_them() -> None:
    with pytest.raises(Invalid, match=r"^counters must have a hash of 32 bytes, got 0 bytes$"):
        run_state_from_proto(run_state_to_proto(STATE), PLANNED)
    with pytest.raises(Invalid, match=r"^counters must be of a population with transactions, got 32 bytes$"):
        run_state_from_proto(run_state_to_proto(replace(STATE, counters_sha256=bytes(32))), MANIFEST)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (replace(STATE, means=(0.0,)), r"a run state must have 2 means and deviations, got 1 and 2"),
        (replace(STATE, deviations=(1.0,) * 3), r"a run state must have 2 means and deviations, got 2 and 3"),
        (replace(STATE, means=(0.0, NAN)), r"a mean must be finite, got nan"),
        (replace(STATE, means=(-INF, 0.0)), r"a mean must be finite, got -inf"),
        (replace(STATE, deviations=(1.0, 0.0)), r"a deviation must be above 0 and finite, got 0.0"),
        (replace(STATE, deviations=(1.0, NAN)), r"a deviation must be above 0 and finite, got nan"),
        (replace(STATE, deviations=(INF, 1.0)), r"a deviation must be above 0 and finite, got inf"),
        (replace(STATE, fraud_count=48_001), r"frauds must be 0 to the rows, 48000, got 48001"),
        (replace(STATE, fraud_count=-1), r"frauds must be 0 to the rows, 48000, got -1"),
        (replace(STATE, weight_scale=0.0), r"a weight scale must be above 0 and finite, got 0.0"),
        (replace(STATE, weight_scale=INF), r"a weight scale must be above 0 and finite, got inf"),
    ],
)
def test_a_run_state_that_breaks_a_rule_is_refused(state: RunState, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        run_state_from_proto(run_state_to_proto(state), MANIFEST)


@pytest.mark.parametrize(
    "scores",
    [
        Scores(row_count=0, fraud_count=0, flagged_count=0),
        Scores(10, 0, 3, log_loss=0.5, accuracy=0.7, accuracy_always_legitimate=1.0),
        Scores(10, 2, 1, 0.5, 0.75, 0.0, 0.5, 0.25, 0.9, 0.8),
    ],
)
def test_scores_come_back_with_none_where_a_figure_is_not_defined(scores: Scores) -> None:
    assert scores_from_proto(model_pb2.Scores.FromString(scores_to_proto(scores).SerializeToString())) == scores


@pytest.mark.parametrize(
    "disclosure",
    [
        Disclosure(),
        Disclosure(row_count=5, fraud_rate=0.0),  # a rate of 0 is a figure; None is silence
        Disclosure(1, 1.0, 0.25, 0.5, 0.125, 0.75),
    ],
)
def test_a_disclosure_comes_back_and_keeps_0_apart_from_silence(disclosure: Disclosure) -> None:
    message = model_pb2.Disclosure.FromString(disclosure_to_proto(disclosure).SerializeToString())
    assert disclosure_from_proto(message) == disclosure


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (model_pb2.Disclosure(row_count=0), r"disclosed rows must be at least 1, got 0"),
        (model_pb2.Disclosure(fraud_rate=1.5), r"a disclosed fraud_rate must be 0 to 1, got 1.5"),
        (model_pb2.Disclosure(alone=-0.1), r"a disclosed alone must be 0 to 1, got -0.1"),
        (model_pb2.Disclosure(federated=NAN), r"a disclosed federated must be 0 to 1, got nan"),
        (model_pb2.Disclosure(alone_holdout=INF), r"a disclosed alone_holdout must be 0 to 1, got inf"),
        (model_pb2.Disclosure(federated_holdout=2), r"a disclosed federated_holdout must be 0 to 1, got 2.0"),
    ],
)
def test_a_disclosed_figure_out_of_range_is_refused(message: model_pb2.Disclosure, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{sentence}$"):
        disclosure_from_proto(message)


def test_a_curve_comes_back() -> None:
    curve = (CurvePoint(2.5, 10, 8, 8.25), CurvePoint(-1.0, 30, 9, 10.0))
    assert curve_from_proto(curve_to_proto(curve)) == curve


@pytest.mark.parametrize("points", [[(10, 11)], [(10, -1)], [(0, 0)], [(10, 1), (10, 1)]])
def test_a_curve_whose_alerts_do_not_rise_or_do_not_hold_their_hits_is_refused(points: list[tuple[int, int]]) -> None:
    messages = [model_pb2.CurvePoint(alert_count=alerts, hit_count=hits) for alerts, hits in points]
    with pytest.raises(Invalid, match=r"^a curve's alerts must rise and hold its hits"):
        curve_from_proto(messages)


def test_a_recalibration_comes_back_and_must_keep_the_ranking() -> None:
    found = Recalibration(0.9, -0.25, 0.05)
    assert recalibration_from_proto(recalibration_to_proto(found, None)) == found
    assert not recalibration_to_proto(found, None).HasField("holdout_log_loss")
    assert recalibration_to_proto(found, 0.0).HasField("holdout_log_loss")
    for slope, intercept in ((0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))):
        told = model_pb2.Recalibration(slope=slope, intercept=intercept)
        with pytest.raises(Invalid, match=r"^a recalibration must be finite with a slope above 0, got "):
            recalibration_from_proto(told)


def test_the_contract_names_the_version_that_is_spoken() -> None:
    proto = (ROOT / "proto/fedfraud/v1/federation.proto").read_text()
    assert f"// The version of this protocol that the bank speaks; {PROTOCOL_VERSION}.\n" in proto
