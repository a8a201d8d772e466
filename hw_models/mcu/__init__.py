"""Microcontrollers: memory plans, Flash, calibrated latency and energy of int8 networks."""

from __future__ import annotations

from .flash import Flash
from .lower import Lowering, lower
from .model import McuModel, McuReport, OpCost
from .plan import MemoryPlan, Step, plan_memory
from .policy import PRESETS, Policy, policy

__all__ = [
    "PRESETS",
    "Flash",
    "Lowering",
    "McuModel",
    "McuReport",
    "MemoryPlan",
    "OpCost",
    "Policy",
    "Step",
    "lower",
    "plan_memory",
    "policy",
]
