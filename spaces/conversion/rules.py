"""What functions do to axes: one rule a function, by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from .axes import Axis, Dim, Dims, freeze, frozen, join, regroup

Known: TypeAlias = Callable[[Tensor], Dims]
Rule: TypeAlias = Callable[[str, Known, tuple[Any, ...], dict[str, Any], Tensor], Dims]

_POINTWISE = (
    "abs add celu clamp clamp_min clamp_max div elu exp gelu hardsigmoid hardswish hardtanh iadd "
    "imul isub leaky_relu log logsigmoid maximum minimum mish mul multiply neg pow radd relu relu6 "
    "rmul rsub rsqrt selu sigmoid silu softplus softsign sqrt square sub subtract tanh truediv "
    "itruediv true_divide"
)
_SAME = (
    "alpha_dropout clone contiguous detach dropout dropout1d dropout2d float log_softmax softmax to"
)
_POOLS = (
    "adaptive_avg_pool2d adaptive_max_pool2d avg_pool2d interpolate lp_pool2d max_pool2d pad "
    "upsample"
)
_REDUCTIONS = "mean sum amax amin"


def rule_for(name: str) -> Rule | None:
    """Return the rule of a function, `relu` and `relu_` and `__add__` alike; None: unknown."""
    return _RULES.get(name.strip("_"))


def _pointwise(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Join the dimensions of all tensors that are combined, with broadcasting."""
    inputs = [known(t) for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
    dims: list[Dim] = []
    for place in range(1, result.dim() + 1):
        here = [d[-place] for d in inputs if len(d) >= place and d[-place]]
        for other in here[1:]:
            join(here[0], other, f"{name} combines dimensions made of different axes")
        dims.append(here[0] if here else ())
    return tuple(reversed(dims))


def _same(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    return known(args[0] if args else kwargs["input"])


def _pool(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Keep batch and channels; the sides are new."""
    dims = known(args[0])
    if name == "pad" and len(args[1]) > 4:
        return _unknown(name, known, args, kwargs, result)
    return (*dims[:-2], *frozen(result.shape[-2:], "it is a side of an image"))


def _reduce(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Drop the dimensions that are averaged, summed, ... over."""
    dims = known(args[0])
    over = kwargs.get("dim", args[1] if len(args) > 1 else None)
    keep = kwargs.get("keepdim", args[2] if len(args) > 2 else False)
    if over is None:
        return ()
    gone = {d % len(dims) for d in (over if isinstance(over, Sequence) else (over,))}
    kept = [() if i in gone else dim for i, dim in enumerate(dims) if keep or i not in gone]
    return tuple(kept)


def _reshape(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    return regroup(known(args[0]), result.shape, f"{name} cuts across it")


def _permute(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    order = args[1] if len(args) == 2 and isinstance(args[1], Sequence) else args[1:]
    order = kwargs.get("dims", order)
    dims = known(args[0])
    return tuple(dims[i] for i in order)


def _transpose(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    dims = list(known(args[0]))
    a, b = args[1:3] if len(args) > 2 else (kwargs["dim0"], kwargs["dim1"])
    dims[a], dims[b] = dims[b], dims[a]
    return tuple(dims)


def _cat(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Join all dimensions but the one along which tensors are put together."""
    tensors = [known(t) for t in args[0]]
    along = kwargs.get("dim", args[1] if len(args) > 1 else 0) % result.dim()
    for dims in tensors[1:]:
        for i, (a, b) in enumerate(zip(tensors[0], dims, strict=True)):
            if i != along:
                join(a, b, "tensors that are concatenated are made of different axes")
    reason = "it is concatenated with others"
    freeze((dims[along] for dims in tensors), reason)
    merged = tensors[0]
    n = result.shape[along]
    return (*merged[:along], (Axis(n, reason),) if n != 1 else (), *merged[along + 1 :])


def _getitem(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Drop what an integer picks; a slice freezes what it cuts."""
    dims = known(args[0])
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if not all(i is None or isinstance(i, int | slice) for i in index) or len(index) > len(dims):
        return _unknown(name, known, args, kwargs, result)
    found: list[Dim] = []
    rest = iter(dims)
    for i in index:
        if i is None:
            found.append(())
            continue
        dim = next(rest)
        if isinstance(i, int):
            freeze((dim,), "an index picks one of its elements")
        elif i == slice(None):
            found.append(dim)
        else:
            freeze((dim,), "it is sliced")
            n = result.shape[len(found)]
            found.append((Axis(n, "it is sliced"),) if n != 1 else ())
    return (*found, *rest)


def _expand(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    dims = known(args[0])
    new = frozen(result.shape, "it is expanded to this size")
    dims = (*((),) * (len(new) - len(dims)), *dims)
    return tuple(dim or made for dim, made in zip(dims, new, strict=True))


def _unknown(
    name: str, known: Known, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
) -> Dims:
    """Freeze everything that goes in and comes out."""
    reason = f"it goes through {name}, which may depend on its size"
    for value in (*args, *kwargs.values()):
        for tensor in value if isinstance(value, list | tuple) else (value,):
            if isinstance(tensor, Tensor):
                freeze(known(tensor), reason)
    return frozen(result.shape, reason)


unknown = _unknown
_RULES: dict[str, Rule] = {
    **dict.fromkeys(_POINTWISE.split(), _pointwise),
    **dict.fromkeys(_SAME.split(), _same),
    **dict.fromkeys(_POOLS.split(), _pool),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(("flatten", "reshape", "squeeze", "unsqueeze", "view"), _reshape),
    **dict.fromkeys(("permute",), _permute),
    **dict.fromkeys(("transpose", "swapaxes"), _transpose),
    **dict.fromkeys(("expand", "broadcast_to"), _expand),
    **dict.fromkeys(("getitem",), _getitem),
    **dict.fromkeys(("cat", "concat", "concatenate"), _cat),
}
