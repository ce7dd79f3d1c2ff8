"""The population's public hold-out, scored by the aggregator in numpy (simulation only)."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedfraud.errors import Misconfigured
from fedfraud.manifest import Manifest
from fedfraud.metrics import Counts, Scores, counts_of_logits, scores_from_counts
from fedfraud.model import RunState, Vector, standardised_logits


class Holdout:
    """Rows that no bank trains on: (rows, features) float64 in the features' units and (rows,) labels."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        try:
            with np.load(path, allow_pickle=False) as arrays:
                self._features, self._labels = arrays["features"], arrays["labels"]
        except (OSError, ValueError, KeyError) as error:
            raise Misconfigured(f"HOLDOUT_FILE must be an .npz of features and labels: {error}, {path}") from error
        if self._features.shape != (len(self._labels), len(manifest.features)):
            raise Misconfigured(
                f"a hold-out must have {len(manifest.features)} columns and as many labels as rows, "
                f"got {self._features.shape} and {self._labels.shape} in {path}"
            )
        self._standardised: tuple[RunState, Vector] | None = None
        self._beside = ThreadPoolExecutor(1, "holdout")

    def scored(
        self, manifest: Manifest, run_state: RunState, vector: Vector, *, logit_adjustment: bool
    ) -> tuple[tuple[NDArray[np.float64], Counts, Counts], Scores]:
        """The distinct scores that the model gives these rows, rising, how many of each label have each, and the
        figures of these.

        Two threads score half of the rows each: all banks wait for it.
        """
        if self._standardised is None or self._standardised[0] != run_state:
            self._standardised = run_state, run_state.standardise(self._features)
        inputs = self._standardised[1]
        score = partial(standardised_logits, manifest, run_state, vector, logit_adjustment=logit_adjustment)
        half = len(inputs) // 2
        second = self._beside.submit(score, inputs[half:])
        logits = np.concatenate([score(inputs[:half]), second.result()])
        counts = counts_of_logits(logits, self._labels)
        return counts, scores_from_counts(*counts)
