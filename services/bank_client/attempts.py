"""A bank's part in masked rounds as its disk knows it: the attempt that is going on, the roster, and every opening.

All of an attempt is on disk before the answer that follows from it leaves, and gone when the run is over, or when the
next round begins. The openings stay for ever.
"""

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedfraud import fixed_point, stored
from fedfraud.errors import Conflict, FedfraudError, Invalid, Misconfigured, NotStored
from fedfraud.fixed_point import FRACTION_BITS, WEIGHT_CAP
from fedfraud.identity import sync_folder, write_durably
from fedfraud.logs import Log
from fedfraud.masking import Advertisement, Consent, Delivery, Shares, Unmasking
from fedfraud.masking_bank import BankState, Masker
from fedfraud.masking_journal import federation_id
from fedfraud.masking_parameters import Parameters, Roster
from fedfraud.masking_policy import Inputs, Openings, Policy
from fedfraud.masking_wire import (
    advertisements_from_proto,
    consents_from_proto,
    delivered_from_proto,
    masked_from_proto,
)
from fedfraud.recipe import CLIP
from fedfraud.v1 import federation_pb2, masking_pb2
from fedfraud.wire import round_key_from_proto
from services.bank_client.attempt_log import AttemptLog
from services.bank_client.release import Released
from services.bank_client.settings import Settings

_OPENINGS = "openings.bin"
ROSTER = "roster.json"
_RECORD_BYTES = 64
_FORMAT = b"fedfraud openings 2".ljust(_RECORD_BYTES, b"\0")
"""The first record: how figures are named in those after it."""
_log = Log("bank")
Answer = Advertisement | Shares | Consent | Unmasking


