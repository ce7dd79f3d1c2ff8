"""What a bank's training is drawn from: known before torch is imported, it tells whether an update is a new one."""

import hashlib
import struct

SEED_TAG = b"fedfraud/v1/training seed"
PERSONAL_TAG = b"fedfraud/v1/personal seed"


def training_seed(run_seed: int, seat: str, step: int, model_sha256: bytes, retry: int = 0) -> bytes:
    """SHA-256 of SEED_TAG, the run's seed (int64), the seat (UTF-8), the step (int32) and the model's hash (32 bytes),
    integers little-endian. Only the seat's length varies, so that no two inputs give the same bytes.

    After an opening without a commit the update must not be the same again: SHA-256 of that, then `retry` (int32)."""
    seed = hashlib.sha256(
        SEED_TAG + struct.pack("<q", run_seed) + seat.encode() + struct.pack("<i", step) + model_sha256
    ).digest()
    return hashlib.sha256(seed + struct.pack("<i", retry)).digest() if retry else seed


def personal_seed(run_seed: int, seat: str, model_sha256: bytes) -> bytes:
    """What a bank fine-tunes the final model of this hash from: SHA-256 of PERSONAL_TAG, the run's seed (int64), the
    seat (UTF-8) and the hash (32 bytes)."""
    return hashlib.sha256(PERSONAL_TAG + struct.pack("<q", run_seed) + seat.encode() + model_sha256).digest()
