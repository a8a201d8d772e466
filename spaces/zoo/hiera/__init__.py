"""The space of Hiera's blocks."""

from __future__ import annotations

from .space import Hiera

__all__ = ["Hiera"]
