"""What a bank insists on before it takes part in a masked sum, whatever the aggregator asks, and what it never opens
twice. Both are the bank's own files; nothing received changes them but by the functions here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fedfraud.errors import Invalid, Stale
from fedfraud.masking_keys import digest
from fedfraud.masking_parameters import HASH_BYTES, Parameters, Roster, check_roster
from fedfraud.thresholds import LEAST_BANKS


class OpenedBefore(Stale):
    """Figures of this bank were opened before, over other banks."""


STATIC_SEGMENTS = frozenset({"count", "standardise"})
"""The same figures in every run, so that a run may not simply ask for them again."""


@dataclass(frozen=True)
class Inputs:
    """What the bank is about to contribute, as it knows it itself: the hash of the model it holds, the segments, for
    each a hash of all that its figures follow from (the bank's data, the model, the training seed), and the words."""

    model_sha256: bytes
    segments: tuple[str, ...]
    identities: tuple[bytes, ...]
    word_count: int


@dataclass(frozen=True)
class Openings:
    """All that this bank ever consented to open; kept for ever, and on disk before a Consent leaves.

    A record is two hashes, 32 bytes each. For a figure, digest("opened", segment, identity) and digest("over",
    survivors): summed over two sets of banks it would reveal their difference. For a run, digest("run", run id) and the
    last round that was opened, a big-endian integer.
    """

    records: Mapping[bytes, bytes] = field(default_factory=dict)

    def entries(
        self, parameters: Parameters, identities: Sequence[bytes], survivors: Sequence[str]
    ) -> dict[bytes, bytes]:
        """The records that an opening adds or changes; none when it is known already."""
        last = max(parameters.round, self.last(parameters.run_id))
        entries = {digest("run", parameters.run_id): last.to_bytes(HASH_BYTES)}
        for segment, identity in zip(parameters.segments, identities, strict=True):
            entries[_figure(segment, identity)] = _over(survivors)
        return {key: value for key, value in entries.items() if self.records.get(key) != value}

    def including(self, entries: Mapping[bytes, bytes]) -> "Openings":
        """With these records."""
        return Openings({**self.records, **entries})

    def last(self, run_id: str) -> int:
        """The last round of the run that was opened, -1 before the first."""
        record = self.records.get(digest("run", run_id))
        return -1 if record is None else int.from_bytes(record)


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

    def check_unopened(
        self, parameters: Parameters, identities: Sequence[bytes], openings: Openings, banks: Sequence[str]
    ) -> None:
        """Refuses a round that is not after the last opened one of its run, and figures that were opened over other
        banks than these: the cohort when an attempt begins, the survivors when it is to be opened."""
        last = openings.last(parameters.run_id)
        if parameters.round <= last:
            raise Stale(f"a round must come after the last one opened, {last}, got {parameters.round}")
        for segment, identity in zip(parameters.segments, identities, strict=True):
            opened = openings.records.get(_figure(segment, identity), _over(banks))
            if opened != _over(banks) and not (self.reopen_static and segment in STATIC_SEGMENTS):
                raise OpenedBefore(
                    f"figures must be opened over the same banks each time, got {segment} {identity.hex()[:12]} again "
                    f"over {len(banks)} others"
                )


def _figure(segment: str, identity: bytes) -> bytes:
    return digest("opened", segment, identity)


def _over(banks: Sequence[str]) -> bytes:
    return digest("over", tuple(banks))


def _shown(value: object) -> object:
    return value.hex()[:12] or "none" if isinstance(value, bytes) else value
