"""What a bank may set, read once from the environment at start."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedfraud.fixed_point import MAX_SEATS
from fedfraud.thresholds import LEAST_BANKS
from fedfraud.trade import HEADLINE_BUDGET, MOST_BUDGET

DISCLOSURES = ("rows", "fraud_rate", "alone", "federated")


class Settings(BaseSettings):
    """The bank client's settings; every one has a default, an empty variable counts as unset."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    aggregator: str = "aggregator:7443"
    """Address of the mutual-TLS port."""
    enrolment: str = "aggregator:7444"
    """Address of the enrolment port."""
    join_dir: Path = Path("/join")
    """The bank's join folder: the CA's certificate and the token."""
    data_dir: Path = Path("/data")
    """The bank's own volume: its identity and its dataset."""
    dataset: str = "dataset.parquet"
    """Where the bank's rows are, in the volume or by an absolute path: a Parquet, CSV or SQLite file, or a folder of
    daily drops."""
    dataset_query: str = ""
    """The SQL query that gives the rows, of the SQLite file or of the server that DATASET_URL_FILE names."""
    dataset_url_file: Path | None = None
    """A file with the URL of a PostgreSQL server, postgresql://user:password@host/database."""
    data_preset: str = ""
    """The public set whose columns the rows have, by name; empty for the contract's own names."""
    column_map: str = ""
    """A file, TOML or JSON, that says which of the bank's columns is which; found as the rows are."""
    first_day: str = ""
    """Day 0 of the feature plan, YYYY-MM-DD, as banks and aggregator agreed; empty: the population's own."""
    merchant_key: str = "merchant.key"
    """A file, found as the rows are, with the key, 32 bytes or more, that the banks agreed on and the aggregator must
    not know: by it merchants fall into buckets."""
    count_noise: float = Field(default=0.0, ge=0, le=1000)
    """The scale of the noise that the bank adds to each count of a merchant and day that leaves; 0 for none."""
    holdout: str = "holdout.parquet"
    """The public hold-out's file in the volume, where there is one (simulation only)."""
    disclose: str = ",".join(DISCLOSURES)
    """What the bank gives in its own name: rows, fraud_rate, alone, federated, separated by commas; or none."""
    alert_budget: int = Field(default=HEADLINE_BUDGET, ge=1, le=MOST_BUDGET)
    """Alerts, and cards, that the bank can look at in a day: what its own threshold is for, where it has payments."""
    personalise: bool = False
    """Whether the bank fine-tunes the final model on its own rows, and keeps that where it gains on some of its
    validation rows."""
    aggregation: Literal["plain", "secure"] = "secure"
    """What the bank insists on: secure contributes to masked rounds alone, plain lets the aggregator see integers."""
    min_cohort: int = Field(default=LEAST_BANKS, ge=LEAST_BANKS, le=MAX_SEATS)
    """The least banks of a masked round that this bank takes part in."""
    roster_file: Path | None = None
    """The roster as it was given out of band: the bank then believes no other. Without it a new seat's key is believed
    at first use, and kept."""
    reopen_static: bool = False
    """Whether sums of the same rows, for the scaler, may be opened over other banks too, which shows the difference."""
    reopen_counts: bool = False
    """Whether counts of merchants may be opened over other banks too, which shows the difference by merchant and day,
    and counters be used that are not the first."""
    device: str = "cpu"
    """Where training happens: cpu, or cuda."""
    retry_limit: float = Field(default=5.0, gt=0)
    """The longest pause between two attempts to reach the aggregator, in seconds."""
    health_socket: Path | None = None
    """The Unix socket of the health service; none without it."""
    score_socket: str = "scoring/score.sock"
    """The Unix socket that `serve-scores` answers on, in the bank's folder or an absolute path; the socket's own folder
    must be for the bank alone."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events that are logged."""
    log_form: Literal["readable", "json"] = "readable"
    """One event a line, for people or for machines."""

    @model_validator(mode="after")
    def _query_has_a_place(self) -> "Settings":
        if self.dataset_url_file and not self.dataset_query:
            raise ValueError("a PostgreSQL server must come with a query: set DATASET_QUERY")
        return self

    @field_validator("disclose")
    @classmethod
    def _known(cls, value: str) -> str:
        for name in value.split(","):
            if name not in (*DISCLOSURES, "none"):
                raise ValueError(f"a disclosure must be one of {', '.join(DISCLOSURES)} or none, got {name!r}")
        return value
