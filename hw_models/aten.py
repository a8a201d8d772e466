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

from ..errors import TraceError
from .op_names import ATEN_DOTS, ATEN_KINDS, ATEN_PRODUCTS, OPAQUE_PRODUCTS
from .product_rules import record_conv, record_product
from .recorder import Recorder, tensors_in
from .view_rules import moved
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
    plain = name.removesuffix("_")  # `addmm_` multiplies as `addmm` does
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
    elif name == "conv_tbc":  # (time, batch, in) with a weight (kernel, in, out)
        macs = result.numel() * math.prod(args[1].shape[:2])
        kind: Kind = "pointwise_conv" if args[1].shape[0] == 1 else "conv"
        rec.layer(kind, name, operands, results, macs=macs, kernel=(args[1].shape[0],))
    elif plain in ATEN_PRODUCTS:
        left = args[ATEN_PRODUCTS[plain]]
        record_product(rec, plain, operands, result, left.shape[-1])
    elif plain == "addbmm":  # a batch of products, summed
        macs = args[1].numel() * args[2].shape[-1]
        rec.layer("matmul", plain, operands, results, macs=macs)
    elif name.startswith("_scaled_dot_product"):  # a backend's own kernel, called by name
        query, key, value = (t.shape for t in args[:3])
        macs = math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
        rec.layer("attention", name, operands, results, macs=macs)
    elif OPAQUE_PRODUCTS.search(name):
        raise TraceError(
            f"{rec.where()} calls {name}, a fused operator whose products cannot be seen; call the "
            "public function that it belongs to, or write the products out"
        )
    elif name == "_trilinear":  # of nn.Bilinear: x^T W_o y for each output o
        macs = args[0].shape[0] * args[1].numel() + result.numel() * args[0].shape[1]
        rec.layer("linear", "bilinear", operands, results, macs=macs)
    elif name in ATEN_DOTS:
        rec.layer("matmul", name, operands, results, macs=math.prod(args[0].shape))
    else:
        inside = name.endswith("_")
        memory = operands[0].untyped_storage()._cdata
        view = not inside and all(r.untyped_storage()._cdata == memory for r in results)
        kind = "reshape" if view else ATEN_KINDS.get(name.strip("_"), "other")
        axes = moved(name, args, operands[0].dim()) if view else ()
        # who called what this operator is part of, and with which numbers, is not seen here
        sized = kind in ("pad", "pool", "resize")
        rec.layer(kind, name.strip("_"), operands, results, view=view, axes=axes, sized=sized)


def _full(value: Sequence[int], weight: torch.Tensor) -> tuple[int, ...]:
    n = weight.dim() - 2
    return tuple(value) if len(value) == n else (value[0],) * n
