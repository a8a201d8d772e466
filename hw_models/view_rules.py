"""What views and slices take from a tensor, read from the arguments that they are called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def moved(name: str, args: Sequence[Any], rank: int) -> tuple[int, ...]:
    """Return which dimensions a view takes from its tensor; nothing where its name does not tell.

    Args:
        name: Of the operator.
        args: Its positional arguments, the tensor first.
        rank: Number of the tensor's dimensions.
    """
    order = list(range(rank))
    if name in ("transpose", "swapaxes", "swapdims") and len(args) == 3:
        a, b = args[1] % rank, args[2] % rank
        order[a], order[b] = order[b], order[a]
    elif name in ("mT", "t") and rank > 1:
        order[-2:] = reversed(order[-2:])
    elif name == "T":
        order.reverse()
    elif name == "permute" and len(args) > 1:
        order = [d % rank for d in (args[1:] if isinstance(args[1], int) else args[1])]
    elif name in ("unbind", "select") and len(args) == (2 if name == "unbind" else 3):
        order.remove(args[1] % rank)
    elif name == "__getitem__":
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        if not all(isinstance(i, int) or i == slice(None) for i in index):
            return ()
        order = [d for d in order if d >= len(index) or not isinstance(index[d], int)]
    else:
        return ()
    return tuple(order)


def bounds(index: Any, rank: int) -> tuple[tuple[int | None, int | None, int | None], ...]:
    """Return what an index takes of each dimension; nothing where it is no integers and slices."""
    parts = list(index) if isinstance(index, tuple) else [index]
    if sum(part is Ellipsis for part in parts) == 1:
        here = next(i for i, part in enumerate(parts) if part is Ellipsis)
        parts[here : here + 1] = [slice(None)] * (rank - len(parts) + 1)
    parts += [slice(None)] * (rank - len(parts))
    found = [(p, None, 0) if type(p) is int else _ends(p) for p in parts]
    return tuple([f for f in found if f is not None]) if None not in found else ()


def _ends(part: Any) -> tuple[int | None, int | None, int | None] | None:
    """Return the numbers of a slice; None for anything else."""
    if not isinstance(part, slice):
        return None
    ends = (part.start, part.stop, part.step)
    return ends if all(e is None or type(e) is int for e in ends) else None
