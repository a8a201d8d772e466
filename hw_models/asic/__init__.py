"""Accelerators: systolic, row-stationary, cluster and generic arrays, chosen or described.

Needs no torch. `layers.py` says what of a network an array computes and what happens to the rest.
"""

from __future__ import annotations

from .choice import from_choice

__all__ = ["from_choice"]
