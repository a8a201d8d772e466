"""Regression: a data set that declares targets instead of classes.

    netloom search examples/regression.yaml

Training then gives `valid_rmse`, in the unit of the targets, and `valid_r2`.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes

from netloom.estimators import DataSet, Split, Splits
from netloom.estimators.data.dataset import three_ways


class Diabetes(DataSet):
    """Ten measurements of 442 patients, and how far the disease has gone a year later.

    Source: Efron et al., "Least angle regression" (2004), bundled with scikit-learn.

    Args:
        split_seed: Decides which patient goes into which split.
    """

    name = "diabetes"
    in_channels, resolution = 10, 1  # ten features, no image
    targets = 1

    def __init__(self, *, split_seed: int = 0) -> None:
        self.split_seed = split_seed

    def load(self) -> Splits:
        """Cut the patients into 60 / 20 / 20 per cent."""
        x, y = load_diabetes(return_X_y=True)
        whole = Split(x.astype(np.float32), y.astype(np.float32))
        return three_ways(whole, valid=0.2, test=0.2, seed=self.split_seed, stratify=False)
