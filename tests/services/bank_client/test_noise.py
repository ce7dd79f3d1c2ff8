"""Noise on counts: the distribution that is promised, drawn once, by nobody else."""

import stat
from pathlib import Path

import numpy as np
import pytest

from services.bank_client.noise import KEY, drawn, own_secret

SECRET, ROWS = bytes(range(32)), bytes(32)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_integers_fall_off_by_the_scale_on_both_sides(scale: float) -> None:
    found = drawn((400_000,), scale, SECRET, ROWS)
    ratio = np.exp(-1 / scale)
    at_zero = (1 - ratio) / (1 + ratio)
    for k in (-2, -1, 0, 1, 2):
        expected = at_zero * ratio ** abs(k)
        assert np.mean(found == k) == pytest.approx(expected, abs=5 * np.sqrt(expected / len(found)))
    assert found.mean() == pytest.approx(0, abs=5 * found.std() / np.sqrt(len(found)))


def test_the_same_rows_get_the_same_noise_and_others_and_other_banks_another() -> None:
    first = drawn((50, 2), 1.0, SECRET, ROWS)
    assert np.array_equal(first, drawn((50, 2), 1.0, SECRET, ROWS))
    assert not np.array_equal(first, drawn((50, 2), 1.0, SECRET, bytes(31) + b"1"))
    assert not np.array_equal(first, drawn((50, 2), 1.0, bytes(32), ROWS))


def test_the_secret_is_made_once_and_is_its_owners(tmp_path: Path) -> None:
    secret = own_secret(tmp_path)
    assert len(secret) == 32
    assert own_secret(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert own_secret(tmp_path / "other") != secret
