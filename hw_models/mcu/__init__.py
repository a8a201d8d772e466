"""Microcontrollers: memory plans, Flash, calibrated latency and energy of int8 networks."""

from __future__ import annotations

from .flash import Flash
from .lower import Lowering, lower
from .model import McuModel, McuReport, OpCost
from .plan import MemoryPlan, Step, plan_memory
from .policy import PRESETS, Policy, policy
from .tokens import (
    naive,
    official_dev,
    official_engine,
    official_engine_share,
    savings,
    scheduled,
)
from .transformer import Transformer, from_sizes, read_transformer

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
    "Transformer",
    "from_sizes",
    "lower",
    "naive",
    "official_dev",
    "official_engine",
    "official_engine_share",
    "plan_memory",
    "policy",
    "read_transformer",
    "savings",
    "scheduled",
]
