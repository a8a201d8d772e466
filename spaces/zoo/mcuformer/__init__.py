"""The space of MCUFormer."""

from __future__ import annotations

from .space import McuFormer

__all__ = ["McuFormer"]
