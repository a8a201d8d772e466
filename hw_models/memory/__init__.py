"""Memory of a network on a device without virtual memory: lifetimes, placement, order, patches.

Works on the graph record of `graph.py`; needs neither torch nor a `Workload`.
"""

from __future__ import annotations

from .buffers import Buffer, Sharing, lifetimes, live_bytes, scratch_buffers, tensor_buffers
from .graph import Graph, MemOp, MemTensor, OpKind
from .patch import Tiling
from .placement import Placement, firstfit, greedy16
from .reorder import Order, best_order

__all__ = [
    "Buffer",
    "Graph",
    "MemOp",
    "MemTensor",
    "OpKind",
    "Order",
    "Placement",
    "Sharing",
    "Tiling",
    "best_order",
    "firstfit",
    "greedy16",
    "lifetimes",
    "live_bytes",
    "scratch_buffers",
    "tensor_buffers",
]
