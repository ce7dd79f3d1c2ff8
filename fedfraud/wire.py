"""The one file that turns wire into values and back, in pairs; each `from_proto` checks what it got."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from google.protobuf.message import Message

from fedfraud.calibration import Recalibration
from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.fixed_point import Segment
from fedfraud.identity import Role
from fedfraud.manifest import Manifest
from fedfraud.metrics import CurvePoint, Scores
from fedfraud.model import RunState
from fedfraud.recipe import Recipe, WeightRule
from fedfraud.transactions import Feature
from fedfraud.v1 import model_pb2

PROTOCOL_VERSION = 4


@dataclass(frozen=True)
class RoundKey:
    """Names one try of one round; with a seat it is the key of a contribution."""

    run_id: str
    round: int
    attempt: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.round}/{self.attempt}"


@dataclass(frozen=True)
class Disclosure:
    """Figures that a bank gives in its own name; None where it does not."""

    row_count: int | None = None
    fraud_rate: float | None = None
    alone: float | None = None
    federated: float | None = None
    alone_holdout: float | None = None
    federated_holdout: float | None = None

    def __post_init__(self) -> None:
        if self.row_count is not None and self.row_count < 1:
            raise Invalid(f"disclosed rows must be at least 1, got {self.row_count}")
        for name in ("fraud_rate", "alone", "federated", "alone_holdout", "federated_holdout"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise Invalid(f"a disclosed {name} must be 0 to 1, got {value}")


_SEGMENTS = {
    Segment.COUNT: model_pb2.SEGMENT_KIND_COUNT,
    Segment.STANDARDISE: model_pb2.SEGMENT_KIND_STANDARDISE,
    Segment.TRAIN: model_pb2.SEGMENT_KIND_TRAIN,
    Segment.EVALUATE: model_pb2.SEGMENT_KIND_EVALUATE,
    Segment.TRADE: model_pb2.SEGMENT_KIND_TRADE,
}
_RULES = {
    WeightRule.ROWS: model_pb2.WEIGHT_RULE_ROWS,
    WeightRule.HARMONIC: model_pb2.WEIGHT_RULE_HARMONIC,
    WeightRule.SQRT_FRAUD: model_pb2.WEIGHT_RULE_SQRT_FRAUD,
}
_ROLES = {
    Role.BANK: model_pb2.ROLE_BANK,
    Role.REPORTER: model_pb2.ROLE_REPORTER,
    Role.OPERATOR: model_pb2.ROLE_OPERATOR,
    Role.AGGREGATOR: model_pb2.ROLE_AGGREGATOR,
}


def round_key_to_proto(key: RoundKey) -> model_pb2.RoundKey:
    """See RoundKey."""
    return model_pb2.RoundKey(run_id=key.run_id, round=key.round, attempt=key.attempt)


def round_key_from_proto(key: model_pb2.RoundKey) -> RoundKey:
    """Any values: whether they name the open round is the round's to say."""
    return RoundKey(key.run_id[:64], key.round, key.attempt)


def segments_to_proto(segments: tuple[Segment, ...]) -> list[model_pb2.SegmentKind.ValueType]:
    """In order."""
    return [_SEGMENTS[segment] for segment in segments]


def segments_from_proto(kinds: "list[model_pb2.SegmentKind.ValueType]") -> tuple[Segment, ...]:
    """In order; an unknown kind is refused."""
    known = {kind: segment for segment, kind in _SEGMENTS.items()}
    for kind in kinds:
        if kind not in known:
            raise Invalid(f"a segment kind must be one of {sorted(known)}, got {kind}")
    return tuple(known[kind] for kind in kinds)


def role_to_proto(role: Role) -> model_pb2.Role.ValueType:
    """See Role."""
    return _ROLES[role]


def role_from_proto(role: "model_pb2.Role.ValueType") -> Role:
    """An unknown role is refused."""
    for known, value in _ROLES.items():
        if value == role:
            return known
    raise Invalid(f"a role must be one of {sorted(_ROLES.values())}, got {role}")


def manifest_to_proto(manifest: Manifest) -> model_pb2.Manifest:
    """See Manifest."""
    return model_pb2.Manifest(
        version=manifest.version,
        population=manifest.population,
        features=[model_pb2.Feature(name=f.name, unit=f.unit, resolution=f.resolution) for f in manifest.features],
        hidden_sizes=manifest.hidden_sizes,
        feature_plan=model_pb2.FeaturePlan(**asdict(manifest.feature_plan)) if manifest.feature_plan else None,
    )


def manifest_from_proto(manifest: model_pb2.Manifest) -> Manifest:
    """The version, the features, the layers and the feature plan are checked."""
    for feature in manifest.features:
        if not 0 < feature.resolution < float("inf"):
            raise Invalid(
                f"a feature's resolution must be above 0 and finite, got {feature.resolution} for {feature.name!r}"
            )
    features = tuple(Feature(f.name, f.unit, f.resolution) for f in manifest.features)
    plan = None
    if manifest.HasField("feature_plan"):
        told = {field.name: getattr(manifest.feature_plan, field.name) for field in fields(FeaturePlan)}
        plan = FeaturePlan(**{**told, "windows": tuple(told["windows"])})
    return Manifest(manifest.population, features, tuple(manifest.hidden_sizes), manifest.version, plan)


