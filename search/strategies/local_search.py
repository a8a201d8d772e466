"""Local search for one objective, Pareto local search for several."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...spaces import Architecture
from ..strategy import Candidate, Context, Result, Strategy
from .agreement import AgreementFeatures, Floats
from .children import is_new
from .fresh import FreshDraws
from .guide import Guide
from .merit import Merit, constrained_ranks, merit

_KEPT = 256  # neighbourhoods kept in memory


@dataclass(frozen=True)
class _Neighbourhood:
    """The neighbours of a trial's architecture and their agreement features (row by row)."""

    architectures: list[Architecture]
    features: Floats


class LocalSearch(Strategy):
    """Evaluate neighbours of the best architectures; move on as soon as a better one is found.

    The search stands on its `centres`: the best architectures whose neighbourhoods (one decision
    changed) are not used up; with several objectives, on the whole front. Constraints count by
    Deb's rule: until something feasible is found, the least violating architectures are the
    centres.

    With one objective, a run that the model has led for as many evaluations as its best has
    neighbours (times `patience`) without an improvement is over: the next one begins with
    `initial` random architectures and stands on what it finds itself, while the model keeps what
    all runs learnt. A front needs no restart: it is many places at once.

    Which neighbour comes next is decided by a model of what was measured so far (`order: model`,
    see `agreement.py`): the one whose optimistic prediction (mean - `optimism` x standard
    deviation) improves on the front the most, by the additive epsilon indicator scaled to the
    front's extent; those that are predicted to break a constraint come last. In the first run,
    `restarts` random architectures stand beside the neighbours, so that the model can leave for
    another region. `order: random` is plain local search, without them and in one run.

    Source: White et al., arXiv:2005.02960 (local search is a strong baseline); Paquete et al. 2004
    (Pareto local search). Deviations: moves at the first improvement, goes back to the next best
    before a random restart, and orders the neighbours.

    Args:
        initial: Random architectures that a run begins with.
        order: Which neighbour is evaluated first.
        centres: How many of the best architectures offer their neighbours; a front that is larger
            offers all of its own.
        restarts: Random architectures offered to the model beside the neighbours each time.
        patience: How long one objective's run goes without an improvement, in neighbourhoods of
            its best; None: there is only one run.
        optimism: Standard deviations that the model gives a candidate the benefit of.
        batch: Candidates asked for at once; raise it to the number of workers.
    """

    name: ClassVar[str] = "local_search"

    def __init__(
        self,
        *,
        initial: Annotated[int, Field(ge=1)] = 10,
        order: Literal["model", "random"] = "model",
        centres: Annotated[int, Field(ge=1)] = 10,
        restarts: Annotated[int, Field(ge=0)] = 100,
        patience: Annotated[float, Field(gt=0)] | None = 1.0,
        optimism: Annotated[float, Field(ge=0)] = 1.0,
        batch: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        self.initial, self.order, self.centres = initial, order, centres
        self.restarts, self.patience = restarts, patience
        self.optimism, self.batch = optimism, batch

    def prepare(self, context: Context) -> None:
        """Take the context; nothing is trained."""
        super().prepare(context)
        self._fresh = FreshDraws(context)
        self._features = AgreementFeatures(context.space)
        self._guide = Guide(context, self._features, self.optimism)
        self._results: list[Result] = []
        self._merits: list[Merit] = []
        self._used_up: set[int] = set()  # positions in `_results`
        self._neighbourhoods: dict[int, _Neighbourhood] = {}
        self._picks = 0
        self._in_runs = self.order == "model" and len(context.objectives) == 1
        self._first = 0  # position at which the current run begins
        self._best = 0  # of the current run
        self._since = 0  # results since then

    def ask(self, n: int) -> list[Candidate]:
        """Return the most promising neighbours; random architectures at first, and when stuck."""
        taken: dict[Architecture, Candidate] = {}
        if len(self._results) - self._first >= self.initial:
            for candidate in self._promising(n):
                taken[candidate.architecture] = candidate
        while len(taken) < n and (drawn := self._fresh.draw(taken)) is not None:
            taken[drawn] = Candidate(drawn)
        return list(taken.values())

    def tell(self, results: Sequence[Result]) -> None:
        """Remember the results."""
        for result in results:
            self._results.append(result)
            self._merits.append(merit(self.context.objectives, result))
            if self.patience is not None and self._in_runs:
                self._note(len(self._results) - 1, self.patience)
        self._guide.add(results)

    def _note(self, position: int, patience: float) -> None:
        """Follow the current run, and begin the next where it has come to its end."""
        if position == self._first or self._merits[position] < self._merits[self._best]:
            self._best, self._since = position, 0
            return
        self._since += 1
        if position + 1 - self._first >= self.initial:
            around = self.context.space.neighbors(self._results[self._best].architecture)
            if self._since >= patience * len(around):
                self._first, self._since = position + 1, 0

    def state_dict(self) -> dict[str, Any]:
        """Return the counters; the results come from the context's history."""
        return {"picks": self._picks, "fresh": self._fresh.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._picks = state["picks"]
        self._fresh.load_state_dict(state["fresh"])
        self.tell(list(self.context.history()))

    def _promising(self, n: int) -> list[Candidate]:
        """Return up to `n` new neighbours of the centres, the most promising first."""
        parents: dict[Architecture, int | None] = {}
        features: list[Floats] = []
        for centre in self._centres():
            hood = self._neighbourhoods[centre]
            rows = []
            for row, neighbour in enumerate(hood.architectures):
                if neighbour not in parents and is_new(self.context, neighbour, ()):
                    parents[neighbour] = self._results[centre].number
                    rows.append(row)
            features.append(hood.features[rows])
        if self.order == "model" and self.restarts and not self._first:
            offered = self._random(parents)
            parents |= dict.fromkeys(offered)
            features.append(self._features(offered))
        if not parents:
            return []
        neighbours = list(parents)
        if self.order == "model":
            best = self._guide.best(np.concatenate(features), n)
        else:
            best = self.context.rng("order", self._picks).sample(
                range(len(neighbours)), min(n, len(neighbours))
            )
            self._picks += 1
        return [Candidate(neighbours[i], parent=parents[neighbours[i]]) for i in best]

    def _random(self, taken: Container[Architecture]) -> list[Architecture]:
        """Return up to `restarts` new random architectures that are not in `taken`."""
        rng = self.context.rng("restart", self._picks)
        self._picks += 1
        drawn = dict.fromkeys(self.context.space.sample(rng) for _ in range(self.restarts))
        return [a for a in drawn if is_new(self.context, a, taken)]

    def _centres(self) -> Iterator[int]:
        """Yield the positions of the best results that still have new neighbours."""
        ranks = constrained_ranks(self._merits[self._first :])
        found = 0
        last = -1
        for own in np.argsort(ranks, kind="stable").tolist():
            i = self._first + own
            if found >= self.centres and ranks[own] != last:
                return
            if i not in self._used_up and self._has_new(i):
                yield i
                found += 1
                last = int(ranks[own])

    def _has_new(self, position: int) -> bool:
        if position not in self._neighbourhoods:
            neighbours = self.context.space.neighbors(self._results[position].architecture)
            while len(self._neighbourhoods) >= _KEPT:
                del self._neighbourhoods[next(iter(self._neighbourhoods))]
            self._neighbourhoods[position] = _Neighbourhood(neighbours, self._features(neighbours))
        hood = self._neighbourhoods[position]
        if any(is_new(self.context, a, ()) for a in hood.architectures):
            return True
        self._used_up.add(position)
        del self._neighbourhoods[position]
        return False
