"""What speaks for and against a transaction, in an analyst's words: features in named groups, the weightiest first."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedfraud.contract import known_name
from fedfraud.manifest import Manifest
from fedfraud.transactions import WINDOWS
from services.bank_client.attribution import Floats

_CARDS = {
    "amount": ("amount",),
    "weekend": ("during_weekend",),
    "time of day": ("during_night",),
    "customer's number of payments lately": tuple(f"customer_count_{days}d" for days in WINDOWS),
    "customer's spending lately": tuple(f"customer_mean_{days}d" for days in WINDOWS),
    "merchant's number of payments": tuple(f"merchant_count_{days}d" for days in WINDOWS),
    "merchant's known frauds": tuple(f"merchant_risk_{days}d" for days in WINDOWS),
}
_NAMED = {"cards": _CARDS}


@dataclass(frozen=True)
class Seen:
    """One feature of a transaction: its value, and the mean of all banks' training rows, which it is held against."""

    feature: str
    unit: str
    value: float
    usual: float


@dataclass(frozen=True)
class Reason:
    """`weight` is what the group adds to the log-odds of fraud, against a transaction that is usual in every feature:
    above 0 it speaks for fraud, below against it. `seen` are the group's features."""

    name: str
    weight: float
    seen: tuple[Seen, ...]


class Reasons:
    """The groups of one population's features; every feature is in one."""

    def __init__(self, manifest: Manifest, usual: Sequence[float]) -> None:
        """`usual` are the means of the features."""
        self._features, self._usual = manifest.features, usual
        self.groups = _groups(manifest)
        """The places of each group's features, by its name."""

    def weights(self, parts: Floats) -> Floats:
        """(rows, features) of what each feature adds to (rows, groups)."""
        return np.column_stack([parts[:, places].sum(axis=1) for places in self.groups.values()])

    def top(self, weights: Floats, values: Floats, count: int) -> tuple[Reason, ...]:
        """The `count` groups that weigh most, either way, of one row's (groups,) weights and (features,) values."""
        names = list(self.groups)
        return tuple(
            Reason(names[group], float(weights[group]), self._seen(self.groups[names[group]], values))
            for group in np.argsort(-np.abs(weights), kind="stable")[:count].tolist()
        )

    def _seen(self, places: list[int], values: Floats) -> tuple[Seen, ...]:
        features = [(place, self._features[place]) for place in places]
        return tuple(Seen(f.name, f.unit, float(values[place]), self._usual[place]) for place, f in features)


def _groups(manifest: Manifest) -> dict[str, list[int]]:
    """By the population's names; elsewhere a feature is a group, with whether it is known at all where that is one."""
    places = {feature.name: place for place, feature in enumerate(manifest.features)}
    named = _NAMED.get(manifest.population)
    if named is None:
        names = [name for name in places if not (name.endswith("_known") and name.removesuffix("_known") in places)]
        named = {name: (name, known_name(name)) for name in names}
    return {name: [places[each] for each in features if each in places] for name, features in named.items()}
