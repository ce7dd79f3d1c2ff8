"""Answers one request to score after another, from a bank's own volume; no server and no clock of its own."""

import math
import time
from collections.abc import Callable

import numpy as np

from fedfraud.contract import CARDS
from fedfraud.errors import Invalid, Misconfigured
from fedfraud.standardise_codec import VALUE_CAP
from fedfraud.transactions import Feature
from fedfraud.v1 import scoring_pb2
from services.bank_client.attribution import Floats
from services.bank_client.checks import MOST_ID_BYTES
from services.bank_client.conversion import time_text
from services.bank_client.live_payments import LivePayments, Payment
from services.bank_client.score_inputs import ScoreInputs, read_inputs, read_known
from services.bank_client.settings import Settings

REASONS = 3
"""How many are given unless somebody asks for more or fewer."""
MOST_REASONS = 100
LEEWAY = 300
"""Seconds that the caller's clock may be ahead of ours."""
_MOST_CENTS = 100 * int(CARDS.column("amount").most or 0)


class ScoreDesk:
    """A bank's model, and its payments up to now."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self._settings, self._clock = settings, clock
        self._inputs = read_inputs(settings)
        risk = self._inputs.risk
        self._live = None if risk is None else LivePayments(read_known(settings, self._inputs), risk)

    @property
    def about(self) -> dict[str, str]:
        """Which model scores, for a log line."""
        kept = self._inputs.scorer.kept
        return {"run": kept.run_id, "variant": kept.scoring.name, "model": kept.scoring.model_sha256.hex()}

    def read(self) -> ScoreInputs:
        """What is kept now, for `take`."""
        return read_inputs(self._settings)

    def take(self, inputs: ScoreInputs) -> None:
        """Scores by these from now on; the payments that came since the start are still known."""
        if (inputs.risk is None) != (self._live is None):
            raise Misconfigured("a kept model must be of what the bank has, payments or features, got the other")
        if self._live is not None and inputs.risk is not None:
            self._live.learn(inputs.risk)
        self._inputs = inputs

    def score(self, request: scoring_pb2.ScoreRequest) -> scoring_pb2.ScoreResponse:
        """See scoring.proto. A payment that is refused counts as not made."""
        count = request.reason_count if request.HasField("reason_count") else REASONS
        if not 0 <= count <= MOST_REASONS:
            raise Invalid(f"reasons must be 0 to {MOST_REASONS}, got {count}")
        kind = request.WhichOneof("transaction")
        if kind != ("features" if self._live is None else "payment"):
            wanted = "features" if self._live is None else "a payment"
            raise Invalid(f"a transaction of this bank must be {wanted}, got {kind or 'none'}")
        if self._live is None:
            return self._answer(self._row(request.features), count, 0)
        payment = self._payment(request.payment)
        answer = self._answer(self._live.features(payment), count, self._live.stale_days(payment))
        self._live.add(payment)
        return answer

    def _answer(self, features: Floats, count: int, stale_days: int) -> scoring_pb2.ScoreResponse:
        scores, kept = self._inputs.scorer.score(features, count), self._inputs.scorer.kept
        threshold = kept.scoring.threshold
        return scoring_pb2.ScoreResponse(
            probability=scores.probabilities[0],
            logit=scores.logits[0],
            alert=None if scores.alerts is None else bool(scores.alerts[0]),
            threshold=None if threshold is None else threshold.probability,
            reasons=[
                scoring_pb2.Reason(
                    name=reason.name,
                    weight=reason.weight,
                    seen=[
                        scoring_pb2.SeenFeature(name=one.feature, unit=one.unit, value=one.value, usual=one.usual)
                        for one in reason.seen
                    ],
                )
                for reasons in scores.reasons
                for reason in reasons
            ],
            stale_days=stale_days,
            run_id=kept.run_id,
            model_sha256=kept.scoring.model_sha256,
            feature_plan_sha256=kept.feature_plan_sha256,
        )

    def _payment(self, told: scoring_pb2.Payment) -> Payment:
        for name in ("transaction_id", "customer_id", "merchant_id"):
            size = len(getattr(told, name).encode())
            if not 1 <= size <= MOST_ID_BYTES:
                raise Invalid(f"a {name} must have 1 to {MOST_ID_BYTES} bytes, got {size}")
        if not 0 <= told.amount_cents <= _MOST_CENTS:
            raise Invalid(f"amount_cents must be 0 to {_MOST_CENTS}, got {told.amount_cents}")
        now = int(self._clock())
        if told.time.seconds > now + LEEWAY:
            raise Invalid(f"a time must not be later than now, {time_text(now)}, by more than {LEEWAY} seconds")
        if told.time.seconds < 0:
            raise Invalid(f"a time must be from 1970 on, got {told.time.seconds} seconds")
        return Payment(told.transaction_id, told.time.seconds, told.customer_id, told.merchant_id, told.amount_cents)

    def _row(self, told: scoring_pb2.FeatureRow) -> Floats:
        features = self._inputs.scorer.kept.manifest.features
        values = {one.name: one.value for one in told.values}
        names = {feature.name for feature in features}
        if len(told.values) != len(values) or values.keys() != names:
            missing, other = sorted(names - values.keys()), sorted(values.keys() - names)
            raise Invalid(
                f"features must be the {len(names)} of the model, each once, got {len(told.values)}"
                f"{f', without {missing[0]!r}' if missing else ''}{f', with {other[0][:40]!r}' if other else ''}"
            )
        return np.array([[_checked(feature, values[feature.name]) for feature in features]])


def _checked(feature: Feature, value: float) -> float:
    if not math.isfinite(value) or abs(round(value / feature.resolution)) >= VALUE_CAP:
        bound = f"±2**40 times its resolution, {feature.resolution:g} {feature.unit}"
        raise Invalid(f"the feature {feature.name!r} must be finite and within {bound}, got {value:g}")
    return value
