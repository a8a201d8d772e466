"""The cell space of DARTS and PC-DARTS."""

from __future__ import annotations

from .space import Darts

__all__ = ["Darts"]
