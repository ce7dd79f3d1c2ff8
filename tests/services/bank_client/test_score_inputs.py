"""What a bank scores with is read from its volume, and refused where it does not belong together."""

from pathlib import Path

import numpy as np
import pytest

from fedfraud.errors import FedfraudError, Invalid, Misconfigured, NotFound
from fedfraud.identity import write_secret
from services.bank_client.score_inputs import read_inputs, read_known
from tests.services.bank_client.scoring_banks import (
    TABLE,
    drawn_table,
    numbered,
    paid,
    payments_bank,
    settings,
    table_bank,
)


def test_a_bank_with_payments_has_counters_and_its_payments_with_their_ids(tmp_path: Path) -> None:
    payments = paid()
    kept = payments_bank(tmp_path, payments, rows=1_500)
    inputs = read_inputs(settings(tmp_path))
    assert inputs.scorer.kept == kept
    assert inputs.risk is not None
    assert inputs.risk.counters[..., 0].sum() == np.count_nonzero(
        payments.time < inputs.risk.plan.start_time + 52 * 86_400
    )
    known = read_known(settings(tmp_path), inputs)
    assert known.ids is not None
    assert known.ids.to_pylist() == numbered(payments)[:1_500]
    assert known.is_numbered
    assert np.array_equal(known.payments.amount, payments.amount[:1_500])


def test_a_bank_without_a_kept_model_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="a bank must have kept a model to score with"):
        read_inputs(settings(tmp_path))


def test_another_key_of_merchants_is_refused(tmp_path: Path) -> None:
    payments_bank(tmp_path, paid())
    write_secret(tmp_path / "merchant.key", b"o" * 32)
    with pytest.raises(Misconfigured, match="MERCHANT_KEY must be the one that the kept model's merchants"):
        read_inputs(settings(tmp_path))


def test_counters_that_are_gone_are_refused(tmp_path: Path) -> None:
    payments_bank(tmp_path, paid())
    for path in tmp_path.glob("kept-counters-*"):
        path.unlink()
    with pytest.raises(Invalid, match="the counters of a kept model must be beside it"):
        read_inputs(settings(tmp_path))


def test_a_feature_table_needs_neither_key_nor_counters_and_has_no_payments(tmp_path: Path) -> None:
    table_bank(tmp_path, drawn_table(200))
    inputs = read_inputs(settings(tmp_path))
    assert inputs.risk is None
    assert inputs.scorer.kept.manifest == TABLE
    with pytest.raises(FedfraudError, match="payments must be of a contract of payments"):
        read_known(settings(tmp_path), inputs)
