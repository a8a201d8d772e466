"""NSGA-II on architectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ... import pareto
from ...spaces import Architecture
from ..strategy import Candidate, Context, Result, Strategy
from .children import fresh_mutant, is_new, mutated
from .fresh import FreshDraws
from .merit import FEASIBLE, Merit, constrained_ranks, merit

_TRIES = 16  # crossovers drawn before a mutant of the parent takes the place


class NSGA2(Strategy):
    """Non-dominated sorting, crowding, binary tournaments, constraint domination.

    Genomes are architectures: crossover and mutation are the space's own, so that conditional
    decisions stay consistent. A child that is known is drawn again, then mutated further; a
    generation therefore holds new architectures only. With one objective it is an elitist genetic
    algorithm.

    Source: Deb et al. 2002 (NSGA-II); survival and ranks agree with pymoo's.

    Args:
        population: Survivors of a generation, and children per generation; small ones do more
            with a few hundred trials, three objectives want more.
        crossover: Chance that a child has two parents.
        mutation: Chance that a child of two parents is mutated too (a child of one always is).
        batch: Children asked for at once; the default is one generation.
    """

    name: ClassVar[str] = "nsga2"

    def __init__(
        self,
        *,
        population: Annotated[int, Field(ge=2)] = 16,
        crossover: Annotated[float, Field(ge=0, le=1)] = 0.5,
        mutation: Annotated[float, Field(ge=0, le=1)] = 0.5,
        batch: Annotated[int | None, Field(ge=1)] = None,
    ) -> None:
        self.population, self.crossover, self.mutation = population, crossover, mutation
        self.batch = population if batch is None else batch

    def prepare(self, context: Context) -> None:
        """Take the context; nothing is trained."""
        super().prepare(context)
        self._fresh = FreshDraws(context)
        self._parents: list[Result] = []
        self._children: list[Result] = []
        self._made = 0
        self._generation = 0
        self._rank()

    def ask(self, n: int) -> list[Candidate]:
        """Return random architectures first, children of the survivors from then on."""
        taken: dict[Architecture, Candidate] = {}
        while len(taken) < n and (candidate := self._next(taken)) is not None:
            taken[candidate.architecture] = candidate
        return list(taken.values())

    def tell(self, results: Sequence[Result]) -> None:
        """Collect the children; a full generation meets its parents, and the best survive."""
        for result in results:
            self._children.append(result)
            if len(self._children) == self.population:
                self._survive()

    def state_dict(self) -> dict[str, Any]:
        """Return the trial numbers of survivors and of the children so far, and the counters."""
        return {
            "parents": [result.number for result in self._parents],
            "children": [result.number for result in self._children],
            "made": self._made,
            "generation": self._generation,
            "fresh": self._fresh.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned; the results come from the context."""
        self._parents = self.context.results(state["parents"])
        self._children = self.context.results(state["children"])
        self._made, self._generation = state["made"], state["generation"]
        self._fresh.load_state_dict(state["fresh"])
        self._rank()

    def _survive(self) -> None:
        everyone = self._parents + self._children
        merits = [merit(self.context.objectives, result) for result in everyone]
        self._parents = [everyone[i] for i in survivors(merits, self.population)]
        self._children = []
        self._generation += 1
        self._rank()

    def _rank(self) -> None:
        merits = [merit(self.context.objectives, result) for result in self._parents]
        self._ranks, self._crowding = ranked(merits)

    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        if self._parents:
            rng = self.context.rng("child", self._made)
            self._made += 1
            first, second = self._tournament(rng), self._tournament(rng)
            child = self._child(first, second, rng, taken)
            if child is not None:
                tags = {"generation": self._generation}
                return Candidate(child, parent=first.number, tags=tags)
        drawn = self._fresh.draw(taken)
        return None if drawn is None else Candidate(drawn, tags={"generation": self._generation})

    def _tournament(self, rng: Random) -> Result:
        a, b = rng.randrange(len(self._parents)), rng.randrange(len(self._parents))
        return self._parents[min(a, b, key=lambda i: (self._ranks[i], -self._crowding[i]))]

    def _child(
        self, first: Result, second: Result, rng: Random, taken: Mapping[Architecture, Candidate]
    ) -> Architecture | None:
        mother, father = first.architecture, second.architecture
        if mother != father and rng.random() < self.crossover:
            for _ in range(_TRIES):
                child = self.context.space.crossover(mother, father, rng)
                if rng.random() < self.mutation:
                    child = mutated(self.context, child, rng, 1)
                if is_new(self.context, child, taken):
                    return child
        return fresh_mutant(self.context, mother, rng, taken)


def survivors(merits: Sequence[Merit], n: int) -> list[int]:
    """Return the positions of the `n` that survive: by rank, then by crowding.

    Equal crowding is settled by position, the earlier one stays.
    """
    ranks, crowding = ranked(merits)
    order = sorted(range(len(merits)), key=lambda i: (ranks[i], -crowding[i]))
    return order[:n]


def ranked(merits: Sequence[Merit]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return (constrained rank, crowding distance inside that rank), shape (n,) each.

    Crowding is measured among feasible architectures only; it is 0 for the others.
    """
    ranks = constrained_ranks(merits)
    crowding = np.zeros(len(merits))
    for rank in np.unique(ranks):
        rows = np.flatnonzero(ranks == rank).tolist()
        if merits[rows[0]].tier == FEASIBLE:
            crowding[rows] = pareto.crowding([merits[i].losses for i in rows])
    return ranks, crowding
