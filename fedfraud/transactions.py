"""The feature schemas: names, units and order of the columns that a dataset must have."""

from dataclasses import dataclass

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

SCHEMAS = {"tutorial": TUTORIAL}
"""The features of each population, in the order of the model's columns."""
