"""The data contract: its bytes and hash, what a table of features becomes, and which contracts there are."""

import json
from dataclasses import replace

import pytest

from fedfraud.contract import CARDS, Column, Kind, contract_named, feature_table
from fedfraud.errors import Invalid
from fedfraud.transactions import SCHEMAS, SIMULATED, Feature

SMALL = feature_table("small", (Feature("age", "year", 1.0),))


def test_the_bytes_that_are_hashed_are_sorted_json_without_spaces() -> None:
    assert SMALL.canonical_json() == (
        b'{"columns":[{"kind":"number","least":null,"missing_below":null,"most":null,"name":"age","required":true,'
        b'"unit":"year"},{"kind":"flag","least":null,"missing_below":null,"most":null,"name":"fraud","required":true,'
        b'"unit":"1 for fraud, 0 for legitimate"},{"kind":"time","least":null,"missing_below":null,"most":null,'
        b'"name":"fraud_known_at","required":false,"unit":"seconds since 1970 UTC"},{"kind":"text","least":null,'
        b'"missing_below":null,"most":null,"name":"transaction_id","required":false,"unit":"unique"}],'
        b'"features":[{"name":"age","resolution":1.0,"unit":"year"}],"ids":["transaction_id"],"label":"fraud",'
        b'"label_known_at":"fraud_known_at","leaks":["fraud_known_at"],"least_frauds":0,"name":"small","version":1}'
    )


@pytest.mark.parametrize(
    ("name", "sha256"),
    [
        ("tutorial", "4c1024a4813451c7"),
        ("cards", "0d49aed187ddfb14"),
        ("ulb_creditcard", "e2d078c956d2dc44"),
        ("baf", "a1c9b79376abf608"),
    ],
)
def test_a_contract_that_banks_have_agreed_on_keeps_its_hash(name: str, sha256: str) -> None:
    assert contract_named(name).sha256.hex()[:16] == sha256


@pytest.mark.parametrize(
    "other",
    [
        replace(CARDS, name="other"),
        replace(CARDS, version=2),
        replace(CARDS, ids=("transaction_id",)),
        replace(CARDS, leaks=()),
        replace(CARDS, least_frauds=1),
        replace(CARDS, columns=CARDS.columns[:-1]),
        replace(CARDS, columns=(*CARDS.columns, Column("mcc", Kind.TEXT, "code"))),
        replace(CARDS, columns=tuple(replace(c, most=1e6) if c.name == "amount" else c for c in CARDS.columns)),
        replace(CARDS, columns=tuple(replace(c, unit="cent") if c.name == "amount" else c for c in CARDS.columns)),
    ],
)
def test_whatever_is_another_has_another_hash(other: object) -> None:
    assert other.sha256 != CARDS.sha256  # type: ignore[attr-defined]  # all are contracts


def test_every_schema_has_a_contract_with_its_features_or_of_payments() -> None:
    for name, features in SCHEMAS.items():
        contract = contract_named(name)
        assert contract.name == name
        assert contract.is_payments or contract.features == features
        assert not {feature.name for feature in contract.features} & {*contract.ids, *contract.leaks}
    assert set(SIMULATED) <= set(SCHEMAS)


def test_a_feature_that_says_whether_another_is_known_is_no_column() -> None:
    table = feature_table("t", (Feature("age", "year", 1.0), Feature("age_known", "0 or 1", 1.0), Feature("x", "", 1)))
    assert [(c.name, c.missing_below) for c in table.columns if c.kind is Kind.NUMBER] == [("age", 0.0), ("x", None)]


def test_an_unknown_contract_is_refused_by_the_names_there_are() -> None:
    with pytest.raises(Invalid, match=r"^a contract must be one of tutorial, cards, .*baf, .*got 'mars'$"):
        contract_named("mars")
    with pytest.raises(Invalid, match=r"^a column of cards must be one of .*amount.*, got 'mcc'$"):
        CARDS.column("mcc")


def test_canonical_json_is_json() -> None:
    assert json.loads(CARDS.canonical_json())["columns"][4]["least"] == 0.0
