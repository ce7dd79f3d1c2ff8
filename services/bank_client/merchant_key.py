"""The key that the banks agreed on, by which merchants fall into buckets: read, and shown by a fingerprint alone."""

import hmac
import os
import stat
from pathlib import Path

from fedfraud.errors import Misconfigured

_NAME = b"fedfraud merchant key"


def read_merchant_key(path: Path) -> bytes:
    """All bytes of the file, which nobody but its owner may read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            key = file.read()
    except OSError as error:
        raise Misconfigured(
            f"MERCHANT_KEY must be a file with the key that the banks agreed on: {error.strerror}, {path}"
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise Misconfigured(
            f"MERCHANT_KEY must be for its owner alone, mode 0600 or 0400: "
            f"{path}, owner {status.st_uid}:{status.st_gid}, mode {mode:04o}"
        )
    return key


def fingerprint(key: bytes) -> str:
    """What banks read to each other over the telephone: who has another key, even by a newline, has another one."""
    return hmac.digest(key, _NAME, "sha256").hex()[:12]
