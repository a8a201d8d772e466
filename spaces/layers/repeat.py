"""A choice of depth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ...errors import SpecError
from .mutable import Choice, Context, Mutable


class Repeat(Mutable):
    """The first so many of a list of blocks, one after the other.

    Decisions inside a block exist only at the depths that run it.

    Args:
        choice: Name of the decision, or a `Choice` among numbers of blocks.
        blocks: As many as the largest depth; all but the first keep the shape.
        depths: The numbers of blocks to choose from, 1 to all by default.

    Raises:
        SpecError: If a depth is none of 0 .. number of blocks.
    """

    def __init__(
        self,
        choice: str | Choice,
        blocks: Iterable[nn.Module],
        depths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        if isinstance(choice, str):
            choice = Choice(choice, depths or range(1, len(self.blocks) + 1), ordered=True)
        elif depths is not None:
            raise SpecError(f"{choice.name}: a Choice already says the depths; leave them out")
        self.choice = choice
        for depth in choice.options:
            if not isinstance(depth, int) or not 0 <= depth <= len(self.blocks):
                raise SpecError(
                    f"{choice.name}: a depth must be one of 0 .. {len(self.blocks)}, the number of "
                    f"blocks; got {depth!r}"
                )
        if choice.max < len(self.blocks):
            raise SpecError(
                f"{choice.name}: there are {len(self.blocks)} blocks but no depth runs more than "
                f"{choice.max}; leave the others out"
            )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of depth."""
        return (self.choice,)

    def forward(self, x: Any) -> Any:
        """Return the output of the last block that runs."""
        if self.together:
            return self._together(x)
        for i in range(self.choice.value):
            x = self.blocks[i](x)
        return x

    def _together(self, x: Any) -> Any:
        """Run each block for the samples whose depth reaches it; the others keep their values."""
        depths = torch.tensor(self.choice.each(len(x)), device=x.device)
        for i in range(int(depths.max())):
            y = self.blocks[i](x)
            if i < int(depths.min()):
                x = y
            else:
                runs = (depths > i).view(len(x), *(1,) * (y.dim() - 1))
                x = torch.where(runs, y, x)
        return x

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each block with the depths that run it."""
        depths = self.choice.options
        for i, block in enumerate(self.blocks):
            running = tuple(d for d in depths if isinstance(d, int) and d > i)
            yield block, {} if len(running) == len(depths) else {self.choice: running}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the blocks that run."""
        return nn.Sequential(*self.blocks[: self.choice.value])
