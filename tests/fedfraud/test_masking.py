"""The words of the protocol: signatures that hold for one place, a frozen transcript, and no randomness of its own."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fedfraud import stored
from fedfraud.masking import Advertisement, Consent, Masked, Sealed, Shares, Transcript, check_signed, signed
from fedfraud.masking_keys import mask
from fedfraud.masking_parameters import Misbehaved
from fedfraud.masking_sum import Stage
from tests.fedfraud.masked_round import Attempt, parameters_of, roster_of, signing_key
from tests.test_imports import ROOT, imports, mentioned

VECTOR = Path(__file__).parent / "vectors" / "masked_sum.json"
CONTEXT = bytes(32)


def test_a_message_is_its_seats_for_one_context() -> None:
    consent = signed(Consent("bank-01"), signing_key("bank-01"), CONTEXT)
    check_signed(consent, roster_of(4), CONTEXT)
    for other, context in (
        (consent, b"\1" * 32),
        (replace(consent, seat="bank-02"), CONTEXT),
        (replace(consent, seat="bank-99"), CONTEXT),
        (replace(consent, signature=bytes(64)), CONTEXT),
    ):
        with pytest.raises(Misbehaved, match=f"consent must be signed .* from {other.seat}") as refusal:
            check_signed(other, roster_of(4), context)
        assert refusal.value.seat == other.seat


def test_a_signature_of_one_kind_of_message_is_none_of_another() -> None:
    masked = signed(Masked("bank-01", bytes(32)), signing_key("bank-01"), CONTEXT)
    with pytest.raises(Misbehaved, match="consent must be signed"):
        check_signed(Consent("bank-01", masked.signature), roster_of(4), CONTEXT)


SEALED = Sealed("bank-01", "bank-01", bytes(80), bytes(32), bytes(32))


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        (
            Advertisement("bank-01", bytes(31), bytes(32), bytes(32)),
            "an advertisement's share_key must be 32 bytes, got 31",
        ),
        (Shares("bank-01", (SEALED, SEALED)), "holders must be sorted and name each seat once"),
        (Shares("bank-01", (replace(SEALED, ciphertext=b""),)), "a sealed pair of shares must be 80 bytes, got 0"),
        (Shares("bank-01", (replace(SEALED, secret_share_sha256=b""),)), "a share's hash must be 32 bytes, got 0"),
        (Shares("bank-01", (replace(SEALED, dealer="bank-02"),)), "shares must be the sender's, bank-01, got some of"),
        (Masked("bank-01", bytes(33)), "a vector's hash must be 32 bytes, got 33"),
    ],
)
def test_a_signed_message_of_another_form_is_refused(message: Advertisement | Shares | Masked, rule: str) -> None:
    with pytest.raises(Misbehaved, match=rule):
        check_signed(replace(message, signature=bytes(64)), roster_of(4), CONTEXT)


# Frozen: a second implementation can be held to it. Four banks, the fourth leaves after it shared.


def frozen() -> tuple[dict[str, str | list[str]], Attempt]:
    """The values of the vector as this code gives them."""
    parameters = parameters_of(4, word_count=3)
    words = {
        seat: np.arange(1, 4, dtype=np.uint64) * np.uint64(10**number) for number, seat in enumerate(parameters.cohort)
    }
    attempt = Attempt(parameters, words, salt="frozen")
    total = attempt.run({Stage.MASK: ["bank-04"]})
    values: dict[str, str | list[str]] = {
        "transcript_sha256": parameters.transcript_sha256.hex(),
        "mask_of_key_00_to_1f": [str(word) for word in mask(bytes(range(32)), 64).tolist()],
        **{f"masked_{seat}": [str(word) for word in masked.tolist()] for seat, masked in attempt.masked.items()},
        "sum": [str(word) for word in total.tolist()],
    }
    return values, attempt


def test_the_frozen_transcript_of_four_banks_still_comes_out() -> None:
    values, attempt = frozen()
    expected = json.loads(VECTOR.read_text())
    assert values == expected["values"]
    assert values["sum"] == ["111", "222", "333"]
    assert attempt.sum.transcript() == stored.from_bytes(Transcript, json.dumps(expected["transcript"]).encode())


# No randomness, clock, wire or disk of its own.

PURE = ["shamir", "thresholds", "stored", *sorted(path.stem for path in (ROOT / "fedfraud").glob("masking*.py"))]
IMPURE = {
    "random",
    "secrets",
    "uuid",
    "time",
    "datetime",
    "os",
    "pathlib",
    "asyncio",
    "threading",
    "grpc",
    "google",
    "torch",
}


def impure(tree: ast.AST, path: str) -> set[str]:
    modules, names = set(imports(tree, path)), {name for _, name in mentioned(tree)}
    drawn = {name for name in modules | names if name == "open" or name.startswith("numpy.random")}
    return drawn | {name for name in modules if name.partition(".")[0] in IMPURE}


def test_there_are_modules_to_look_at() -> None:
    assert {"masking", "masking_keys", "masking_bank", "masking_sum"} < set(PURE)


@pytest.mark.parametrize("module", PURE)
def test_masking_imports_no_randomness_and_nothing_of_the_world(module: str) -> None:
    path = f"fedfraud/{module}.py"
    assert impure(ast.parse((ROOT / path).read_text()), path) == set()


@pytest.mark.parametrize("module", PURE)
def test_keys_come_from_the_seed_that_is_passed_in_alone(module: str) -> None:
    """`cryptography` would draw its own with `generate`."""
    calls = {name.rpartition(".")[2] for _, name in mentioned(ast.parse((ROOT / f"fedfraud/{module}.py").read_text()))}
    assert not {call for call in calls if call.startswith("generate")}


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import randbytes",
        "import numpy as np\nnp.random.default_rng()",
        "from numpy.random import default_rng",
        "import numpy.random",
        "import time",
        "import os\nos.urandom(32)",
        "open('x')",
    ],
)
def test_a_module_that_draws_would_be_caught(source: str) -> None:
    assert impure(ast.parse(source), "fedfraud/masking.py")
