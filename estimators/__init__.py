"""What a network is worth: training, tables of measurements, counts, hardware models.

Importing this folder loads neither torch nor a table; the classes load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .data.registry import DATASETS
from .estimator import DataInfo, Direction, Estimator, Metric, Metrics, Report, check_finite
from .registry import ESTIMATORS, resolve_estimator

if TYPE_CHECKING:
    from .complexity import Complexity
    from .data.dataset import DataSet, Split, Splits
    from .function import FunctionEstimator, declares
    from .hardware import Hardware
    from .tabular import Tabular
    from .training import Training

_LAZY = {
    "Complexity": ".complexity",
    "DataSet": ".data.dataset",
    "FunctionEstimator": ".function",
    "Hardware": ".hardware",
    "Split": ".data.dataset",
    "Splits": ".data.dataset",
    "Tabular": ".tabular",
    "Training": ".training",
    "declares": ".function",
}

__all__ = [
    "DATASETS",
    "ESTIMATORS",
    "Complexity",
    "DataInfo",
    "DataSet",
    "Direction",
    "Estimator",
    "FunctionEstimator",
    "Hardware",
    "Metric",
    "Metrics",
    "Report",
    "Split",
    "Splits",
    "Tabular",
    "Training",
    "check_finite",
    "declares",
    "resolve_estimator",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
