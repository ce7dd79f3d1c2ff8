"""Central, as its writer and the aggregator know it: what the model was trained for, and its scores once it is.

Central is the same recipe on all rows in one place, which no federation can do: the simulation alone has it. The file
is there from the beginning, without scores, so that the end of a run knows whether waiting for them makes sense.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedfraud.identity import write_durably
from fedfraud.metrics import Scores


class Purpose(BaseModel):
    """The run that it is to be compared with: slots 1 to `banks` of the population, with that seed for run and rows."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    population: str
    preset: str = ""
    seed: int = Field(ge=0, lt=2**32)
    recipe: str
    rounds: int = Field(ge=1)
    banks: int = Field(ge=1)


class Central(BaseModel):
    """The file: the scores are on the public hold-out, else on all banks' validation rows; None while it is trained."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    purpose: Purpose
    scores: Scores | None = None

    def write(self, path: Path) -> None:
        """Whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, (self.model_dump_json(indent=2) + "\n").encode())


def read_central(path: Path) -> Central | None:
    """What the file says; None where there is none that can be read."""
    try:
        return Central.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
