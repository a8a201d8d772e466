"""Regularized (ageing) evolution."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...errors import SpecError
from ...spaces import Architecture
from ..strategy import Candidate, Context, Result, Strategy
from .children import fresh_mutant
from .fresh import FreshDraws
from .merit import merit


class RegularizedEvolution(Strategy):
    """Keep the youngest architectures; the best of a random sample has a child; the oldest dies.

    Dying of age, not of weakness, keeps a lucky measurement from ruling the population. The sample
    is drawn with replacement and the mutation always changes the architecture, as in Algorithm 1
    of the paper. Deviation: a child that was evaluated before is drawn again, since its value is
    known already. Infeasible, pruned and failed architectures enter the population and age out of
    it, but lose every tournament against a feasible one.

    Source: Real et al., arXiv:1802.01548.

    Args:
        population: How many live.
        sample: How many compete to be the parent.
        batch: Children asked for at once; 1 is the paper's sequential method.

    Raises:
        SpecError: If the sample is larger than the population.
    """

    name: ClassVar[str] = "regularized_evolution"
    objectives: ClassVar[Literal["single", "multi", "any"]] = "single"

    def __init__(
        self,
        *,
        population: Annotated[int, Field(ge=1)] = 20,
        sample: Annotated[int, Field(ge=1)] = 20,
        batch: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        if sample > population:
            raise SpecError(
                f"sample must be at most population, got {sample} of {population}; lower sample"
            )
        self.population, self.sample, self.batch = population, sample, batch

    def prepare(self, context: Context) -> None:
        """Take the context; nothing is trained."""
        super().prepare(context)
        self._fresh = FreshDraws(context)
        self._living: deque[Result] = deque(maxlen=self.population)
        self._children = 0

    def ask(self, n: int) -> list[Candidate]:
        """Return random architectures until the population is full, children from then on."""
        taken: dict[Architecture, Candidate] = {}
        while len(taken) < n and (candidate := self._next(taken)) is not None:
            taken[candidate.architecture] = candidate
        return list(taken.values())

    def tell(self, results: Sequence[Result]) -> None:
        """Add the results as the youngest; the oldest die."""
        self._living.extend(results)

    def state_dict(self) -> dict[str, Any]:
        """Return the trial numbers of the living, oldest first, and the counters."""
        return {
            "living": [result.number for result in self._living],
            "children": self._children,
            "fresh": self._fresh.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the results come from the context."""
        self._living = deque(self.context.results(state["living"]), maxlen=self.population)
        self._children = state["children"]
        self._fresh.load_state_dict(state["fresh"])

    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        if len(self._living) == self.population:
            rng = self.context.rng("child", self._children)
            self._children += 1
            rivals = [self._living[rng.randrange(self.population)] for _ in range(self.sample)]
            parent = min(rivals, key=lambda result: merit(self.context.objectives, result))
            child = fresh_mutant(self.context, parent.architecture, rng, taken)
            if child is not None:
                return Candidate(child, parent=parent.number)
        drawn = self._fresh.draw(taken)
        return None if drawn is None else Candidate(drawn)
