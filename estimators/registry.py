"""The estimators that a spec can name, and how a plain function becomes one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import SpecError
from ..registry import Registry
from .estimator import Estimator

ESTIMATORS = Registry(
    "estimator",
    "netloom.estimators",
    {
        "complexity": "netloom.estimators.complexity:Complexity",
        "function": "netloom.estimators.function:FunctionEstimator",
        "hardware": "netloom.estimators.hardware:Hardware",
        "tabular": "netloom.estimators.tabular:Tabular",
        "training": "netloom.estimators.training:Training",
    },
)


def resolve_estimator(
    name: str, options: Mapping[str, Any]
) -> tuple[type[Estimator], dict[str, Any]]:
    """Return the class behind `name` and the options to construct it with.

    A plain function is wrapped: `{name: "my_pkg.train:evaluate", metrics: ..., lr: 0.1}` is the
    same as `{name: function, function: "my_pkg.train:evaluate", metrics: ..., options: {lr: 0.1}}`.

    Raises:
        UnknownName: If nothing goes by that name.
        SpecError: If what goes by it is neither an `Estimator` class nor a function.
    """
    target = ESTIMATORS.get(name)
    if inspect.isclass(target) and issubclass(target, Estimator):
        return target, dict(options)
    if inspect.isfunction(target):
        from .function import FunctionEstimator

        return FunctionEstimator, FunctionEstimator.options_of_function(name, options)
    raise SpecError(
        f"estimator {name!r} must be an Estimator subclass or a function, got "
        f"{type(target).__name__} {target!r}"
    )


def describe_estimator(target: Any) -> tuple[dict[str, bool], tuple[str, ...]]:
    """Return what listings say of an estimator class, or of a function that stands for one.

    Returns:
        `cheap`, `reports` and `needs_data`; and the parameters that no spec sets.
    """
    if inspect.isfunction(target):
        from .function import GIVEN, flags_of

        return flags_of(target), GIVEN
    flags = ("cheap", "reports", "needs_data")
    return {name: bool(getattr(target, name, False)) for name in flags}, ("space", "data")
