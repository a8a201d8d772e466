"""Strategies, objectives, the runner, the spec and the command line.

The contract is imported at once (it needs neither torch nor ray); the runner's names load on first
use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .objectives import Constraint, Objective
from .registry import STRATEGIES
from .strategy import Candidate, Context, Result, Strategy

if TYPE_CHECKING:
    from .run.experiment import Experiment
    from .run.plan import Plan
    from .run.runner import Runner, RunSummary
    from .run.spec import Spec

_LAZY = {
    "Experiment": ".run.experiment",
    "Plan": ".run.plan",
    "RunSummary": ".run.runner",
    "Runner": ".run.runner",
    "Spec": ".run.spec",
}
__all__ = [
    "STRATEGIES",
    "Candidate",
    "Constraint",
    "Context",
    "Experiment",
    "Objective",
    "Plan",
    "Result",
    "RunSummary",
    "Runner",
    "Spec",
    "Strategy",
]


def __getattr__(name: str) -> Any:
    if module := _LAZY.get(name):
        return getattr(importlib.import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