class Attempts:
    """The masked rounds of one bank, one at a time; every method blocks on the disk and is safe in threads."""

    def __init__(self, settings: Settings, seat: str, key: Ed25519PrivateKey, ca_pem: bytes) -> None:
        self._folder = settings.data_dir
        self._seat = seat
        self._key = key
        self._lock = threading.Lock()
        self._log = AttemptLog(self._folder)
        self._openings = Openings(_read_records(self._folder / _OPENINGS))
        self._policy = Policy(
            federation_id(ca_pem),
            read_roster(settings.roster_file or self._folder / ROSTER, must_exist=settings.roster_file is not None),
            strict=settings.roster_file is not None,
            fraction_bits=FRACTION_BITS,
            clip=CLIP,
            weight_cap=WEIGHT_CAP,
            min_cohort=settings.min_cohort,
            reopen_static=settings.reopen_static,
            reopen_counts=settings.reopen_counts,
        )
        self.insists = settings.aggregation == "secure"
        """Whether the bank refuses rounds that are not masked."""
        self._masker: Masker | None = None

    def advertise(
        self, parameters: Parameters, roster: Roster, inputs: Inputs, wanted: Callable[[], bool] = lambda: True
    ) -> Advertisement:
        """Takes part in an attempt, or goes on with it after a restart; refused where the bank's policy forbids it, and
        when it is not `wanted` any more."""
        with self._lock:
            if not wanted():
                raise Conflict(f"an attempt must be of the round that the bank answers, {parameters.run_id}'s is over")
            state = self._kept(parameters)
            if state is not None:
                if (state.parameters, state.roster, _inputs(state)) != (parameters, roster, inputs):
                    raise Conflict(f"an attempt must stay what it was, got other parameters for {parameters.run_id}")
                self._policy.check(parameters, roster, self._seat, inputs)
                self._masker = Masker(state, self._policy, self._key)
            else:
                self._masker = Masker.begin(
                    parameters,
                    roster,
                    self._seat,
                    inputs,
                    self._policy,
                    self._openings,
                    self._key,
                    secrets.token_bytes,
                )
                self._pin(roster)
            advertisement = self._masker.advertise()
            self._keep()
            return advertisement

    def answer(self, told: federation_pb2.StageInstruction) -> Answer:
        """The answer to stage share, consent or unmask."""
        with self._lock:
            masker = self._of(told)
            answer: Answer
            match told.stage:
                case masking_pb2.MASKING_STAGE_SHARE:
                    answer = masker.share(advertisements_from_proto(told.advertisements))
                case masking_pb2.MASKING_STAGE_CONSENT:
                    before = masker.state
                    answer, entries = masker.consent(masked_from_proto(told.masked), self._openings)
                    self._append(entries, before)  # before the consent leaves, and before the state says that it did
                case masking_pb2.MASKING_STAGE_UNMASK:
                    answer = masker.unmask(consents_from_proto(told.consents))
                case _:
                    raise Invalid(f"a stage must be one that is answered, got {told.stage}")
            self._keep()
            return answer

    def mask(self, told: federation_pb2.StageInstruction, released: Released) -> Released:
        """The contribution under its masks."""
        with self._lock:
            delivery = Delivery(tuple(told.seats), delivered_from_proto(told.sealed))
            masker = self._of(told)
            if (released.key, released.inputs_sha256) != (round_key_from_proto(told.key), _inputs(masker.state).sha256):
                raise Conflict(f"a contribution must be to the attempt's own task, got one to {released.key}")
            before = masker.state
            signed, words, entries = masker.mask(delivery, fixed_point.from_bytes(released.data), self._openings)
            self._append(
                entries, before
            )  # before the words leave: others may open them without this bank's hearing of it
            self._keep()
            return released.masked(words, signed.signature)

    def erase(self) -> None:
        """The round is over: nothing of it stays but what was opened."""
        with self._lock:
            self._masker = None
            self._log.erase()

    def _of(self, told: federation_pb2.StageInstruction) -> Masker:
        """The attempt that a stage is of."""
        masker, key = self._present(), round_key_from_proto(told.key)
        ours = masker.state.parameters
        if (ours.run_id, ours.round, ours.attempt) != (key.run_id, key.round, key.attempt):
            raise Conflict(f"a stage must be of the attempt that the bank takes part in, got one of {key}")
        return masker

    def _present(self) -> Masker:
        if self._masker is None:
            raise Conflict("a stage must be of the attempt that the bank takes part in, it takes part in none")
        return self._masker

    def _kept(self, parameters: Parameters) -> BankState | None:
        """The state on disk, if it is of this attempt."""
        try:
            state = self._log.read()
        except FedfraudError as error:  # what left is in the openings; the attempt is sat out
            _log.warning("kept attempt not readable", bank=self._seat, reason=error)
            return None
        if state is None:
            return None
        ours = state.parameters
        same = (ours.run_id, ours.round, ours.attempt) == (parameters.run_id, parameters.round, parameters.attempt)
        return state if same else None

    def _keep(self) -> None:
        try:
            self._log.keep(self._present().state)
        except OSError as error:
            raise NotStored(f"an attempt must be on disk before it is answered, the disk said: {error}") from error

    def _pin(self, roster: Roster) -> None:
        """Remembers who is in the roster: a seat keeps its key from here on."""
        pinned = self._policy.pinned(roster)
        if pinned.roster != self._policy.roster:
            write_durably(self._folder / ROSTER, stored.to_bytes(pinned.roster))
            new = sorted(pinned.roster.keys.keys() - self._policy.roster.keys.keys())
            _log.info("believed new signing keys", bank=self._seat, seats=" ".join(new), of=len(pinned.roster.keys))
            self._policy = pinned

    def _append(self, entries: dict[bytes, bytes], before: BankState) -> None:
        """Records openings; when the disk does not take them the attempt is what it was `before`."""
        if not entries:
            return
        path = self._folder / _OPENINGS
        whole = path.stat().st_size if path.exists() else 0
        fresh = not whole
        try:
            with path.open("ab") as file:
                records = b"".join(key + value for key, value in entries.items())
                file.write(_FORMAT + records if fresh else records)
                file.flush()
                os.fsync(file.fileno())
            if fresh:
                sync_folder(self._folder)
        except OSError as error:
            with suppress(OSError):  # what was written in part goes, or the records after it would be out of step
                os.truncate(path, whole)
            self._masker = Masker(before, self._policy, self._key)
            raise NotStored(f"an opening must be on disk before it is agreed to, the disk said: {error}") from error
        self._openings = self._openings.including(entries)


def _read_records(path: Path) -> dict[bytes, bytes]:
    """Every opening; a torn record at the end is of a consent that never left, and is cut off."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = len(data) - len(data) % _RECORD_BYTES
    with path.open("r+b") as file:
        file.truncate(whole)
        os.fsync(file.fileno())  # whoever wrote the last record may have been killed before it was on disk
    sync_folder(path.parent)
    if whole and data[:_RECORD_BYTES] != _FORMAT:
        raise Misconfigured(
            f"openings must be of this version of fedfraud, {path} is of another, which named figures "
            "otherwise: enrol this bank as a new seat"
        )
    starts = range(_RECORD_BYTES, whole, _RECORD_BYTES)
    return {data[start : start + 32]: data[start + 32 : start + _RECORD_BYTES] for start in starts}


def _inputs(state: BankState) -> Inputs:
    """What the attempt was begun for; its words may follow from nothing else."""
    asked = state.parameters
    return Inputs(
        asked.model_sha256,
        asked.task_sha256,
        asked.clip,
        asked.segments,
        state.sources,
        state.data_sha256,
        asked.word_count,
    )


def read_roster(path: Path, *, must_exist: bool = False) -> Roster:
    """A roster file; an empty roster where there need be none."""
    try:
        return stored.from_bytes(Roster, path.read_bytes())
    except FileNotFoundError as error:
        if must_exist:
            raise Misconfigured(f"ROSTER_FILE must be the roster that was given out of band: {error}") from error
        return Roster(())
    except (OSError, FedfraudError) as error:
        raise Misconfigured(f"a roster must be readable: {error}, {path}") from error
