"""The merchants' key: refused where others may read it, and told by a fingerprint that a newline changes."""

import os
from pathlib import Path

import pytest

from fedfraud.errors import Misconfigured
from services.bank_client.merchant_key import fingerprint, read_merchant_key

KEY = bytes(range(32))


def written(folder: Path, key: bytes, mode: int) -> Path:
    path = folder / "merchant.key"
    path.write_bytes(key)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_is_all_bytes_of_its_file(tmp_path: Path, mode: int) -> None:
    assert read_merchant_key(written(tmp_path, KEY + b"\n", mode)) == KEY + b"\n"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o610, 0o622])
def test_a_key_that_others_may_use_is_refused_by_owner_and_mode(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, KEY, mode)
    with pytest.raises(Misconfigured) as refused:
        read_merchant_key(path)
    assert str(refused.value) == (
        f"MERCHANT_KEY must be for its owner alone, mode 0600 or 0400: "
        f"{path}, owner {os.getuid()}:{path.stat().st_gid}, mode {mode:04o}"
    )


def test_a_key_that_is_not_there_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"^MERCHANT_KEY must be a file with the key .*: No such file .*/none$"):
        read_merchant_key(tmp_path / "none")


def test_a_fingerprint_is_short_and_of_every_byte() -> None:
    # printf 'fedfraud merchant key' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102…1f
    assert fingerprint(KEY) == "8f579ae2b23b"
    assert fingerprint(KEY + b"\n") != fingerprint(KEY)
    assert KEY.hex()[:6] not in fingerprint(KEY)
