"""Shapes of the inputs of network files, whose sizes may be left open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import SpecError
from .workload import Shape


def fitted(
    path: Path, name: str, fixed: Sequence[int | None], asked: Shape | None
) -> tuple[int, ...]:
    """Return the shape of one input: fixed sizes as exported, open ones (None) as asked.

    An open first size that nothing else is asked for is the batch: 1, as costs are for one input.

    Raises:
        SpecError: If another size is open and none is asked for, or one is asked for that is
            fixed, or a size is 0.
    """
    written = "x".join("?" if size is None else str(size) for size in fixed)
    sizes = list(fixed)
    if asked is None:
        if sizes and sizes[0] is None:
            sizes[0] = 1
        if None in sizes:
            raise SpecError(
                f"{path}: the sizes of input {name} ({written}) are open, and costs need them; "
                "give its shape, for example --input 1x3x224x224"
            )
        asked = tuple(size for size in sizes if size is not None)
    matches = len(asked) == len(fixed) and all(
        size in (None, want) for size, want in zip(fixed, asked, strict=True)
    )
    if not matches:
        raise SpecError(
            f"{path}: input {name} was exported as {written}, got {'x'.join(map(str, asked))}; "
            "only sizes shown as ? can be chosen"
        )
    if 0 in asked:
        raise SpecError(f"{path}: every size of an input must be at least 1, got {written}")
    return asked
