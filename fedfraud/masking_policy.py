"""What a bank insists on before it takes part in a masked sum, whatever the aggregator asks, and what it never opens
twice. Both are the bank's own files; nothing received changes them but by the functions here."""

from dataclasses import dataclass, replace

from fedfraud.errors import Invalid, Stale
from fedfraud.masking_parameters import Parameters, Roster, check_roster
from fedfraud.thresholds import LEAST_BANKS

STATIC_SEGMENTS = frozenset({"count", "standardise"})
"""The same figures in every run: summed over two cohorts they would reveal the difference."""


@dataclass(frozen=True)
class Inputs:
    """What the bank is about to contribute, as it knows it itself: the hash of the model it holds, of the version of
    its data, the segments and their words."""

    model_sha256: bytes
    data_sha256: bytes
    segments: tuple[str, ...]
    word_count: int


@dataclass(frozen=True)
class OpenedRound:
    """The last round of a run that the bank consented to open."""

    run_id: str
    round: int


@dataclass(frozen=True)
class OpenedInput:
    """A static segment of a version of the bank's data that it consented to open."""

    segment: str
    data_sha256: bytes


@dataclass(frozen=True)
class Openings:
    """All that this bank ever consented to open; kept for ever, and on disk before a Consent leaves."""

    rounds: tuple[OpenedRound, ...] = ()
    inputs: tuple[OpenedInput, ...] = ()

    def including(self, parameters: Parameters, data_sha256: bytes) -> "Openings":
        """With this round and its static inputs; the same if they are in it already."""
        rounds = [opened for opened in self.rounds if opened.run_id != parameters.run_id]
        rounds.append(OpenedRound(parameters.run_id, max(parameters.round, self.last(parameters.run_id))))
        inputs = [i for i in _static(parameters, data_sha256) if i not in self.inputs]
        return replace(self, rounds=tuple(rounds), inputs=(*self.inputs, *inputs))

    def last(self, run_id: str) -> int:
        """The last round of the run that was opened, -1 before the first."""
        return max((opened.round for opened in self.rounds if opened.run_id == run_id), default=-1)


@dataclass(frozen=True)
class Policy:
    """The bank's own settings. `roster` is, in strict mode, the file given out of band; otherwise what the bank has
    seen so far, empty at first: a seat that is known keeps its key, and a new one is believed. `reopen_static` lets
    static inputs be opened again, in another cohort."""

    federation_id: bytes
    roster: Roster
    strict: bool
    fraction_bits: int
    clip: float
    weight_cap: int
    min_cohort: int = LEAST_BANKS
    reopen_static: bool = False

    def pinned(self, roster: Roster) -> "Policy":
        """With the seats that were new to it; refused where a known seat has another key, or strict differs at all."""
        if self.strict and roster != self.roster:
            raise Invalid(
                f"a roster must be the bank's own, {self.roster.sha256.hex()[:12]}, got {roster.sha256.hex()[:12]}"
            )
        for seat, key in roster.keys.items():
            if self.roster.keys.get(seat, key) != key:
                known = self.roster.keys[seat]
                raise Invalid(f"{seat} must keep its signing key, {known.hex()[:12]}, got {key.hex()[:12]}")
        return replace(self, roster=Roster.of({**self.roster.keys, **roster.keys}))

    def check(self, parameters: Parameters, roster: Roster, seat: str, inputs: Inputs) -> None:
        """Holds an attempt to the bank's own values."""
        check_roster(parameters, roster)
        self.pinned(roster)
        for rule, own, value in (
            ("a federation must be the bank's own", self.federation_id, parameters.federation_id),
            ("a model hash must be that of the model the bank holds", inputs.model_sha256, parameters.model_sha256),
            ("segments must be those asked for", inputs.segments, parameters.segments),
            ("words must be those of the segments", inputs.word_count, parameters.word_count),
            ("fraction bits must be the bank's own", self.fraction_bits, parameters.fraction_bits),
            ("a clip must be the bank's own", self.clip, parameters.clip),
            ("a weight cap must be the bank's own", self.weight_cap, parameters.weight_cap),
        ):
            if own != value:
                raise Invalid(f"{rule}, {_shown(own)}, got {_shown(value)}")
        if len(parameters.cohort) < self.min_cohort:
            raise Invalid(f"a cohort must have at least {self.min_cohort} banks, got {len(parameters.cohort)}")
        if seat not in parameters.cohort:
            raise Invalid(f"a cohort must have the bank itself, {seat}, got {', '.join(parameters.cohort)[:200]}")

    def check_unopened(self, parameters: Parameters, data_sha256: bytes, openings: Openings) -> None:
        """Refuses a round that is not after the last opened one of its run, and static inputs that were opened."""
        last = openings.last(parameters.run_id)
        if parameters.round <= last:
            raise Stale(f"a round must come after the last one opened, {last}, got {parameters.round}")
        for opened in _static(parameters, data_sha256):
            if opened in openings.inputs and not self.reopen_static:
                raise Stale(
                    f"static inputs must be opened once a version of the data, got {opened.segment} of "
                    f"{data_sha256.hex()[:12]} again"
                )


def _static(parameters: Parameters, data_sha256: bytes) -> list[OpenedInput]:
    return [OpenedInput(segment, data_sha256) for segment in parameters.segments if segment in STATIC_SEGMENTS]


def _shown(value: object) -> object:
    return value.hex()[:12] or "none" if isinstance(value, bytes) else value