def recipe_to_proto(recipe: Recipe) -> model_pb2.Recipe:
    """See Recipe."""
    return model_pb2.Recipe(**{**asdict(recipe), "weight_rule": _RULES[recipe.weight_rule]})


def recipe_from_proto(recipe: model_pb2.Recipe) -> Recipe:
    """Every number is held to its range by Recipe."""
    rules = {value: rule for rule, value in _RULES.items()}
    if recipe.weight_rule not in rules:
        raise Invalid(f"a weight rule must be one of {sorted(rules)}, got {recipe.weight_rule}")
    values = {field.name: getattr(recipe, field.name) for field in fields(Recipe)}
    return Recipe(**{**values, "weight_rule": rules[recipe.weight_rule]})


def run_state_to_proto(state: RunState) -> model_pb2.RunState:
    """See RunState."""
    return model_pb2.RunState(**asdict(state))


def run_state_from_proto(state: model_pb2.RunState, manifest: Manifest) -> RunState:
    """Lengths, deviations and counts are checked."""
    if not len(state.means) == len(state.deviations) == len(manifest.features):
        raise Invalid(
            f"a run state must have {len(manifest.features)} means and deviations, "
            f"got {len(state.means)} and {len(state.deviations)}"
        )
    for mean in state.means:
        if not -float("inf") < mean < float("inf"):
            raise Invalid(f"a mean must be finite, got {mean}")
    for deviation in state.deviations:
        if not 0 < deviation < float("inf"):
            raise Invalid(f"a deviation must be above 0 and finite, got {deviation}")
    if not 0 <= state.fraud_count <= state.row_count:
        raise Invalid(f"frauds must be 0 to the rows, {state.row_count}, got {state.fraud_count}")
    if not 0 < state.weight_scale < float("inf"):
        raise Invalid(f"a weight scale must be above 0 and finite, got {state.weight_scale}")
    check_counters_sha256(state.counters_sha256, manifest)
    return RunState(
        tuple(state.means),
        tuple(state.deviations),
        state.row_count,
        state.fraud_count,
        state.weight_scale,
        state.counters_sha256,
    )


def check_counters_sha256(sha256: bytes, manifest: Manifest) -> None:
    """A hash where features follow from counters, and none elsewhere."""
    if len(sha256) != (32 if manifest.feature_plan else 0):
        rule = "have a hash of 32 bytes" if manifest.feature_plan else "be of a population with transactions"
        raise Invalid(f"counters must {rule}, got {len(sha256)} bytes")


def scores_to_proto(scores: Scores) -> model_pb2.Scores:
    """See Scores; None stays unset."""
    return model_pb2.Scores(**{name: value for name, value in asdict(scores).items() if value is not None})


def scores_from_proto(scores: model_pb2.Scores) -> Scores:
    """Unset becomes None."""
    return Scores(**_present(scores))


def curve_to_proto(curve: tuple[CurvePoint, ...]) -> list[model_pb2.CurvePoint]:
    """In order."""
    return [model_pb2.CurvePoint(**asdict(point)) for point in curve]


def curve_from_proto(curve: Iterable[model_pb2.CurvePoint]) -> tuple[CurvePoint, ...]:
    """By rising alert count; hits are at most the alerts."""
    points = tuple(CurvePoint(**_present(point)) for point in curve)
    alerts = 0
    for point in points:
        if not alerts < point.alert_count or not 0 <= point.hit_count <= point.alert_count:
            raise Invalid(f"a curve's alerts must rise and hold its hits, got {point} after {alerts} alerts")
        alerts = point.alert_count
    return points


def recalibration_to_proto(found: Recalibration, holdout_log_loss: float | None) -> model_pb2.Recalibration:
    """See Recalibration; `holdout_log_loss` is None without a hold-out."""
    return model_pb2.Recalibration(**asdict(found), holdout_log_loss=holdout_log_loss)


def recalibration_from_proto(told: model_pb2.Recalibration) -> Recalibration:
    """Every number is finite, the slope above 0."""
    found = Recalibration(told.slope, told.intercept, told.log_loss)
    if not (found.slope > 0 and all(map(math.isfinite, (found.slope, found.intercept, found.log_loss)))):
        raise Invalid(f"a recalibration must be finite with a slope above 0, got {found}")
    return found


def disclosure_to_proto(disclosure: Disclosure) -> model_pb2.Disclosure:
    """See Disclosure; None stays unset."""
    told = {field.name: getattr(disclosure, field.name) for field in fields(Disclosure)}
    return model_pb2.Disclosure(**{name: value for name, value in told.items() if value is not None})


def disclosure_from_proto(disclosure: model_pb2.Disclosure) -> Disclosure:
    """Unset becomes None; every figure is held to its range by Disclosure."""
    return Disclosure(**_present(disclosure))


def _present(message: Message) -> dict[str, Any]:
    """Every field by name; None for an optional one that is unset."""
    return {
        field.name: None if field.has_presence and not message.HasField(field.name) else getattr(message, field.name)
        for field in message.DESCRIPTOR.fields
    }
