"""What an operator may set, read once from the environment at start."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from fedfraud.errors import Invalid
from fedfraud.fixed_point import MAX_SEATS
from fedfraud.recipe import DEFAULTS
from fedfraud.thresholds import LEAST_BANKS
from fedfraud.trade import ADMIN_CENTS, ALERT_BUDGETS, HEADLINE_BUDGET, TradeTerms, terms_of

_DAY = 86_400.0  # seconds
_TEN_YEARS = 87_600.0  # hours


class Settings(BaseSettings):
    """The aggregator's settings; every one has a default, an empty variable counts as unset."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    data_dir: Path = Path("/data")
    """Where the CA's key, the journal and the vectors lie; nobody else's."""
    join_dir: Path = Path("/join")
    """Where the folders bank, reporter and operator are written: the CA's certificate and the role's token."""
    holdout_file: Path | None = None
    """The population's public hold-out (.npz); without one the aggregator scores nothing itself."""
    central_file: Path | None = None
    """What `write-central` writes beside the hold-out, if anybody does (simulation only)."""
    central_wait: float = Field(default=5.0, ge=0, le=_DAY)
    """Seconds that the end of a run waits for it at most, if it is under way."""
    listen: str = "0.0.0.0:7443"
    """Address of the mutual-TLS port."""
    enrolment_listen: str = "0.0.0.0:7444"
    """Address of the enrolment port, TLS on the server's side alone."""
    hostnames: str = "aggregator,localhost,127.0.0.1"
    """The names and addresses in the aggregator's certificate, separated by commas."""
    health_socket: Path | None = None
    """The Unix socket of the health service; none without it."""
    traces_endpoint: str = ""
    """Where OpenTelemetry traces go over OTLP/HTTP, for example http://127.0.0.1:4318/v1/traces; empty for nowhere."""
    metrics_listen: str = ""
    """Where Prometheus may read metrics over plain HTTP, host:port, for example 127.0.0.1:9464; empty for nowhere."""

    population: str = "tutorial"
    """Whose features the model has; in the simulation also what the banks draw their shards from."""
    first_day: str = ""
    """Day 0 of the feature plan, YYYY-MM-DD, as banks and aggregator agreed; empty: the population's own."""
    preset: str = ""
    """How the simulated population is dealt out to banks; empty for its default."""
    simulation: bool = True
    """Whether banks are simulated: enrolment then assigns slots, and seats lapse by themselves."""
    lapse_after: float = Field(default=30.0, gt=0, le=_DAY)
    """Seconds without a lease after which a simulated seat lapses and its slot is free."""
    max_seats: int = Field(default=1024, ge=1, le=MAX_SEATS)
    """Seats that the bank's token can enrol."""

    expected_banks: int = Field(default=10, ge=1, le=MAX_SEATS)
    """The automatic run starts when this many banks are present."""
    start_wait: float = Field(default=60.0, ge=0, le=_DAY)
    """Or after this many seconds with at least the quorum."""
    quorum: int = Field(default=0, ge=0, le=MAX_SEATS)
    """Contributions that a round needs; 0 for floor(2/3 of the expected banks) + 1."""
    round_deadline: float = Field(default=60.0, gt=0, le=_DAY)
    """Seconds that a round waits for its cohort."""
    stall_timeout: float = Field(default=10.0, gt=0, le=_DAY)
    """Seconds without a byte after which an upload is refused."""
    autostart: bool = True
    """Whether one run starts by itself."""
    rounds: int = Field(default=10, ge=1, le=10_000)
    """Committed training rounds of a run; the population's own number where it is not set."""
    recipe: str = "default"
    """The hyperparameters, by name; the population's own where it is not set."""
    seed: int = Field(default=7, ge=0, lt=2**32)
    """The run's seed, and in the simulation the population's."""
    retention_hours: float = Field(default=0.0, ge=0, le=_TEN_YEARS)
    """Hours that a contribution is kept once its round is over, so that `verify` can add it again; 0 for not at all."""
    aggregation: Literal["plain", "secure"] = "secure"
    """How contributions reach the aggregator: masked, so that it learns their sum alone, or plain."""
    stage_deadline: float = Field(default=10.0, gt=0, le=_DAY)
    """Seconds that each stage of a masked round waits, but for the one in which banks train: ROUND_DEADLINE."""

    alert_budgets: str = ",".join(map(str, ALERT_BUDGETS))
    """Alerts a day and bank that a run's figures of the trade are for, rising, separated by commas."""
    headline_budget: int = HEADLINE_BUDGET
    """The one of them whose figures have an interval."""
    admin_cents: int = ADMIN_CENTS
    """What an alert is taken to cost in these figures, in cents."""

    bank_certificate_hours: float = Field(default=24 * 30, gt=0, le=_TEN_YEARS)
    """Lifetime of a bank's certificate; a bank renews at half of it."""
    reporter_certificate_hours: float = Field(default=24, gt=0, le=_TEN_YEARS)
    """Lifetime of the reporter's certificate."""
    operator_certificate_minutes: float = Field(default=10, gt=0, le=1440)
    """Lifetime of an operator's certificate; each command enrols anew."""
    server_certificate_hours: float = Field(default=24 * 30, gt=0, le=_TEN_YEARS)
    """Lifetime of the aggregator's own certificate; it changes at half of it, without a restart."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe events that are logged."""
    log_form: Literal["readable", "json"] = "readable"
    """One event a line, for people or for machines."""

    @field_validator("traces_endpoint")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError(f"an endpoint must begin with http:// or https://, got {value!r}")
        return value

    @field_validator("metrics_listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdecimal() and int(port) < 1 << 16):
            raise ValueError(f"an address must be host:port, got {value!r}")
        return value

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_the_population(cls, given: dict[str, Any]) -> dict[str, Any]:
        known = DEFAULTS.get(given.get("population", "tutorial"))
        return {"recipe": known[0], "rounds": known[1], **given} if known else given

    @model_validator(mode="after")
    def _quorum_is_reachable(self) -> "Settings":
        if self.effective_quorum > self.expected_banks:
            raise ValueError(
                f"quorum must be at most the expected banks, {self.expected_banks}, got {self.effective_quorum}"
            )
        if self.aggregation == "secure" and self.expected_banks < LEAST_BANKS:
            raise ValueError(
                f"secure aggregation must have at least {LEAST_BANKS} expected banks, got {self.expected_banks}: "
                "a sum of fewer says too much of each; fewer banks need AGGREGATION=plain"
            )
        if self.expected_banks > self.max_seats:
            raise ValueError(f"expected banks must be at most the seats, {self.max_seats}, got {self.expected_banks}")
        return self

    @model_validator(mode="after")
    def _terms_are_in_range(self) -> "Settings":
        try:
            _ = self.terms
        except Invalid as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def terms(self) -> TradeTerms:
        """What a run's figures of the trade are for."""
        return terms_of(self.alert_budgets, str(self.headline_budget), str(self.admin_cents))

    @property
    def effective_quorum(self) -> int:
        """Contributions that a round needs."""
        return self.quorum or self.expected_banks * 2 // 3 + 1


class OperatorSettings(BaseSettings):
    """What the operator's commands need."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    aggregator: str = "aggregator:7443"
    """Address of the mutual-TLS port."""
    enrolment: str = "aggregator:7444"
    """Address of the enrolment port."""
    join_dir: Path = Path("/join")
    """The operator's join folder: the CA's certificate and the token."""
