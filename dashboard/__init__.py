"""Pareto dashboard and static report: both read the store and nothing else."""

from __future__ import annotations

import importlib
from typing import Any

_LAZY = {
    "BaselineView": ".compare",
    "Diagnosis": ".diagnosis",
    "ExperimentRow": ".rows",
    "HistoryView": ".views",
    "ParetoView": ".views",
    "TrialView": ".details",
    "create_app": ".app",
    "experiment_rows": ".rows",
    "front": ".views",
    "serve": ".app",
    "write_report": ".report",
}
__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if module := _LAZY.get(name):
        return getattr(importlib.import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
