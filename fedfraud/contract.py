"""The data contract: what a bank's rows must be, agreed on by hash when a bank joins.

A contract is either a feature table, whose rows are the model's inputs, or payments, from which features are computed.
A bank's own names, formats and codes are mapped onto it by its column map, which nobody else sees.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from fedfraud.errors import Invalid
from fedfraud.transactions import LABEL, SCHEMAS, Feature

VERSION = 1
KNOWN_AT = "fraud_known_at"
"""The column that says when a label became known."""
ID = "transaction_id"


class Kind(Enum):
    """What a column holds."""

    NUMBER = "number"
    TIME = "time"
    TEXT = "text"
    FLAG = "flag"


@dataclass(frozen=True)
class Column:
    """One canonical column. `required`: every row has a value. `least` and `most` are in `unit`, both allowed.

    Where `missing_below` is set, a lower number or none stands for "not known": the feature is then 0, and the
    feature `<name>_known` is 0 where it is 1 otherwise.
    """

    name: str
    kind: Kind
    unit: str
    required: bool = True
    least: float | None = None
    most: float | None = None
    missing_below: float | None = None


@dataclass(frozen=True)
class Contract:
    """What two parties agree on about rows.

    `features` are a feature table's inputs in the model's order, none for payments. `ids` and `leaks` are columns that
    never become inputs: identities, and what says or follows from the label. A label may be unknown only in payments.
    A dataset with fewer than `least_frauds` frauds is refused, and one without a legitimate row where that is not 0.
    """

    name: str
    columns: tuple[Column, ...]
    features: tuple[Feature, ...] = ()
    ids: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    least_frauds: int = 0
    version: int = VERSION

    @property
    def is_payments(self) -> bool:
        """Whether rows are payments, from which features are computed."""
        return not self.features

    @property
    def is_labelled(self) -> bool:
        """Whether rows say what became known of them."""
        return any(column.name == LABEL for column in self.columns)

    def without_labels(self) -> "Contract":
        """The same of rows that nobody has judged yet: what a bank scores. No two parties compare its hash."""
        columns = tuple(column for column in self.columns if column.name not in (LABEL, KNOWN_AT))
        return replace(self, columns=columns, least_frauds=0)

    def column(self, name: str) -> Column:
        """The column of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise Invalid(f"a column of {self.name} must be one of {', '.join(c.name for c in self.columns)}, got {name!r}")

    def canonical_json(self) -> bytes:
        """The bytes that are hashed: sorted keys, no spaces, UTF-8, every number a float."""
        description: dict[str, Any] = {
            "version": self.version,
            "name": self.name,
            "columns": [_described(column) for column in self.columns],
            "features": [{"name": f.name, "unit": f.unit, "resolution": float(f.resolution)} for f in self.features],
            "label": LABEL,
            "label_known_at": KNOWN_AT,
            "ids": list(self.ids),
            "leaks": list(self.leaks),
            "least_frauds": self.least_frauds,
        }
        return json.dumps(description, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    @property
    def sha256(self) -> bytes:
        """What aggregator and bank compare."""
        return hashlib.sha256(self.canonical_json()).digest()


def _described(column: Column) -> dict[str, Any]:
    bounds = {"least": column.least, "most": column.most, "missing_below": column.missing_below}
    return {
        "name": column.name,
        "kind": column.kind.value,
        "unit": column.unit,
        "required": column.required,
        **{name: None if bound is None else float(bound) for name, bound in bounds.items()},
    }


def known_name(name: str) -> str:
    """The feature that says whether this one is known."""
    return f"{name}_known"


_FLAG = Column(LABEL, Kind.FLAG, "1 for fraud, 0 for legitimate")
_UNKNOWN_FLAG = Column(LABEL, Kind.FLAG, "1 for fraud, 0 for legitimate, empty for not known", required=False)
_KNOWN_AT = Column(KNOWN_AT, Kind.TIME, "seconds since 1970 UTC", required=False)
_ROW_ID = Column(ID, Kind.TEXT, "unique", required=False)


def feature_table(name: str, features: tuple[Feature, ...], least_frauds: int = 0) -> Contract:
    """The contract of a table that has the model's inputs as its columns, and a label in every row.

    A feature with another of its name and `_known` may be missing: it is, below 0. That other is no column.
    """
    names = {feature.name for feature in features}
    derived = {known_name(name) for name in names} & names
    columns = [
        Column(f.name, Kind.NUMBER, f.unit, missing_below=0.0 if known_name(f.name) in names else None)
        for f in features
        if f.name not in derived
    ]
    return Contract(
        name,
        (*columns, _FLAG, _KNOWN_AT, _ROW_ID),
        features,
        ids=(ID,),
        leaks=(KNOWN_AT,),
        least_frauds=least_frauds,
    )


CARDS = Contract(
    "cards",
    (
        Column(ID, Kind.TEXT, "unique"),
        Column("time", Kind.TIME, "seconds since 1970 UTC"),
        Column("customer_id", Kind.TEXT, "pseudonym"),
        Column("merchant_id", Kind.TEXT, "pseudonym"),
        Column("amount", Kind.NUMBER, "euro", least=0.0, most=1e9),
        _UNKNOWN_FLAG,
        _KNOWN_AT,
    ),
    ids=(ID, "customer_id", "merchant_id"),
    leaks=(KNOWN_AT,),
    least_frauds=2,
)
"""Card payments: who paid whom, when, how much, and what became known of it."""

_OWN = {
    "cards": CARDS,
    "ulb_creditcard": feature_table("ulb_creditcard", SCHEMAS["ulb_creditcard"], least_frauds=20),
    "baf": feature_table("baf", SCHEMAS["baf"], least_frauds=20),
    "ieee_cis": feature_table("ieee_cis", SCHEMAS["ieee_cis"], least_frauds=20),
}


def contract_named(population: str) -> Contract:
    """The contract of a population; a plain table of its features unless it has one of its own."""
    if population in _OWN:
        return _OWN[population]
    if population in SCHEMAS:
        return feature_table(population, SCHEMAS[population])
    known = ", ".join(dict.fromkeys((*SCHEMAS, *_OWN)))
    raise Invalid(f"a contract must be one of {known}, got {population[:40]!r}")
