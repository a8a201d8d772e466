"""The general path: run any torch function on meta tensors and record the operators it is made of.

Slower than `rules.py` by an order of magnitude, and complete: composite functions (`einsum`,
`multi_head_attention_forward`, transposed convolutions, ...) arrive here as the convolutions and
matrix products that they execute.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from .op_names import ATEN_DOTS, ATEN_KINDS, ATEN_PRODUCTS
from .recorder import Recorder, tensors_in
from .rules import record_conv, record_product
from .workload import Kind


def run_on_meta(rec: Recorder, func: Any, args: Any, kwargs: Any) -> Any:
    """Return `func(*args, **kwargs)` on the operands' twins, its operators recorded."""
    args, kwargs = rec.twins(args), rec.twins(kwargs)
    # without the math backend, fused attention is one opaque operator
    with sdpa_kernel(SDPBackend.MATH), _Operators(rec):
        return func(*args, **kwargs)


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, rec: Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rec = rec

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        _record(self._rec, func, args, kwargs or {}, out)
        return out


def _record(rec: Recorder, func: Any, args: Any, kwargs: Mapping[str, Any], out: Any) -> None:
    operands = list(tensors_in((args, kwargs)))
    results = list(tensors_in(out))
    if not operands or not results:  # a constant: it enters the graph where a layer reads it
        return
    name = func.overloadpacket.__name__
    result = results[0]
    if name == "convolution":
        stride, padding, dilation, transposed, _, groups = args[3:9]
        record_conv(
            rec,
            "conv_transpose" if transposed else f"conv{len(stride)}d",
            operands,
            result,
            stride=_full(stride, args[1]),
            padding=_full(padding, args[1]),
            dilation=_full(dilation, args[1]),
            groups=groups,
            transposed=transposed,
        )
    elif name in ATEN_PRODUCTS:
        left = args[ATEN_PRODUCTS[name]]
        record_product(rec, name, operands, result, left.shape[-1])
    elif name == "addbmm":  # a batch of products, summed
        macs = args[1].numel() * args[2].shape[-1]
        rec.layer("matmul", name, operands, results, macs=macs)
    elif name == "_trilinear":  # of nn.Bilinear: x^T W_o y for each output o
        macs = args[0].shape[0] * args[1].numel() + result.numel() * args[0].shape[1]
        rec.layer("linear", "bilinear", operands, results, macs=macs)
    elif name in ATEN_DOTS:
        rec.layer("matmul", name, operands, results, macs=math.prod(args[0].shape))
    else:
        inside = name.endswith("_")
        memory = operands[0].untyped_storage()._cdata
        view = not inside and all(r.untyped_storage()._cdata == memory for r in results)
        kind: Kind = "reshape" if view else ATEN_KINDS.get(name.strip("_"), "other")
        rec.layer(kind, name.strip("_"), operands, results, view=view)


def _full(value: Sequence[int], weight: torch.Tensor) -> tuple[int, ...]:
    n = weight.dim() - 2
    return tuple(value) if len(value) == n else (value[0],) * n
