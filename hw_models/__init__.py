"""What a network costs: the workload graph, devices as data, and models of what they take.

Torch is imported by `trace` only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .composition import ComposedWorkload, PartCache, compose
    from .cost import Cost, HardwareModel, LayerCost, SequentialModel
    from .device import Device, Number, device_names, load_device, model_for, register_device
    from .network_files import read_network
    from .tracer import trace
    from .workload import Layer, Tensor, Workload

_LAZY = {
    "ComposedWorkload": ".composition",
    "Cost": ".cost",
    "Device": ".device",
    "HardwareModel": ".cost",
    "Layer": ".workload",
    "LayerCost": ".cost",
    "Number": ".device",
    "PartCache": ".composition",
    "SequentialModel": ".cost",
    "Tensor": ".workload",
    "Workload": ".workload",
    "compose": ".composition",
    "device_names": ".device",
    "load_device": ".device",
    "model_for": ".device",
    "read_network": ".network_files",
    "register_device": ".device",
    "trace": ".tracer",
}
__all__ = [
    "ComposedWorkload",
    "Cost",
    "Device",
    "HardwareModel",
    "Layer",
    "LayerCost",
    "Number",
    "PartCache",
    "SequentialModel",
    "Tensor",
    "Workload",
    "compose",
    "device_names",
    "load_device",
    "model_for",
    "read_network",
    "register_device",
    "trace",
]


def __getattr__(name: str) -> Any:
    if module := _LAZY.get(name):
        value = getattr(importlib.import_module(module, __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
