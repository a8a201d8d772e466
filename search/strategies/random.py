"""Uniform random search without replacement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from ...spaces import Architecture
from ..strategy import Candidate, Context, Result, Strategy
from .fresh import FreshDraws


class RandomSearch(Strategy):
    """Draw architectures uniformly, never the same one twice.

    The baseline that every method must beat. Repeats are refused because draws with replacement
    waste budget on small spaces; a small space is walked to its very last architecture.

    Source: Li & Talwalkar, arXiv:1902.07638.

    Args:
        batch: Candidates asked for at once.
    """

    name: ClassVar[str] = "random"

    def __init__(self, *, batch: Annotated[int, Field(ge=1)] = 32) -> None:
        self.batch = batch

    def prepare(self, context: Context) -> None:
        """Take the context; nothing is trained."""
        super().prepare(context)
        self._fresh = FreshDraws(context)

    def ask(self, n: int) -> list[Candidate]:
        """Return up to `n` new architectures; fewer only when the space runs dry."""
        taken: dict[Architecture, None] = {}
        while len(taken) < n and (drawn := self._fresh.draw(taken)) is not None:
            taken[drawn] = None
        return [Candidate(architecture) for architecture in taken]

    def tell(self, results: Sequence[Result]) -> None:
        """Learn nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the draw counter."""
        return self._fresh.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._fresh.load_state_dict(state)
