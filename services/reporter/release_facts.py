"""The release record, as facts: what exactly left each bank."""

from typing import Literal

from pydantic import Field

from services.reporter.part import Part


class SegmentFacts(Part):
    """A segment of this run's contributions: `words` integers of 64 bits, in how many bytes they leave, and their
    content."""

    name: str
    words: int
    bytes: int
    content: str


class SegmentRelease(Part):
    """How often a bank's accepted contributions had a segment, and its bytes in all."""

    name: str
    times: int
    bytes: int


class BankRelease(Part):
    """What left a bank: its accepted contributions, the messages that keep their masks (keys, sealed shares, consents:
    nothing that follows from transactions) and the names of the figures that it disclosed."""

    seat: str
    contributions: int = 0
    bytes: int = 0
    segments: list[SegmentRelease] = Field(default_factory=list)
    mask_messages: int = 0
    mask_bytes: int = 0
    disclosed: list[str] = Field(default_factory=list)


class ReleaseRecord(Part):
    """Exactly what left each bank, as the aggregator's journal has it; `protection` is how contributions travelled."""

    protection: Literal["masked", "plain", "unknown"] = "unknown"
    segments: list[SegmentFacts] = Field(default_factory=list)
    banks: list[BankRelease] = Field(default_factory=list)
