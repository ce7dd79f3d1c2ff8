"""The manifest: the layout of the flat vector and the bytes that go into every hash."""

import pytest

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan
from fedfraud.manifest import Manifest, Tensor
from fedfraud.transactions import TUTORIAL, Feature

AMOUNT = Feature("amount", "euro", 0.01)
AGE = Feature("age", "year", 1.0)


def test_thirty_features_with_64_and_32_hidden_make_4097_parameters() -> None:
    manifest = Manifest("tutorial", TUTORIAL)
    assert manifest.layer_sizes == ((30, 64), (64, 32), (32, 1))
    assert manifest.parameter_count == 4097 == (30 * 64 + 64) + (64 * 32 + 32) + (32 + 1)


def test_tensors_follow_each_other_without_a_gap() -> None:
    assert Manifest("cards", (AMOUNT, AGE), hidden_sizes=(3,)).tensors == (
        Tensor("layers.0.weight", (3, 2), start=0, size=6, fan_in=2),
        Tensor("layers.0.bias", (3,), start=6, size=3, fan_in=2),
        Tensor("layers.1.weight", (1, 3), start=9, size=3, fan_in=3),
        Tensor("layers.1.bias", (1,), start=12, size=1, fan_in=3),
    )


def test_canonical_json_is_sorted_without_spaces_and_in_utf_8() -> None:
    manifest = Manifest("Zürich", (AMOUNT,), hidden_sizes=(3,))
    assert (
        manifest.canonical_json()
        == (
            '{"features":[{"name":"amount","resolution":0.01,"unit":"euro"}],"hidden_sizes":[3],'
            '"population":"Zürich","version":1}'
        ).encode()
    )


def test_a_resolution_of_1_and_of_1_0_are_the_same_bytes() -> None:
    whole = Manifest("cards", (Feature("age", "year", 1),))
    assert whole.canonical_json() == Manifest("cards", (AGE,)).canonical_json()


@pytest.mark.parametrize(
    "other",
    [
        Manifest("other", (AMOUNT, AGE)),
        Manifest("cards", (AGE, AMOUNT)),
        Manifest("cards", (AMOUNT,)),
        Manifest("cards", (AMOUNT, Feature("age", "month", 1.0))),
        Manifest("cards", (AMOUNT, Feature("age", "year", 0.5))),
        Manifest("cards", (AMOUNT, AGE), hidden_sizes=(64, 16)),
        Manifest("cards", (AMOUNT, AGE), feature_plan=FeaturePlan("2018-04-01")),
    ],
)
def test_every_part_of_a_manifest_is_in_its_canonical_json(other: Manifest) -> None:
    assert other.canonical_json() != Manifest("cards", (AMOUNT, AGE)).canonical_json()


def test_a_manifest_that_is_no_model_is_refused() -> None:
    with pytest.raises(Invalid, match=r"^manifest version must be 1, got 2$"):
        Manifest("cards", (AMOUNT,), version=2)
    with pytest.raises(Invalid, match=r"^a manifest must have at least 1 feature, got 0$"):
        Manifest("cards", ())
    for sizes in ((64, 0), (-1,)):
        with pytest.raises(Invalid, match=r"^hidden sizes must be at least 1, got \["):
            Manifest("cards", (AMOUNT,), hidden_sizes=sizes)
    for many in (0, 17):
        with pytest.raises(Invalid, match=rf"^hidden layers must be 1 to 16, got {many}$"):
            Manifest("cards", (AMOUNT,), hidden_sizes=(1,) * many)


def test_a_model_that_would_not_fit_a_gibibyte_is_refused() -> None:
    # 1 -> 2**27 -> 1: a weight and a bias for each hidden one, a weight for each and a bias
    parameters = 2**27 + 2**27 + 2**27 + 1
    with pytest.raises(Invalid, match=rf"^a model must have at most {2**28} parameters, got {parameters}$"):
        Manifest("cards", (AMOUNT,), hidden_sizes=(2**27,))
