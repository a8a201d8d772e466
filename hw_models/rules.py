"""What common torch functions do to shapes, without asking torch's own (slow) meta kernels.

Each rule takes the recorder, the function and the call's arguments, records layers and returns
the result; `NotImplemented` sends the call to the general path (`aten.py`), which is also where a
wrong shape gets torch's own error message.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from . import product_rules as products
from .op_names import ACTIVATIONS, ELEMENTWISE, MUL_ZERO, VIEW_GETTERS, VIEWS
from .product_rules import broadcast, per_side
from .recorder import Recorder, tensors_in
from .shape_rules import windows
from .view_rules import bounds, moved
from .workload import Kind

Rule: TypeAlias = Callable[..., Any]
_PRODUCTS = ("mul", "imul", "rmul", "multiply")


def _norm(kind_of_shape: str) -> Rule:
    """Return the rule of a normalisation; the shape stays."""

    def rule(rec: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        weights = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
        shape: tuple[int, ...] = input.shape
        if kind_of_shape == "channels":  # (batch, channels, ...); vectors of one per channel
            size = shape[1:2]
            known = len(size) == 1
        else:  # the trailing dimensions
            size = tuple(args[0] if args else kwargs["normalized_shape"])
            known = shape[len(shape) - len(size) :] == size
        if not known:
            return NotImplemented
        for tensor in weights:
            if tensor.shape != size:
                return NotImplemented
        if func is F.group_norm and input.shape[1] % (args[0] if args else kwargs["num_groups"]):
            return NotImplemented
        out = _same_shape(rec, input)
        rec.layer("norm", func.__name__, [input, *weights], (out,))
        return out

    return rule


def _unary(kind: Kind) -> Rule:
    """Return the rule of a function of each element of a floating-point tensor."""

    def rule(
        rec: Recorder, func: Any, input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any
    ) -> Any:
        if not isinstance(input, Tensor) or not input.dtype.is_floating_point:  # pow(2, x)
            return NotImplemented
        if kwargs.get("dtype") is not None or kwargs.get("out") is not None:
            return NotImplemented
        if kind == "softmax" and len(args) > 1:  # (dim, dtype)
            return NotImplemented
        name = func.__name__
        inside = inplace or name.endswith("_")
        weights = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]  # of prelu
        if (inside and rec.is_weight(input)) or (weights and kind != "activation"):
            return NotImplemented
        out = input if inside else _same_shape(rec, input)
        rec.layer(kind, name.removesuffix("_"), [input, *weights], (out,))
        return out

    return rule


def _binary(kind: Kind) -> Rule:
    """Return the rule of an element-wise function of two operands of one type, broadcast."""

    def rule(rec: Recorder, func: Any, input: Any, other: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(input, Tensor) or not input.dtype.is_floating_point or kwargs:
            return NotImplemented
        name = func.__name__
        inside = name.endswith("_") or name.startswith("__i")
        operands: tuple[Tensor, ...] = (input,)
        shape: Sequence[int] | None = input.shape
        if isinstance(other, Tensor):
            if other.dtype != input.dtype:
                return NotImplemented
            operands = (input, other)
            if other.shape != shape:
                shape = broadcast(input.shape, other.shape)
        elif not isinstance(other, int | float):
            return NotImplemented
        if shape is None or (inside and (rec.is_weight(input) or shape != input.shape)):
            return NotImplemented
        out = input if inside else _shaped(rec, shape, operands)
        op = name.strip("_")
        if op in _PRODUCTS and not isinstance(other, Tensor) and other == 0:
            op = MUL_ZERO
        rec.layer(kind, op, operands, (out,))
        return out

    return rule


def _concat(
    rec: Recorder, func: Any, tensors: Sequence[Tensor], dim: int = 0, **kwargs: Any
) -> Any:
    first = tensors[0].shape if len(tensors) else ()
    if kwargs or not first or not -len(first) <= dim < len(first):
        return NotImplemented
    dim %= len(first)
    others = (*first[:dim], *first[dim + 1 :])
    for t in tensors:
        s = t.shape
        if (*s[:dim], *s[dim + 1 :]) != others or len(s) != len(first):
            return NotImplemented
        if t.dtype != tensors[0].dtype:
            return NotImplemented
    total = sum(t.shape[dim] for t in tensors)
    out = rec.empty((*first[:dim], total, *first[dim + 1 :]), tensors[0])
    rec.layer("concat", "cat", tensors, (out,), axes=(dim,))
    return out


def _reduce(
    rec: Recorder, func: Any, input: Tensor, dim: Any = None, keepdim: bool = False, **kwargs: Any
) -> Any:
    if kwargs or not input.dtype.is_floating_point:
        return NotImplemented
    n = input.dim()
    axes = range(n) if dim is None or dim == () else [dim] if isinstance(dim, int) else dim
    if not all(isinstance(a, int) and -n <= a < n for a in axes):
        return NotImplemented
    gone = {a % n for a in axes}
    if len(gone) != len(axes):
        return NotImplemented
    shape = [1 if i in gone else s for i, s in enumerate(input.shape) if keepdim or i not in gone]
    out = rec.empty(shape, input)
    rec.layer("reduce", func.__name__, (input,), (out,), axes=tuple(sorted(gone)))
    return out


def _pool(n: int) -> Rule:
    """Return the rule of a max or average pool with a window, over `n` dimensions."""

    def rule(
        rec: Recorder,
        func: Any,
        input: Tensor,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        *args: Any,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
        **kwargs: Any,
    ) -> Any:
        shape = input.shape
        ceil = bool(args[0] if args else ceil_mode)  # args: of an average pool
        if return_indices or len(shape) != n + 2:
            return NotImplemented
        kernel = per_side(kernel_size, n)
        steps = per_side(stride, n) if stride not in (None, (), []) else kernel
        pads, dilations = per_side(padding, n), per_side(dilation, n)
        rows = list(zip(shape[2:], kernel, steps, pads, dilations, strict=True))
        size = [windows(h, k, s, p, d, ceil) for h, k, s, p, d in rows]
        if min(size) < 1 or any(2 * p > k for _, k, _, p, _ in rows):
            return NotImplemented
        out = rec.empty((*shape[:2], *size), input)
        rec.layer(
            "pool",
            _pool_name(func, n),
            (input,),
            (out,),
            kernel=kernel,
            stride=steps,
            padding=pads,
            dilation=dilations,
            ceil=ceil,
            sized=rec.sized,
        )
        return out

    return rule


def _max_pool(n: int) -> Rule:
    """Return the rule of torch's own max pool over `n` dimensions, whose arguments have no names.

    Those of `nn.functional` come with names.
    """
    pool = _pool(n)

    def rule(
        rec: Recorder,
        func: Any,
        input: Tensor,
        kernel_size: Any,
        stride: Any = (),
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
    ) -> Any:
        sizes = (kernel_size, stride, padding)
        return pool(rec, func, input, *sizes, dilation=dilation, ceil_mode=ceil_mode)

    return rule


def _adaptive_pool(rec: Recorder, func: Any, input: Tensor, output_size: Any) -> Any:
    shape, n = input.shape, int(func.__name__[-2])
    if len(shape) != n + 2:
        return NotImplemented
    wanted = output_size if isinstance(output_size, list | tuple) else (output_size,) * n
    size = [h if w is None else w for h, w in zip(shape[2:], wanted, strict=True)]
    out = rec.empty((*shape[:2], *size), input)
    # the windows differ by one where the sizes do not divide; the largest is -(-h // w)
    kernel = tuple(-(-h // w) for h, w in zip(shape[2:], size, strict=True))
    stride = tuple(h // w for h, w in zip(shape[2:], size, strict=True))
    rec.layer(
        "pool", func.__name__, (input,), (out,), kernel=kernel, stride=stride, sized=rec.sized
    )
    return out


def plain(kind: Kind) -> Rule:
    """Return the rule that runs the function on meta tensors and records it as one layer.

    Results that share memory with the first operand are views; a result that is an operand itself
    (dropout outside training) is no layer at all.
    """

    def rule(rec: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = rec.twins(args), rec.twins(kwargs)
        out = func(*args, **kwargs)
        operands = list(tensors_in((args, kwargs)))
        results = list(tensors_in(out))
        name = getattr(func, "__name__", str(func))
        if name == "__get__":
            name = func.__self__.__name__
        inside = name.endswith("_") and not name.endswith("__")
        if not inside and any(r is o for r in results for o in operands):
            return out
        memory = operands[0].untyped_storage()._cdata
        view = not inside and all(r.untyped_storage()._cdata == memory for r in results)
        axes = moved(name, args, operands[0].dim()) if kind == "reshape" else ()
        cut = bounds(args[1], operands[0].dim()) if name == "__getitem__" and not axes else ()
        sized = rec.sized and (kind in ("pad", "resize") or bool(cut))
        op = name.strip("_")
        rec.layer(kind, op, operands, results, view=view, axes=axes, bounds=cut, sized=sized)
        return out

    return rule


def _resize(rec: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Resize; a whole factor is recorded as the layer's stride."""
    args, kwargs = rec.twins(args), rec.twins(kwargs)
    given = rec.twins(input)
    out = func(given, *args, **kwargs)
    factor = kwargs.get("scale_factor", args[1] if len(args) > 1 else None)
    n = input.dim() - 2
    factors = [factor] * n if isinstance(factor, int | float) else list(factor or ())
    whole = bool(factors) and all(float(f).is_integer() for f in factors)
    stride = tuple([int(f) for f in factors]) if whole else ()
    rec.layer("resize", func.__name__, (given,), (out,), stride=stride, sized=rec.sized)
    return out


