"""The feature plan: which days are for what, how far features look back, and when a label counts as known.

Banks that disagree about any of it would sum counters of different days under one model.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import date

from fedfraud.errors import Invalid
from fedfraud.transactions import WINDOWS

VERSION = 1
_MOST_DAYS = 3_660
_MOST_BUCKETS = 2**24


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True)
class FeaturePlan:
    """Days are numbered from `first_day`, 0, in UTC: history, then training, delay and test. Rows of other days are
    left alone.

    A label counts as known `label_delay_days` whole days after its payment's day, and never before the bank knew it.
    """

    first_day: str
    history_days: int = 38
    train_days: int = 7
    delay_days: int = 7
    test_days: int = 7
    windows: tuple[int, ...] = WINDOWS
    label_delay_days: int = 7
    bucket_count: int = 65_536
    version: int = VERSION

    def __post_init__(self) -> None:
        least_history = max(self.windows, default=0) + self.label_delay_days + 1
        buckets = self.bucket_count
        for rule, held, value in (
            (f"feature plan version must be {VERSION}", self.version == VERSION, self.version),
            ("first day must be a date, YYYY-MM-DD", _is_date(self.first_day), repr(self.first_day[:40])),
            (
                f"windows must be {len(WINDOWS)} rising numbers of days from 1",
                len(self.windows) == len(WINDOWS) and (0, *self.windows) == tuple(sorted({0, *self.windows})),
                list(self.windows),
            ),
            ("train days must be at least 1", self.train_days >= 1, self.train_days),
            ("test days must be at least 1", self.test_days >= 1, self.test_days),
            ("label delay days must be at least 0", self.label_delay_days >= 0, self.label_delay_days),
            (
                f"delay days must be at least the label delay days, {self.label_delay_days}",
                self.delay_days >= self.label_delay_days,
                self.delay_days,
            ),
            (
                f"history days must be at least the longest window, the label delay and 1, {least_history}",
                self.history_days >= least_history,
                self.history_days,
            ),
            (f"days must be at most {_MOST_DAYS}", self.day_count <= _MOST_DAYS, self.day_count),
            (
                f"bucket count must be a power of two up to {_MOST_BUCKETS}",
                0 < buckets <= _MOST_BUCKETS and buckets & (buckets - 1) == 0,
                buckets,
            ),
        ):
            if not held:
                raise Invalid(f"{rule}, got {value}")

    @property
    def train_start(self) -> int:
        """The first day of training."""
        return self.history_days

    @property
    def train_end(self) -> int:
        """The day after the last of training: the delay's first."""
        return self.train_start + self.train_days

    @property
    def test_start(self) -> int:
        """The first day of the test, which is the model's first day of use."""
        return self.train_end + self.delay_days

    @property
    def day_count(self) -> int:
        """All days: 59."""
        return self.test_start + self.test_days

    @property
    def counted_days(self) -> int:
        """The days of which merchants are counted, none of the test: 52."""
        return self.test_start

    @property
    def start_time(self) -> int:
        """The first day's begin, in seconds since 1970 in UTC."""
        return (date.fromisoformat(self.first_day) - date(1970, 1, 1)).days * 86_400

    def canonical_json(self) -> bytes:
        """The bytes that its hash is of: sorted keys, no spaces, UTF-8."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    @property
    def sha256(self) -> bytes:
        """Which plan it is, 32 bytes."""
        return hashlib.sha256(self.canonical_json()).digest()


PLANS = {"cards": FeaturePlan(first_day="2018-04-01")}
"""The plan of each population whose banks have transactions."""


def plan_of(population: str, first_day: str = "") -> FeaturePlan | None:
    """The population's plan, from another first day if one is given; None where banks have features themselves."""
    plan = PLANS.get(population)
    return replace(plan, first_day=first_day) if plan and first_day else plan
