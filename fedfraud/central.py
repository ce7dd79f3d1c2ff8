"""Central, as its writer and the aggregator know it: what the model was trained for, and its scores once it is.

Central is the same recipe on all rows in one place, which no federation can do: the simulation alone has it. The file
is there from the beginning, without scores, so that the end of a run knows whether waiting for them makes sense.
"""

from pathlib import Path
from typing import Any

from google.protobuf import json_format
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedfraud.errors import Invalid
from fedfraud.feature_plan import FeaturePlan, plan_of
from fedfraud.identity import write_durably
from fedfraud.metrics import Scores
from fedfraud.trade import USUAL_TERMS, TradeTerms
from fedfraud.trade_metrics import TradeFigures
from fedfraud.trade_wire import trade_from_proto, trade_to_proto
from fedfraud.v1 import model_pb2


class Purpose(BaseModel):
    """The run that it is to be compared with: slots 1 to `banks` of the population, with that seed for run and rows.

    Of payments also the first day of the run's feature plan, and the terms of its figures of the trade.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    population: str
    preset: str = ""
    seed: int = Field(ge=0, lt=2**32)
    recipe: str
    rounds: int = Field(ge=1)
    banks: int = Field(ge=1)
    first_day: str = ""
    alert_budgets: tuple[int, ...] = USUAL_TERMS.budgets
    headline_budget: int = USUAL_TERMS.headline
    admin_cents: int = USUAL_TERMS.admin_cents

    @model_validator(mode="after")
    def _says_what_can_be(self) -> "Purpose":
        try:
            _ = self.terms, self.feature_plan
        except Invalid as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def terms(self) -> TradeTerms:
        """What its figures of the trade are for."""
        return TradeTerms(self.alert_budgets, self.headline_budget, self.admin_cents)

    @property
    def feature_plan(self) -> FeaturePlan | None:
        """What features follow from; None where rows have them."""
        return plan_of(self.population, self.first_day)

    @classmethod
    def of(
        cls,
        *,
        population: str,
        preset: str,
        seed: int,
        recipe: str,
        rounds: int,
        banks: int,
        first_day: str = "",
        terms: TradeTerms = USUAL_TERMS,
    ) -> "Purpose":
        """With the population's own first day where none is named."""
        plan = plan_of(population, first_day)
        return cls(
            population=population,
            preset=preset,
            seed=seed,
            recipe=recipe,
            rounds=rounds,
            banks=banks,
            first_day=plan.first_day if plan else "",
            alert_budgets=terms.budgets,
            headline_budget=terms.headline,
            admin_cents=terms.admin_cents,
        )


class Central(BaseModel):
    """The file: the scores are on the public hold-out, else on all banks' validation rows; None while it is trained.

    `trade` is a Trade message as JSON, of all banks' validation payments, each bank with its own alerts and cards.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    purpose: Purpose
    scores: Scores | None = None
    trade: dict[str, Any] | None = None

    @field_validator("trade")
    @classmethod
    def _readable(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            _figures(value)
        except (json_format.ParseError, Invalid) as error:
            raise ValueError(f"figures of the trade must be a Trade message: {error}") from error
        return value

    @property
    def trade_figures(self) -> TradeFigures | None:
        """The model in the trade's terms; None where rows are no payments, and while it is trained."""
        return _figures(self.trade)

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, (self.model_dump_json(indent=2) + "\n").encode())


def _figures(told: dict[str, Any] | None) -> TradeFigures | None:
    return None if told is None else trade_from_proto(json_format.ParseDict(told, model_pb2.Trade()))


def trade_as_json(trade: TradeFigures) -> dict[str, Any]:
    """What `trade` holds."""
    return dict(json_format.MessageToDict(trade_to_proto(trade), preserving_proto_field_name=True))


def read_central(path: Path) -> Central | None:
    """What the file says; None where there is none that can be read."""
    try:
        return Central.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
