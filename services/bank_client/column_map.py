"""Which of a bank's columns is which of the contract's, and how its times, amounts, labels and gaps are written.

A column map is a preset, a TOML or JSON file in the bank's volume, or a file over a preset. It stays in the bank.
"""

import json
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedfraud.contract import ID, KNOWN_AT, Contract, Kind
from fedfraud.errors import Invalid

Form = Literal["plain", "money", "iso", "seconds", "milliseconds", "hours", "days", "date parts"]


class Origin(BaseModel):
    """Where one canonical column comes from.

    `columns` are the bank's; several are joined with a hyphen, or, as `date parts`, are year, month, day and h:mm.
    `form` is how a number or time is written: plain numbers and ISO times unless it says otherwise; `decimal` is what
    stands before the cents of money. Times that are
    numbers count from `start`, 1970 unless it is set; ISO times without an offset are of `zone`; `shift_days` moves a
    set of long ago into the plan's days. `row_number` makes ids where the bank has none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[str, ...] = ()
    form: Form = "plain"
    decimal: Literal[".", ","] = "."
    start: datetime | None = None
    zone: str = "UTC"
    values: dict[str, Literal[0, 1]] = Field(default_factory=dict)
    shift_days: int = Field(default=0, ge=-36_525, le=36_525)
    days_after_payment: float | None = Field(default=None, ge=0, le=36_525)
    row_number: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:  # noqa: ANN401  # whatever the file has
        """A bare name, or `column = "…"`, is one column."""
        if isinstance(value, str):
            return {"columns": (value,)}
        if isinstance(value, dict) and "column" in value:
            rest = {name: each for name, each in value.items() if name != "column"}
            return {"columns": (value["column"],), **rest}
        return value

    @field_validator("start")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value

    @model_validator(mode="after")
    def _has_a_source(self) -> "Origin":
        if (bool(self.columns), self.days_after_payment is not None, self.row_number).count(True) != 1:
            raise ValueError("a column must have one of column, columns, days_after_payment and row_number")
        if self.decimal != "." and self.form != "money":
            raise ValueError(f"a decimal must be of the form money, got it of {self.form}")
        if self.form == "date parts" and len(self.columns) != 4:
            raise ValueError(f"date parts must be of 4 columns, year, month, day and h:mm, got {len(self.columns)}")
        return self

    @property
    def start_time(self) -> float:
        """Seconds since 1970 that numbers count from."""
        return self.start.timestamp() if self.start else 0.0


class _File(BaseModel):
    """What a column map's file may have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contract: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    missing: tuple[str, ...] | None = None
    ids: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    skip_refunds: bool | None = None
    columns: dict[str, Origin] = Field(default_factory=dict)


@dataclass(frozen=True)
class ColumnMap:
    """`columns` by canonical name. `missing` are the texts that stand for no value. `ids` and `leaks` are columns of
    the bank that are known and not read as inputs. `skip_refunds` leaves payments below 0 out, and counts them."""

    contract: str
    columns: dict[str, Origin] = field(default_factory=dict)
    delimiter: str = ","
    missing: tuple[str, ...] = ("",)
    ids: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    skip_refunds: bool = False

    def origin(self, name: str) -> Origin:
        """Where a canonical column comes from: the bank's of the same name unless the map says otherwise."""
        return self.columns.get(name) or Origin(columns=(name,))

    @property
    def left_out(self) -> dict[str, str]:
        """The bank's columns that are left out on purpose, and why."""
        return {
            **dict.fromkeys(self.ids, "an identity"),
            **dict.fromkeys(self.leaks, "it says or follows from the label"),
        }

    def over(self, file: "_File") -> "ColumnMap":
        """This map with what a file says in place of it."""
        return ColumnMap(
            file.contract or self.contract,
            {**self.columns, **file.columns},
            file.delimiter or self.delimiter,
            self.missing if file.missing is None else file.missing,
            tuple(dict.fromkeys((*self.ids, *file.ids))),
            tuple(dict.fromkeys((*self.leaks, *file.leaks))),
            self.skip_refunds if file.skip_refunds is None else file.skip_refunds,
        )

    def check(self, contract: Contract) -> None:
        """Refuses a map of another contract, of columns that it does not have, and one that reads a leak."""
        if self.contract != contract.name:
            raise Invalid(f"a column map must be of the contract {contract.name}, got one of {self.contract[:40]!r}")
        for name, origin in self.columns.items():
            column = contract.column(name)
            inputs = column.kind is Kind.NUMBER
            for own in origin.columns:
                if own in self.leaks:
                    raise Invalid(f"a column map must not read a leak, column {name!r} comes from {own!r}")
                if inputs and own in self.ids:
                    raise Invalid(f"an input must not be an identity, column {name!r} comes from {own!r}")
            if origin.days_after_payment is not None and (name != KNOWN_AT or not contract.is_payments):
                raise Invalid(f"days_after_payment must be of {KNOWN_AT} of payments, got it of {name!r}")
            if origin.row_number and name != ID:
                raise Invalid(f"row_number must be of {ID}, got it of {name!r}")

    def names(self, contract: Contract) -> list[str]:
        """The bank's columns to read: those of required columns, and of others where the map names them."""
        names: dict[str, None] = {}
        for column in contract.columns:
            if self.is_read(contract, column.name):
                names.update(dict.fromkeys(self.origin(column.name).columns))
        return list(names)

    def is_read(self, contract: Contract, name: str) -> bool:
        """Whether the contract's column is read from the bank's rows at all."""
        optional = (ID, KNOWN_AT) if not contract.is_payments else ()
        return name in self.columns or name not in optional


def read_map(path: Path, base: ColumnMap) -> ColumnMap:
    """The map in a .toml or .json file, over another."""
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise Invalid(f"a column map must be readable: {error}") from error
    except (ValueError, RecursionError) as error:  # of TOML, JSON and UTF-8
        raise Invalid(f"a column map must be TOML (.toml) or JSON, {path.name} is not: {error}") from error
    try:
        return base.over(_File.model_validate(content))
    except ValidationError as error:
        raise Invalid(f"{path.name}: {_told(error)}") from error


def _told(error: ValidationError) -> str:
    """What is wrong in the file, by its place there."""
    clauses = []
    for fault in error.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in fault["loc"])
        rule = fault["msg"].removeprefix("Value error, ").replace("Input should", "must")
        clauses.append(f"{place}: {rule}")
    return "; ".join(clauses)
