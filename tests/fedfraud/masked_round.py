"""A whole federation in one process, to try secure aggregation on: banks that really mask, an aggregator that really
opens, and any of them leaving at any stage. All randomness follows from `salt`."""

from collections.abc import Callable, Collection, Iterable, Mapping
from copy import copy
from dataclasses import replace
from functools import cache
from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud.fixed_point import FRACTION_BITS, WEIGHT_CAP, Words
from fedfraud.identity import seat_name
from fedfraud.masking_bank import Masker
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import Inputs, Openings, Policy
from fedfraud.masking_sum import MaskedSum, Stage
from fedfraud.thresholds import sizes

FEDERATION = sha256(b"the CA's certificate").digest()
MODEL = sha256(b"the model").digest()
TASK = sha256(b"the task").digest()
DATA = sha256(b"the data").digest()
SOURCE = sha256(b"the seed").digest()
CLIP = 4.0


def hashed(*parts: object) -> bytes:
    return sha256("/".join(map(str, parts)).encode()).digest()


def random_bytes(seed: bytes) -> Callable[[int], bytes]:
    """A source that has just these."""
    return lambda count: seed[:count]


@cache
def signing_key(seat: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashed("signing key", seat))


@cache
def roster_of(banks: int) -> Roster:
    seats = [seat_name(number) for number in range(1, banks + 1)]
    return Roster.of({seat: signing_key(seat).public_key().public_bytes_raw() for seat in seats})


def parameters_of(banks: int, **changes: object) -> Parameters:
    """Of the first attempt of round 1 on the whole roster."""
    size, roster = sizes(banks), roster_of(banks)
    values: dict[str, object] = {
        "federation_id": FEDERATION,
        "run_id": "run-1",
        "round": 1,
        "attempt": 0,
        "model_sha256": MODEL,
        "task_sha256": TASK,
        "roster_sha256": roster.sha256,
        "cohort": tuple(roster.keys),
        "word_count": 8,
        "segments": ("evaluate", "train"),
        "fraction_bits": FRACTION_BITS,
        "clip": CLIP,
        "weight_cap": WEIGHT_CAP,
        "minimum": size.quorum,
        "holders": size.holders,
        "threshold": size.threshold,
    }
    return Parameters(**{**values, **changes})  # type: ignore[arg-type]  # of the fields' kinds


def policy_of(banks: int) -> Policy:
    """Strict: the roster file is the federation's."""
    return Policy(FEDERATION, roster_of(banks), True, FRACTION_BITS, CLIP, WEIGHT_CAP)


def inputs_of(parameters: Parameters, data_sha256: bytes = DATA) -> Inputs:
    sources = (SOURCE,) * len(parameters.segments)
    asked = (parameters.model_sha256, parameters.task_sha256, CLIP, parameters.segments)
    return Inputs(*asked, sources, data_sha256, parameters.word_count)


def opened(parameters: Parameters, openings: Openings | None = None, data_sha256: bytes = DATA) -> Openings:
    """What a bank remembers once it has opened this attempt over its whole cohort."""
    known, figures = openings or Openings(), inputs_of(parameters, data_sha256).figures
    return known.including(known.opened(parameters, figures, parameters.cohort))


def words_of(parameters: Parameters, salt: object = "") -> dict[str, Words]:
    """Any words, the same each time."""
    seed = np.frombuffer(hashed("words", salt), np.uint32)
    drawn = np.random.Generator(np.random.PCG64(seed))
    count = parameters.word_count
    return {seat: drawn.integers(0, 2**64, count, np.uint64) for seat in parameters.cohort}


def added(words: Mapping[str, Words], seats: Iterable[str]) -> list[int]:
    """The sum modulo 2**64 in Python's integers, with none of the code's arithmetic."""
    columns = zip(*(words[seat].tolist() for seat in seats), strict=True)
    return [sum(column) % 2**64 for column in columns]


class Attempt:
    """Banks and aggregator in one attempt. `dropped[stage]` are seats that leave before they answer it."""

    def __init__(self, parameters: Parameters, words: Mapping[str, Words] | None = None, salt: object = "") -> None:
        self.parameters = parameters
        self.words = dict(words or words_of(parameters, salt))
        self.roster = roster_of(len(parameters.cohort))
        policy = replace(policy_of(len(parameters.cohort)), federation_id=parameters.federation_id)
        self.banks = {
            seat: Masker.begin(
                parameters,
                self.roster,
                seat,
                inputs_of(parameters),
                policy,
                Openings(),
                signing_key(seat),
                random_bytes(hashed("seed", salt, parameters.attempt, seat)),
            )
            for seat in parameters.cohort
        }
        self.sum = MaskedSum(parameters, self.roster)
        self.masked: dict[str, Words] = {}

    def fork(self) -> "Attempt":
        """Another that goes on from here and shares nothing that changes."""
        other = copy(self)
        other.banks = {seat: copy(bank) for seat, bank in self.banks.items()}
        other.sum = copy(self.sum)
        for name, value in vars(self.sum).items():
            if isinstance(value, dict | np.ndarray):
                setattr(other.sum, name, value.copy())
        other.masked = dict(self.masked)
        return other

    def leave(self, seats: Collection[str]) -> None:
        """They answer no more."""
        for seat in seats:
            self.banks.pop(seat, None)

    def step(self) -> None:
        """Every bank that is there answers the stage, and the stage is closed, if it is not the last."""
        for seat, bank in self.banks.items():
            self.answer(seat, bank)
        if self.sum.stage is not Stage.UNMASK:
            self.sum.close()

    def answer(self, seat: str, bank: Masker) -> None:
        """One bank's answer to the stage, handed over."""
        match self.sum.stage:
            case Stage.ADVERTISE:
                self.sum.advertise(bank.advertise())
            case Stage.SHARE:
                self.sum.share(bank.share(self.sum.advertisements))
            case Stage.MASK:
                masked, self.masked[seat], _ = bank.mask(self.sum.delivery(seat), self.words[seat], Openings())
                self.sum.mask(masked, self.masked[seat])
            case Stage.CONSENT:
                self.sum.consent(bank.consent(self.sum.masked, Openings())[0])
            case Stage.UNMASK:
                self.sum.unmask(bank.unmask(self.sum.consents))

    def until(self, stage: Stage) -> "Attempt":
        """All stages before this one."""
        while self.sum.stage < stage:
            self.step()
        return self

    def run(self, dropped: Mapping[Stage, Collection[str]] | None = None) -> Words:
        """Goes on to the opened sum."""
        while True:
            stage = self.sum.stage
            self.leave((dropped or {}).get(stage, ()))
            self.step()
            if stage is Stage.UNMASK:
                return self.sum.open()