def _set_item(rec: Recorder, func: Any, input: Tensor, index: Any, value: Any) -> None:
    index, value = rec.twins(index), rec.twins(value)
    func(rec.twin(input), index, value)
    rec.layer("reshape", "copy", [input, *tensors_in((index, value))], (input,))


def _dropout(rec: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    return NotImplemented if kwargs.get("training", True) else input


def _cast(rec: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Change the type only: every tensor of a trace lives on the meta device."""
    given = (*args, *kwargs.values())
    dtype = next((v for v in given if isinstance(v, torch.dtype)), None)
    dtype = next((v.dtype for v in given if isinstance(v, Tensor)), dtype)
    if dtype is None or dtype == input.dtype:
        return input
    out = torch.empty(input.shape, dtype=dtype, device="meta")
    rec.layer("elementwise", "cast", (input,), (out,))
    return out


def _device(rec: Recorder, func: Any, input: Tensor) -> torch.device:
    """Say `cpu`: where the twins of all tensors lie is no business of the network's."""
    return torch.device("cpu")


def _same_shape(rec: Recorder, tensor: Tensor) -> Tensor:
    if tensor.is_contiguous():
        return rec.empty(tensor.shape, tensor)
    return torch.empty_like(tensor, device="meta")  # keeps the order of the dimensions


def _shaped(rec: Recorder, shape: Sequence[int], operands: Sequence[Tensor]) -> Tensor:
    like = operands[0]
    if like.shape == shape:
        return _same_shape(rec, like)
    return rec.empty(shape, like)


def _pool_name(func: Any, n: int) -> str:
    name = func.__name__
    return name if name != "fn" else f"max_pool{n}d"


def _methods(*names: str) -> list[Any]:
    """Return the functions of these names in torch, torch.Tensor and torch.nn.functional."""
    found = []
    for name in names:
        for holder in (torch, Tensor, F):
            if (function := getattr(holder, name, None)) is not None:
                found.append(function)
    return found


def _table() -> dict[Any, Rule]:
    groups: list[tuple[Rule, list[Any]]] = [
        (products.conv, [F.conv1d, F.conv2d, F.conv3d]),
        (products.linear, [F.linear]),
        (products.matmul, _methods("matmul", "bmm", "mm", "__matmul__")),
        (products.attention, [F.scaled_dot_product_attention]),
        (products.recurrent, [torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu]),
        (_norm("channels"), [F.batch_norm, F.group_norm, F.instance_norm]),
        (_norm("trailing"), [F.layer_norm, F.rms_norm]),
        (_unary("softmax"), _methods("softmax", "log_softmax")),
        (_binary("add"), _methods(*_spellings("add", "sub"), "subtract")),
        (_binary("mul"), _methods(*_spellings("mul", "div", "truediv"), "multiply", "divide")),
        (_concat, _methods("cat", "concat", "concatenate")),
        (_reduce, _methods("mean", "sum")),
        (_dropout, _methods("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout")),
        (_cast, [Tensor.to, Tensor.cpu, Tensor.cuda, Tensor.type_as]),
        (_set_item, [Tensor.__setitem__]),
        (_device, [Tensor.device.__get__]),
        (plain("reduce"), _methods("amax", "amin", "argmax", "argmin", "var", "std", "norm")),
        (plain("pad"), [F.pad]),
        (_resize, [F.interpolate]),
        (plain("resize"), [F.pixel_shuffle, F.pixel_unshuffle]),
        (plain("embedding"), [F.embedding]),
        (plain("index"), _methods("gather", "index_select", "take_along_dim", "sort", "topk")),
        (plain("concat"), _methods("stack", "hstack", "vstack")),
        (plain("norm"), [F.normalize]),
        (plain("reshape"), [*_methods(*VIEWS), Tensor.__getitem__, *_view_getters()]),
        (_unary("activation"), _methods(*ACTIVATIONS, *(f"{a}_" for a in ACTIVATIONS))),
        (_unary("elementwise"), _methods(*ELEMENTWISE, *(f"{a}_" for a in ELEMENTWISE))),
    ]
    for n in (1, 2, 3):
        pools = [getattr(F, f"max_pool{n}d"), getattr(F, f"avg_pool{n}d")]
        groups += [(_pool(n), pools), (_max_pool(n), [getattr(torch, f"max_pool{n}d")])]
    adaptive = [F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d]
    groups.append((_adaptive_pool, adaptive))
    return {function: rule for rule, functions in groups for function in functions}


def _spellings(*names: str) -> list[str]:
    return [s for n in names for s in (n, f"{n}_", f"__{n}__", f"__i{n}__", f"__r{n}__")]


def _view_getters() -> list[Any]:
    return [getattr(Tensor, name).__get__ for name in VIEW_GETTERS]


RULES: dict[Any, Rule] = _table()
