"""An estimator of one's own: a function that says what a network is worth.

    netloom search examples/custom_estimator.yaml

The function is given what its parameters name: here the network, freshly built from the trial's
seed, and the data set. `ridge` is an option that the spec may set.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from netloom.estimators import DataSet, Split, declares


@declares({"ridge_accuracy": {"direction": "maximize", "unit": "%"}})
def ridge_accuracy(network: nn.Sequential, data: DataSet, ridge: float = 1.0) -> dict[str, float]:
    """Leave the hidden layers as they were drawn, and solve for the last one in closed form."""
    splits, classes = data.splits(), data.outputs
    features = network[:-1].eval()
    a = _features(features, splits.train)
    answers = nn.functional.one_hot(torch.from_numpy(splits.train.y), classes).double()
    last = torch.linalg.solve(a.T @ a + ridge * torch.eye(a.shape[1]).double(), a.T @ answers)
    guesses = (_features(features, splits.valid) @ last).argmax(1).numpy()
    return {"ridge_accuracy": 100 * float(np.mean(guesses == splits.valid.y))}


@torch.no_grad()
def _features(network: nn.Module, split: Split) -> Tensor:
    values = network(torch.from_numpy(split.x)).double()
    return torch.cat([values, torch.ones(len(values), 1)], 1)  # a column for the bias
