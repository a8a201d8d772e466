"""The spaces of growing networks: plain CNNs and DenseNets."""

from __future__ import annotations

from .dense import EasDense
from .growing import GrowingSpace
from .plain import EasPlain

__all__ = ["EasDense", "EasPlain", "GrowingSpace"]
