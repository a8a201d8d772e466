"""Which dimensions of which tensors must have the same size: a union of axes.

A dimension is a product of axes, the outermost first: flattening (channels, 4, 4) gives one
dimension of three axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import TypeAlias


class Axis:
    """A size that tensors share; either it may be narrowed, or there is a reason why not.

    Args:
        size: The number of its elements.
        reason: Why it must keep them; empty where it may be narrowed.
    """

    def __init__(self, size: int, reason: str = "") -> None:
        self.size = size
        self._reason = reason
        self._same: Axis | None = None

    @property
    def root(self) -> Axis:
        """The axis that stands for all that are joined with this one."""
        axis = self
        while axis._same is not None:
            axis = axis._same
        return axis

    @property
    def reason(self) -> str:
        """Why it must keep its size; empty where it may be narrowed."""
        return self.root._reason

    def join(self, other: Axis) -> None:
        """Make both one: where one is narrowed, so is the other."""
        mine, theirs = self.root, other.root
        if mine is not theirs:
            theirs._same = mine
            mine._reason = mine._reason or theirs._reason

    def freeze(self, reason: str) -> None:
        """Let it keep its size from now on."""
        self.root._reason = self.root._reason or reason


Dim: TypeAlias = tuple[Axis, ...]  # their product; () is a dimension of size 1
Dims: TypeAlias = tuple[Dim, ...]


def frozen(shape: Sequence[int], reason: str) -> Dims:
    """Return the dimensions of a tensor none of which may be narrowed."""
    return tuple((Axis(n, reason),) if n != 1 else () for n in shape)


def freeze(dims: Iterable[Dim], reason: str) -> None:
    """Freeze every axis of some dimensions."""
    for dim in dims:
        for axis in dim:
            axis.freeze(reason)


def join(first: Dim, second: Dim, reason: str) -> None:
    """Make two dimensions of one size one; freeze them where their axes do not match."""
    if [a.size for a in first] == [b.size for b in second]:
        for a, b in zip(first, second, strict=True):
            a.join(b)
    else:
        freeze((first, second), reason)


def regroup(dims: Dims, shape: Sequence[int], reason: str) -> Dims:
    """Return the dimensions of a reshaped tensor; axes that are split are frozen."""
    queue = [axis for dim in dims for axis in dim]
    found: list[Dim] = []
    whole = True
    for n in shape:
        taken: list[Axis] = []
        while whole and queue and prod(a.size for a in taken) < n:
            taken.append(queue.pop(0))
        if whole and prod(a.size for a in taken) == n:
            found.append(tuple(taken))
            continue
        whole = False  # from here on the tensor is cut across its axes
        freeze((tuple(taken), tuple(queue)), reason)
        found.append((Axis(n, reason),) if n != 1 else ())
    return tuple(found)
