"""Noise on what a bank counts, by its own choice: integers of a two-sided geometric distribution (Ghosh, Roughgarden,
Sundararajan 2012, "Universally utility-maximizing privacy mechanisms"), the discrete form of Laplace noise.

It is drawn once: from a secret of the bank and the hash of its rows, so that counts which are asked for again come with
the very same noise, and nobody can average it away.
"""

import hashlib
import secrets
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from fedfraud.identity import write_secret

KEY = "noise.key"
_KEY_BYTES = 32


def own_secret(data_dir: Path) -> bytes:
    """The secret in the bank's volume, 32 bytes, made when it is first needed."""
    path = data_dir / KEY
    if not path.exists():
        write_secret(path, secrets.token_bytes(_KEY_BYTES))
    return path.read_bytes()


def drawn(shape: tuple[int, ...], scale: float, secret: bytes, data_sha256: bytes) -> NDArray[np.int64]:
    """Integers k with probability proportional to exp(-|k| / scale): epsilon is 1 / scale for one unit of one count.

    AES-256-CTR under SHA-256(secret, the rows' hash) gives 53 bits a draw; a difference of two geometric draws is one.
    """
    count = int(np.prod(shape))
    key = hashlib.sha256(b"fedfraud count noise" + secret + data_sha256).digest()
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor().update(bytes(16 * count))
    uniform = ((np.frombuffer(stream, "<u8") >> np.uint64(11)) + 1) * 2.0**-53  # above 0, at most 1
    geometric = np.floor(np.log(uniform) * -scale).astype(np.int64)
    noise: NDArray[np.int64] = geometric[:count] - geometric[count:]
    return noise.reshape(shape)
