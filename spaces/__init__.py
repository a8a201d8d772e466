"""What can be built: decisions, architectures, super-networks, the spaces."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .accelerator import AcceleratorSpace
from .chain import ChainSpace
from .decision import Architecture, Decision, Option
from .part import NETWORK_INPUT, Input, Part
from .product import ProductSpace
from .registry import FACTORS, SPACES
from .space import DecisionSpace, Space

if TYPE_CHECKING:
    from .conversion import elasticize
    from .layers import OneOf, Supernet
    from .module_space import ModuleSpace
    from .nni_adapter import from_nni

__all__ = [
    "FACTORS",
    "NETWORK_INPUT",
    "SPACES",
    "AcceleratorSpace",
    "Architecture",
    "ChainSpace",
    "Decision",
    "DecisionSpace",
    "Input",
    "ModuleSpace",
    "OneOf",
    "Option",
    "Part",
    "ProductSpace",
    "Space",
    "Supernet",
    "elasticize",
    "from_nni",
]

_LAZY = {  # need torch
    "ModuleSpace": ".module_space",
    "OneOf": ".layers",
    "Supernet": ".layers",
    "elasticize": ".conversion",
    "from_nni": ".nni_adapter",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
