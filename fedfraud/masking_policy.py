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


@dataclass(frozen=True)
class Inputs:
    """What the bank is about to contribute, as it knows it itself: the hash of the model it holds, of the task it was
    given, the clip of its updates, the segments, for each a hash of what its figures follow from besides the bank's
    rows (the model, the training seed), the hash of those rows, and the words."""

    model_sha256: bytes
    task_sha256: bytes
    clip: float
    segments: tuple[str, ...]
    sources: tuple[bytes, ...]
    data_sha256: bytes
    word_count: int

    @property
    def sha256(self) -> bytes:
        """digest("inputs", the fields in order): what a kept contribution answers to, and nothing else."""
        values = (self.model_sha256, self.task_sha256, float(self.clip), self.segments, self.sources, self.data_sha256)
        return digest("inputs", *values, self.word_count)

    @property
    def figures(self) -> "Figures":
        """What of it must not be opened over two sets of banks."""
        return Figures(self.segments, self.sources, self.data_sha256)


@dataclass(frozen=True)
class Figures:
    """A bank's figures in a contribution. They are named by segment and source alone, whatever rows they are of: of the
    same figure before and after a row came the difference would be that row."""

    segments: tuple[str, ...]
    sources: tuple[bytes, ...]
    data_sha256: bytes

    @property
    def names(self) -> list[bytes]:
        """digest("figure", segment, source), one a segment; the same in whatever round, run or attempt."""
        return [digest("figure", *each) for each in zip(self.segments, self.sources, strict=True)]

    def over(self, banks: Sequence[str]) -> bytes:
        """digest("over", banks, rows): what stands under a figure that was opened."""
        return digest("over", tuple(banks), self.data_sha256)


@dataclass(frozen=True)
class Openings:
    """All of this bank's figures that were opened, or may have been without its hearing of it; kept for ever.

    A record is two hashes, 32 bytes each. Under a figure's name stands, once masked words with it have left,
    digest("sent", the attempt), and once the bank consented to an opening, over which banks and of which rows: summed
    over two sets of banks, or of rows, it would reveal their difference. Under digest("run", run id) stands the last
    round that the bank consented to open, a big-endian integer.
    """

    records: Mapping[bytes, bytes] = field(default_factory=dict)

    def sent(self, figures: Figures, attempt: bytes) -> dict[bytes, bytes]:
        """The records to be on disk before masked words leave; none for figures that are known already."""
        return {name: digest("sent", attempt) for name in figures.names if name not in self.records}

    def opened(self, parameters: Parameters, figures: Figures, survivors: Sequence[str]) -> dict[bytes, bytes]:
        """The records to be on disk before a Consent leaves; none when they are known already."""
        last = max(parameters.round, self.last(parameters.run_id))
        entries = {digest("run", parameters.run_id): last.to_bytes(HASH_BYTES)}
        entries |= dict.fromkeys(figures.names, figures.over(survivors))
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
    the scaler's sums be opened again, in another cohort; `reopen_counts` the counts of merchants."""

    federation_id: bytes
    roster: Roster
    strict: bool
    fraction_bits: int
    clip: float
    weight_cap: int
    min_cohort: int = LEAST_BANKS
    reopen_static: bool = False
    reopen_counts: bool = False

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
            ("a task hash must be that of the task the bank was given", inputs.task_sha256, parameters.task_sha256),
            ("an update must be clipped by the bank's own clip", self.clip, inputs.clip),
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
        self,
        parameters: Parameters,
        figures: Figures,
        openings: Openings,
        banks: Sequence[str],
        attempt: bytes = b"",
    ) -> None:
        """Refuses a round that is not after the last opened one of its run, and figures that left before: unless in
        this very attempt, or when they were opened over the same banks and of the same rows. `banks` are the cohort
        when an attempt begins and when its words leave, the survivors when it is to be opened."""
        last = openings.last(parameters.run_id)
        if parameters.round <= last:
            raise Stale(f"a round must come after the last one opened, {last}, got {parameters.round}")
        allowed = {None, figures.over(banks), digest("sent", attempt)}
        for segment, name in zip(figures.segments, figures.names, strict=True):
            free = {"standardise": self.reopen_static, "count": self.reopen_counts}.get(segment, False)
            if openings.records.get(name) not in allowed and not free:
                raise OpenedBefore(
                    f"figures must be opened over the same banks and rows each time, got {segment} {name.hex()[:12]} "
                    f"again, over {len(banks)} banks"
                )


def _shown(value: object) -> object:
    return value.hex()[:12] or "none" if isinstance(value, bytes) else value
