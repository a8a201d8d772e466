"""What torch's products do to shapes: convolutions, linear layers, matrix products, attention.

Rules as in `rules.py`; the only places where multiply-adds are counted, beside `aten.py`, which
calls the `record_` functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .recorder import Recorder, tensors_in
from .workload import Kind


def conv_kind(kernel: Sequence[int], groups: int, in_channels: int) -> Kind:
    """Return the kind of a convolution that is not transposed."""
    if groups > 1:
        return "depthwise_conv" if groups == in_channels else "grouped_conv"
    return "pointwise_conv" if max(kernel, default=1) == 1 else "conv"


def record_conv(
    rec: Recorder,
    op: str,
    operands: Sequence[Tensor],
    out: Tensor,
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    transposed: bool = False,
) -> None:
    """Record a convolution; `operands` are input, weight and, where there is one, bias.

    MACs: each output element of a convolution takes (input channels / groups) x kernel products;
    a transposed one spreads each input element over (output channels / groups) x kernel.
    """
    weight = operands[1].shape
    kernel = tuple(weight[2:])
    per_element = weight[1] * math.prod(kernel)
    kind: Kind = "transposed_conv" if transposed else conv_kind(kernel, groups, weight[1] * groups)
    rec.layer(
        kind,
        op,
        operands,
        (out,),
        macs=(operands[0] if transposed else out).numel() * per_element,
        kernel=kernel,
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
    )


def conv(
    rec: Recorder,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """Record a convolution that is not transposed; its padding must be numbers."""
    shape, w = input.shape, weight.shape
    n = len(w) - 2
    if isinstance(padding, str) or len(shape) != n + 2 or shape[1] != w[1] * groups:
        return NotImplemented
    tuples = type(stride) is type(padding) is type(dilation) is tuple
    if not tuples or not len(stride) == len(padding) == len(dilation) == n:  # not a module's
        stride, padding, dilation = per_side(stride, n), per_side(padding, n), per_side(dilation, n)
    size = [
        (shape[i + 2] + 2 * padding[i] - dilation[i] * (w[i + 2] - 1) - 1) // stride[i] + 1
        for i in range(n)
    ]
    if min(size, default=1) < 1 or input.dtype != weight.dtype or w[0] % groups:
        return NotImplemented
    out = rec.empty((shape[0], w[0], *size), input)
    operands = (input, weight) if bias is None else (input, weight, bias)
    record_conv(
        rec,
        func.__name__,
        operands,
        out,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    return out


def linear(
    rec: Recorder, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None
) -> Any:
    """Record a product of an input and a weight matrix."""
    shape, w = input.shape, weight.shape
    if len(w) != 2 or not shape or shape[-1] != w[1] or input.dtype != weight.dtype:
        return NotImplemented
    out = rec.empty((*shape[:-1], w[0]), input)
    operands = (input, weight) if bias is None else (input, weight, bias)
    rec.layer("linear", "linear", operands, (out,), macs=out.numel() * w[1])
    return out


def matmul(
    rec: Recorder, func: Any, input: Tensor, other: Tensor | None = None, **kwargs: Any
) -> Any:
    """Record a matrix product, batches broadcast."""
    if other is None or kwargs:  # bmm and mm have another name for it; out=
        return NotImplemented
    a, b = input.shape, other.shape
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2] or input.dtype != other.dtype:
        return NotImplemented
    batch = a[:-2] if a[:-2] == b[:-2] else broadcast(a[:-2], b[:-2])
    if batch is None:
        return NotImplemented
    out = rec.empty((*batch, a[-2], b[-1]), input)
    record_product(rec, func.__name__, (input, other), out, a[-1])
    return out


def record_product(
    rec: Recorder, op: str, operands: Sequence[Tensor], out: Tensor, depth: int
) -> None:
    """Record a matrix product with `depth` multiply-adds per output element.

    It is `linear` when one operand is a weight, `matmul` when both are activations.
    """
    kind: Kind = "linear" if any(rec.is_weight(t) for t in operands) else "matmul"
    rec.layer(kind, op, operands, (out,), macs=out.numel() * depth)


def attention(
    rec: Recorder,
    func: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    """Count both products in full; a causal mask saves nothing (kernels differ in what they skip).

    With `enable_gqa` the heads of key and value are repeated, so the query's heads decide.
    """
    q, k, v = query.shape, key.shape, value.shape
    if min(len(q), len(k), len(v)) < 2 or q[-1] != k[-1] or k[:-1] != v[:-1]:
        return NotImplemented
    heads = enable_gqa and len(q) == len(k) > 2 and q[-3] % k[-3] == 0
    if q[:-2] != k[:-2] and not (heads and q[:-3] == k[:-3]):
        return NotImplemented
    scores = (*q[:-1], k[-2])
    if attn_mask is not None and broadcast(scores, attn_mask.shape) != scores:
        return NotImplemented
    out = rec.empty((*q[:-1], v[-1]), query)
    operands = [query, key, value] if attn_mask is None else [query, key, value, attn_mask]
    macs = math.prod(q[:-1]) * k[-2] * (q[-1] + v[-1])
    rec.layer("attention", "scaled_dot_product_attention", operands, (out,), macs=macs)
    return out


def recurrent(rec: Recorder, func: Any, input: Tensor, hx: Any, weights: Any, *rest: Any) -> Any:
    """Record an LSTM, GRU or plain recurrent stack as one layer, all its time steps.

    Every weight matrix multiplies one vector per time step and sequence.
    """
    packed = isinstance(hx, Tensor) if func is torch.lstm else isinstance(weights, Tensor)
    if packed:  # (data, batch_sizes, hx, weights, ...)
        return NotImplemented
    states = list(tensors_in(hx))
    directions = 2 if rest[4] else 1
    out = rec.empty((*input.shape[:-1], directions * states[0].shape[-1]), input)
    finals = [rec.empty(state.shape, state) for state in states]
    steps = math.prod(input.shape[:-1])
    macs = steps * sum(w.numel() for w in weights if w.dim() == 2)
    rec.layer("rnn", func.__name__, [input, *states, *weights], [out, *finals], macs=macs)
    return (out, *finals)


def per_side(value: Any, n: int) -> tuple[int, ...]:
    """Return one number for each of `n` sides."""
    if isinstance(value, int):
        return (value,) * n
    return tuple(value) if len(value) == n else (value[0],) * n


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """Return the shape of an element-wise result; None where the shapes do not fit."""
    if len(a) < len(b):
        a, b = b, a
    padded = (1,) * (len(a) - len(b)) + tuple(b)
    shape = tuple(y if x == 1 else x for x, y in zip(a, padded, strict=True))
    fits = all(y in (1, s) for y, s in zip(padded, shape, strict=True))
    return shape if fits else None
