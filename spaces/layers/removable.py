"""Blocks of which some may be left out, each on its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ...errors import SpecError
from .mutable import Choice, Context, Mutable

Needs = tuple[Choice, ...]


class Removable(Mutable):
    """Blocks one after the other, without those that are left out.

    Decisions inside a block exist only while it runs.

    Args:
        blocks: All keep the shape.
        needs: For each block, the choices (among 1 and 0) that must all be 1 for it to run; none:
            it always runs. One choice may stand at several blocks, and a block may need that of
            another one to be there.

    Raises:
        SpecError: If the numbers differ, or a choice has other options.
    """

    def __init__(self, blocks: Sequence[nn.Module], needs: Sequence[Needs]) -> None:
        super().__init__()
        if len(blocks) != len(needs):
            raise SpecError(f"there are {len(blocks)} blocks, but choices for {len(needs)}")
        self.blocks, self.needs = nn.ModuleList(blocks), [tuple(choices) for choices in needs]
        for choice in self.choices:
            if strange := [o for o in choice.options if o not in (0, 1)]:
                raise SpecError(
                    f"{choice.name}: a block is there (1) or not (0), got the option {strange[0]!r}"
                )

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What decides about blocks, each choice once."""
        return tuple(dict.fromkeys(choice for choices in self.needs for choice in choices))

    def forward(self, x: Any) -> Any:
        """Return the output of the last block that runs; `x` if none does."""
        if self.together:
            return self._together(x)
        for block in self._running():
            x = block(x)
        return x

    def _running(self) -> list[nn.Module]:
        pairs = zip(self.blocks, self.needs, strict=True)
        return [block for block, choices in pairs if all(choice.value for choice in choices)]

    def _together(self, x: Any) -> Any:
        """Run each block for the samples that have it; the others keep their values."""
        n = len(x)
        for block, choices in zip(self.blocks, self.needs, strict=True):
            columns = [choice.each(n) for choice in choices]
            runs = [all(column[i] for column in columns) for i in range(n)]
            if all(runs):
                x = block(x)
            elif any(runs):
                y = block(x)
                mine = torch.tensor(runs, device=x.device).view(n, *(1,) * (y.dim() - 1))
                x = torch.where(mine, y, x)
        return x

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each block with the choices that it needs."""
        for block, choices in zip(self.blocks, self.needs, strict=True):
            yield block, {choice: tuple(o for o in choice.options if o) for choice in choices}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the blocks that run."""
        return nn.Sequential(*self._running())


def removable(blocks: Sequence[nn.Module], needs: Sequence[Needs] | None) -> nn.Module:
    """Return blocks one after the other, some of them removable; see `Removable`.

    Args:
        blocks: All keep the shape.
        needs: As `Removable` takes them; None: nothing is left to choose.
    """
    return nn.Sequential(*blocks) if needs is None else Removable(blocks, needs)
