"""A small model as a run ends with it: two features, one hidden layer of three."""

from dataclasses import replace

import numpy as np

from fedfraud.manifest import Manifest
from fedfraud.model import RunState, initial_vector
from fedfraud.transactions import Feature
from services.reporter.model_files import FinalModel

MANIFEST = Manifest("tutorial", (Feature("a", "EUR", 0.01), Feature("b", "hours", 1.0)), (3,))
STATE = RunState((10.0, 12.0), (2.0, 4.0), 1000, 20, 1.0)
FINAL = FinalModel("run-1", MANIFEST, STATE, initial_vector(MANIFEST, 7), True, 3, "ab" * 32)


def another(final: FinalModel = FINAL) -> FinalModel:
    """The same with weights that differ."""
    return replace(final, vector=(final.vector * np.float32(2)).astype(np.float32))
