"""Mutable layers and super-networks; needs torch."""

from __future__ import annotations

from .elastic import ElasticBatchNorm2d, ElasticConv2d, ElasticLinear
from .mutable import Choice, Mutable, Product, Size, as_size
from .one_of import OneOf
from .repeat import Repeat
from .supernet import ModuleSupernet, Supernet
from .tree import cut, derive_decisions, mutables

__all__ = [
    "Choice",
    "ElasticBatchNorm2d",
    "ElasticConv2d",
    "ElasticLinear",
    "ModuleSupernet",
    "Mutable",
    "OneOf",
    "Product",
    "Repeat",
    "Size",
    "Supernet",
    "as_size",
    "cut",
    "derive_decisions",
    "mutables",
]
