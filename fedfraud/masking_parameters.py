"""What one attempt of a masked sum is about, who may sign in it, and the two ways in which it goes wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

from fedfraud.errors import FedfraudError, Invalid
from fedfraud.masking_keys import KEY_BYTES, digest, plain
from fedfraud.thresholds import sizes

HASH_BYTES = 32
MODULUS = 2**64
MODE = "secure"


class Misbehaved(Invalid):
    """A bank sent what no honest bank sends; `seat` names it."""

    def __init__(self, seat: str, message: str) -> None:
        super().__init__(message)
        self.seat = seat


class TooFew(FedfraudError):
    """Fewer banks answered a stage than an opening needs: nothing was opened. `missing` are those that did not."""

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True)
class Parameters:
    """What one attempt of a round is about; every signature and key depends on all of it.

    `federation_id` is the SHA-256 of the CA's certificate (DER), `model_sha256` empty in preparing rounds,
    `task_sha256` that of all else that a contribution follows from (masking_wire.task_sha256), so that what banks were
    asked for differently never adds up, `roster_sha256` that of the whole roster, `cohort` this attempt's seats.
    `minimum` is the least survivors of an opening; `holders` and `threshold` follow from the cohort's size.
    """

    federation_id: bytes
    run_id: str
    round: int
    attempt: int
    model_sha256: bytes
    task_sha256: bytes
    roster_sha256: bytes
    cohort: tuple[str, ...]
    word_count: int
    segments: tuple[str, ...]
    fraction_bits: int
    clip: float
    weight_cap: int
    minimum: int
    holders: int
    threshold: int
    modulus: int = MODULUS
    mode: str = MODE

    def __post_init__(self) -> None:
        check_seats("a cohort", self.cohort)
        size, banks = sizes(len(self.cohort)), len(self.cohort)
        for rule, held, value in (
            ("a federation id must be 32 bytes", len(self.federation_id) == HASH_BYTES, self.federation_id.hex()),
            ("a run id must be 1 to 64 characters", 1 <= len(self.run_id) <= 64, self.run_id[:80]),
            ("a round must be 0 or more", self.round >= 0, self.round),
            ("an attempt must be 0 or more", self.attempt >= 0, self.attempt),
            ("a model hash must be 32 bytes or none", len(self.model_sha256) in (0, HASH_BYTES), self.model_sha256),
            ("a task hash must be 32 bytes", len(self.task_sha256) == HASH_BYTES, self.task_sha256.hex()),
            ("a roster hash must be 32 bytes", len(self.roster_sha256) == HASH_BYTES, self.roster_sha256.hex()),
            ("words must be at least 1", self.word_count >= 1, self.word_count),
            ("segments must be one or more", bool(self.segments), self.segments),
            ("fraction bits must be 0 to 63", 0 <= self.fraction_bits < 64, self.fraction_bits),
            ("a clip must be above 0 and finite", 0 < self.clip < float("inf"), self.clip),
            ("a weight cap must be at least 1", self.weight_cap >= 1, self.weight_cap),
            (f"a minimum must be {size.quorum} to {banks}", size.quorum <= self.minimum <= banks, self.minimum),
            (f"holders must be {size.holders} of {banks} banks", self.holders == size.holders, self.holders),
            (
                f"a threshold must be {size.threshold} of {banks} banks",
                self.threshold == size.threshold,
                self.threshold,
            ),
            (f"a modulus must be {MODULUS}", self.modulus == MODULUS, self.modulus),
            (f"a mode must be {MODE!r}", self.mode == MODE, self.mode),
        ):
            if not held:
                raise Invalid(f"{rule}, got {value!r}")

    @cached_property
    def transcript_sha256(self) -> bytes:
        """The hash that binds it all, specified in the module's docstring."""
        values = replace(self, clip=float(self.clip))
        return digest("transcript", *(plain(getattr(values, field.name)) for field in fields(values)))

    @property
    def quorum(self) -> int:
        """The least consents that allow an opening: two of them share an honest bank, so only one opening has it."""
        return sizes(len(self.cohort)).quorum

    @property
    def is_complete(self) -> bool:
        """Whether everybody holds shares of everybody."""
        return self.holders == len(self.cohort) - 1

    def place(self, seat: str) -> int:
        """Where the seat's share of a secret lies on its polynomial: 1, 2 ... in the cohort's order."""
        return self.cohort.index(seat) + 1


@dataclass(frozen=True)
class SeatKey:
    """The Ed25519 key, 32 bytes, that a seat signs with."""

    seat: str
    public_key: bytes


@dataclass(frozen=True)
class Roster:
    """Every enrolled seat and its signing key, sorted by seat."""

    entries: tuple[SeatKey, ...]

    def __post_init__(self) -> None:
        check_seats("a roster", [entry.seat for entry in self.entries])
        for entry in self.entries:
            check_length(entry.seat, "a signing key", entry.public_key, KEY_BYTES)
        if len({entry.public_key for entry in self.entries}) != len(self.entries):
            raise Invalid("a roster's keys must differ, got one for two seats")

    @classmethod
    def of(cls, keys: Mapping[str, bytes]) -> "Roster":
        """From the key of each seat, in any order."""
        return cls(tuple(SeatKey(seat, keys[seat]) for seat in sorted(keys)))

    @cached_property
    def keys(self) -> dict[str, bytes]:
        """The key of each seat."""
        return {entry.seat: entry.public_key for entry in self.entries}

    @cached_property
    def sha256(self) -> bytes:
        """digest("roster", the entries)."""
        return digest("roster", plain(self.entries))


def check_roster(parameters: Parameters, roster: Roster) -> None:
    """The roster is the parameters', and has the whole cohort."""
    if roster.sha256 != parameters.roster_sha256:
        raise Invalid(
            f"a roster must be the parameters', {parameters.roster_sha256.hex()[:12]}, got {roster.sha256.hex()[:12]}"
        )
    strangers = [seat for seat in parameters.cohort if seat not in roster.keys]
    if strangers:
        raise Invalid(f"a cohort must be in the roster, got {', '.join(strangers)[:200]}")


def check_seats(what: str, seats: Sequence[str], culprit: str = "") -> None:
    """Sorted, each named once; otherwise the culprit is named, if there is one."""
    if list(seats) != sorted(set(seats)):
        message = f"{what} must be sorted and name each seat once, got {', '.join(seats)[:200]}"
        raise Misbehaved(culprit, f"{message} from {culprit}") if culprit else Invalid(message)


def check_length(culprit: str, what: str, data: bytes, length: int) -> None:
    """Exactly so many bytes, or the culprit is named."""
    if len(data) != length:
        raise Misbehaved(culprit, f"{what} must be {length} bytes, got {len(data)} from {culprit}")
