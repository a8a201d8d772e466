"""Tensors as bytes, written and read without executing anything that is in them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any


def pack_tensors(tensors: Mapping[str, Any]) -> bytes:
    """Return tensors and plain values as `torch.save` writes them."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(tensors), buffer)
    return buffer.getvalue()


def unpack_tensors(data: bytes) -> Mapping[str, Any]:
    """Return what `pack_tensors` was given; nothing in the bytes is executed.

    Raises:
        Exception: Whatever torch raises for other bytes; `TypeError` for another value.
    """
    import torch

    loaded = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    if not isinstance(loaded, Mapping):
        raise TypeError(f"tensors by name were written, got {type(loaded).__name__}")
    return loaded
