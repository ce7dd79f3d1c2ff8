"""The feature schemas: names, units and order of the columns that a dataset must have."""

from collections.abc import Iterator
from dataclasses import dataclass

from fedfraud.errors import Invalid

LABEL = "fraud"
"""The column of labels in every dataset: 0 is legitimate, 1 is fraud."""


@dataclass(frozen=True)
class Feature:
    """One input column.

    `resolution` is in the feature's unit: values are rounded to a multiple of it before they are summed for the scaler.
    """

    name: str
    unit: str
    resolution: float


TUTORIAL = tuple(Feature(f"feature_{i:02d}", "standard score", 2.0**-20) for i in range(1, 31))
"""The thirty anonymous columns of the tutorial's population."""

WINDOWS = (1, 7, 30)
"""Days that a customer's payments, and a merchant's risk, are looked back over."""


def _cards() -> Iterator[Feature]:
    yield Feature("amount", "euro", 2.0**-10)
    yield Feature("during_weekend", "0 or 1", 1.0)
    yield Feature("during_night", "0 or 1", 1.0)
    for days in WINDOWS:
        yield Feature(f"customer_count_{days}d", "payments", 1.0)
        yield Feature(f"customer_mean_{days}d", "euro", 2.0**-10)
    for days in WINDOWS:
        yield Feature(f"merchant_count_{days}d", "payments", 1.0)
        yield Feature(f"merchant_risk_{days}d", "share of frauds", 2.0**-20)


CARDS = tuple(_cards())
"""The fifteen features of card payments (Le Borgne et al. 2022); a bank computes them from its transactions and the
summed counters, by its feature plan."""

ULB_CREDITCARD = (
    *(Feature(f"v{i:02d}", "principal component", 2.0**-20) for i in range(1, 29)),
    Feature("amount", "euro", 2.0**-10),
)
"""The card set of the Universite Libre de Bruxelles: 28 anonymous components and the amount."""

_BAF = {
    "income": ("decile", 2.0**-10),
    "name_email_similarity": ("share", 2.0**-20),
    "prev_address_months_count": ("month", 1.0),
    "current_address_months_count": ("month", 1.0),
    "customer_age": ("year", 1.0),
    "days_since_request": ("day", 2.0**-20),
    "intended_balcon_amount": ("dollar", 2.0**-10),
    "zip_count_4w": ("application", 1.0),
    "velocity_6h": ("application an hour", 2.0**-10),
    "velocity_24h": ("application an hour", 2.0**-10),
    "velocity_4w": ("application an hour", 2.0**-10),
    "bank_branch_count_8w": ("application", 1.0),
    "date_of_birth_distinct_emails_4w": ("address", 1.0),
    "credit_risk_score": ("point", 1.0),
    "email_is_free": ("0 or 1", 1.0),
    "phone_home_valid": ("0 or 1", 1.0),
    "phone_mobile_valid": ("0 or 1", 1.0),
    "bank_months_count": ("month", 1.0),
    "has_other_cards": ("0 or 1", 1.0),
    "proposed_credit_limit": ("dollar", 1.0),
    "foreign_request": ("0 or 1", 1.0),
    "session_length_in_minutes": ("minute", 2.0**-10),
    "keep_alive_session": ("0 or 1", 1.0),
    "device_distinct_emails_8w": ("address", 1.0),
}
_BAF_MISSING = (
    "prev_address_months_count",
    "current_address_months_count",
    "intended_balcon_amount",
    "bank_months_count",
    "session_length_in_minutes",
    "device_distinct_emails_8w",
)
BAF = (
    *(Feature(name, unit, resolution) for name, (unit, resolution) in _BAF.items()),
    *(Feature(f"{name}_known", "0 or 1", 1.0) for name in _BAF_MISSING),
)
"""Bank account applications of the BAF suite: its numeric columns, and whether each that may be missing is known."""

_IEEE_CIS_GAPS = ("dist1", "dist2", *(f"d{i:02d}" for i in range(1, 16)))
IEEE_CIS = (
    Feature("amount", "dollar", 2.0**-10),
    *(Feature(f"c{i:02d}", "count", 1.0) for i in range(1, 15)),
    *(Feature(name, "distance" if name.startswith("dist") else "day", 2.0**-10) for name in _IEEE_CIS_GAPS),
    *(Feature(f"{name}_known", "0 or 1", 1.0) for name in _IEEE_CIS_GAPS),
)
"""Online payments of the IEEE-CIS set: amount, its counts, distances and time deltas, and whether each of the latter
two is known. What its makers computed without saying how, V1 to V339, and codes are left out."""

SIMULATED = ("tutorial", "cards")
"""The populations that a simulation can draw; the others are of banks with rows of their own."""

SCHEMAS = {"tutorial": TUTORIAL, "cards": CARDS, "ulb_creditcard": ULB_CREDITCARD, "baf": BAF, "ieee_cis": IEEE_CIS}
"""The features of each population, in the order of the model's columns."""

PRESETS: dict[str, tuple[str, ...]] = {"tutorial": (), "cards": ("national", "regional", "skewed")}
"""How a simulated population can be dealt out to banks, its default first."""
HAVE_HOLDOUT = frozenset({"tutorial"})
"""The populations with rows that no bank has."""


def preset_of(population: str, chosen: str) -> str:
    """The preset that was chosen, or the population's default; empty where it has none."""
    known = PRESETS.get(population, ())
    if chosen and not known:
        raise Invalid(f"the population {population} has no presets, got {chosen[:40]!r}")
    if chosen and chosen not in known:
        raise Invalid(f"a preset of {population} must be one of {', '.join(known)}, got {chosen[:40]!r}")
    return chosen or next(iter(known), "")
