"""The bank's settings."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.bank_client.settings import Settings


@pytest.mark.parametrize("disclose", ["none", "rows", "rows,fraud_rate,alone,federated"])
def test_a_bank_discloses_what_it_names(disclose: str) -> None:
    assert Settings(disclose=disclose).disclose == disclose


@pytest.mark.parametrize("disclose", ["names", "rows,", "rows, alone", "ROWS"])
def test_a_disclosure_that_does_not_exist_is_refused(disclose: str) -> None:
    sentence = "a disclosure must be one of rows, fraud_rate, alone, federated or none, got "
    with pytest.raises(ValidationError, match=sentence):
        Settings(disclose=disclose)


def test_a_pause_must_be_longer_than_none() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Settings(retry_limit=0)


def test_settings_are_read_from_the_environment_and_an_empty_one_counts_as_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_DIR", "/elsewhere")
    monkeypatch.setenv("DISCLOSE", "")
    settings = Settings()
    assert settings.data_dir == Path("/elsewhere")
    assert settings.disclose == "rows,fraud_rate,alone,federated"
