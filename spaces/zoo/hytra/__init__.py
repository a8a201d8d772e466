"""The space of BossNAS."""

from __future__ import annotations

from .space import Hytra

__all__ = ["Hytra"]
