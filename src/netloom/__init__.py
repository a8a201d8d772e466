"""netloom finds neural networks for the hardware they must run on.

The names below load on first use; `import netloom` itself imports neither torch nor ray.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "Architecture": ".spaces",
    "Constraint": ".search",
    "Decision": ".spaces",
    "Experiment": ".search",
    "ModuleSpace": ".spaces",
    "Objective": ".search",
    "OneOf": ".spaces",
    "ProductSpace": ".spaces",
    "Space": ".spaces",
    "Store": ".db",
    "elasticize": ".spaces",
}
__all__ = ["__version__", *sorted(_LAZY)]


def __getattr__(name: str) -> Any:
    if module := _LAZY.get(name):
        return getattr(importlib.import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
