"""What every part of the facts is made of: a closed schema, and figures that are finite or not known."""

import math
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
"""A finite number, or None where it is not known."""


class Part(BaseModel):
    """A part of the facts: the schema names all that may be in it. Facts of a later version are read all the same."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": False})
