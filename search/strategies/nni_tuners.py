"""The tuners of NNI (extra `nni`), asked and told one trial at a time."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from random import Random
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from ...seeds import derive_seed
from ...spaces import Architecture, Decision
from ...spaces.nni_choices import nni, quiet
from ..strategy import Candidate, Context, Result, Strategy
from .children import fresh_mutant, is_new
from .fresh import FreshDraws
from .merit import FAILED, FEASIBLE, merit

_TRIES = 4  # suggestions drawn before the last one is mutated into a new architecture
_WORST = 1e30  # more than any loss: the tuners compare, and compute nothing
_ID = "nni_trial"  # the tag that holds the tuner's own number of a trial


class _Tuner(Strategy):
    """What the tuners have in common: the space in NNI's words, architectures that are new."""

    objectives: ClassVar[Literal["single", "multi", "any"]] = "single"
    module: ClassVar[str]

    def prepare(self, context: Context) -> None:
        """Give the tuner the space."""
        super().prepare(context)
        self._fresh = FreshDraws(context)
        self._asked = 0
        self._open()

    def ask(self, n: int) -> list[Candidate]:
        """Return up to `n` new architectures."""
        taken: dict[Architecture, Candidate] = {}
        while len(taken) < n and (candidate := self._next(taken)) is not None:
            taken[candidate.architecture] = candidate
        return list(taken.values())

    @abstractmethod
    def _open(self) -> None:
        """Make the tuner and give it the space."""

    @abstractmethod
    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        """Return a new architecture, None when there is none left."""

    def _drawn(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        drawn = self._fresh.draw(taken)
        return None if drawn is None else Candidate(drawn)

    def _space(self) -> dict[str, dict[str, Any]]:
        """Return the decisions as NNI writes them: positions of options, integers if ordered."""
        return {d.name: _domain(d) for d in self.context.space.decisions}

    def _architecture(self, parameters: Mapping[str, Any]) -> Architecture:
        options = {d.name: d.options[int(parameters[d.name])] for d in self.context.space.decisions}
        return self.context.space.nearest(options)

    def _parameters(self, architecture: Architecture) -> dict[str, int]:
        """Return the positions of the options; NNI wants one of inactive decisions too."""
        rng, found = Random(architecture.key), dict[str, int]()
        for decision in self.context.space.decisions:
            place = rng.randrange(len(decision.options))
            if decision.name in architecture:
                known = decision.index(architecture[decision.name])
                place = place if known is None else known
            found[decision.name] = place
        return found

    def _loss(self, result: Result) -> float | None:
        """Return the loss, a huge one for what is not feasible; None for a failed trial."""
        tier, violation, losses = merit(self.context.objectives, result)
        if tier == FAILED:
            return None
        return losses[0] if tier == FEASIBLE else _WORST * (tier + min(violation, 1e6))


class NniTPE(_Tuner):
    """NNI's tree-structured Parzen estimators: each decision on its own, old results forgotten.

    NNI's tuner through `import_data` and `generate_parameters`. A suggestion that is known is drawn
    again, then mutated, in place of NNI's own rule (a grid). Every candidate gets a generator of
    its own seed and a resumed run replays the results, so that the sequence does not depend on when
    it was interrupted. Networks that break a constraint rank behind all others, by their violation.

    Source: Bergstra et al. 2011, through NNI 3.0.

    Args:
        startup: Random architectures before the model is used.
        candidates: Draws from the good ones per decision, the best of which is suggested.
        forgetting: Results that keep their full weight.
        gamma: Of n results, gamma times the root of n count as good.
        batch: Candidates asked for at once.

    Raises:
        MissingDependency: If NNI is not installed.
    """

    name: ClassVar[str] = "nni_tpe"
    module: ClassVar[str] = "nni.algorithms.hpo.tpe_tuner"

    def __init__(
        self,
        *,
        startup: Annotated[int, Field(ge=1)] = 20,
        candidates: Annotated[int, Field(ge=1)] = 24,
        forgetting: Annotated[int, Field(ge=1)] = 25,
        gamma: Annotated[float, Field(gt=0, le=1)] = 0.25,
        batch: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        nni(self.module)
        self._arguments = {
            "n_startup_jobs": startup,
            "n_ei_candidates": candidates,
            "linear_forgetting": forgetting,
            "gamma": gamma,
        }
        self.batch = batch

    def tell(self, results: Sequence[Result]) -> None:
        """Hand the results over."""
        known = [(r, loss) for r in results if (loss := self._loss(r)) is not None]
        data = [{"parameter": self._parameters(r.architecture), "value": v} for r, v in known]
        with quiet():
            self._tuner.import_data(data)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters; the tuner is rebuilt from the context's history."""
        return {"asked": self._asked, "fresh": self._fresh.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._asked = state["asked"]
        self._fresh.load_state_dict(state["fresh"])
        self._open()
        self.tell(list(self.context.history()))

    def _open(self) -> None:
        with quiet():
            self._tuner = nni(self.module).TpeTuner("minimize", 0, self._arguments)
            self._tuner.update_search_space(self._space())
        self._tuner.dedup = _AsDrawn()

    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        number = self._asked
        self._asked += 1
        suggested = None
        for attempt in range(_TRIES):
            suggested = self._suggest(number, attempt)
            if is_new(self.context, suggested, taken):
                return Candidate(suggested)
        rng = self.context.rng("mutant", number)
        mutant = suggested and fresh_mutant(self.context, suggested, rng, taken)
        return self._drawn(taken) if mutant is None else Candidate(mutant)

    def _suggest(self, number: int, attempt: int) -> Architecture:
        seed = derive_seed(self.context.seed, self.name, number, attempt)
        self._tuner.rng = np.random.default_rng(seed)
        with quiet():
            parameters = self._tuner.generate_parameters(number)
            self._tuner.trial_end(number, False)  # only told results may shape what comes
        return self._architecture(parameters)


class NniEvolution(_Tuner):
    """NNI's naive evolution: of two random ones the better has a mutant, the worse goes.

    NNI's tuner through `generate_parameters`, `receive_trial_result` and `trial_end`; the
    population is the state. A mutant that is known is mutated on; a failed trial is replaced by a
    random one, as NNI does; networks that break a constraint lose against all others. Results of
    trials that it did not propose are not used.

    Source: Real et al., arXiv:1703.01041, through NNI 3.0.

    Args:
        population: How many live.
        batch: Candidates asked for at once; less than the population.

    Raises:
        MissingDependency: If NNI is not installed.
    """

    name: ClassVar[str] = "nni_evolution"
    module: ClassVar[str] = "nni.algorithms.hpo.evolution_tuner"

    def __init__(
        self,
        *,
        population: Annotated[int, Field(ge=1)] = 32,
        batch: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        nni(self.module)
        self.population, self.batch = population, batch

    def tell(self, results: Sequence[Result]) -> None:
        """Hand the results over."""
        for result in results:
            number = result.tags.get(_ID)
            if not isinstance(number, int) or number not in self._tuner.running_trials:
                continue
            loss = self._loss(result)
            with self._seeded("end", number):
                if loss is None:
                    self._tuner.trial_end(number, False)
                else:
                    self._tuner.receive_trial_result(number, {}, loss)

    def state_dict(self) -> dict[str, Any]:
        """Return the population, what is being evaluated, and the counters."""
        return {
            "asked": self._asked,
            "fresh": self._fresh.state_dict(),
            "population": [[_plain(one.config), one.result] for one in self._tuner.population],
            "running": [[n, _plain(one.config)] for n, one in self._tuner.running_trials.items()],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        made = nni(self.module).Individual
        self._asked = state["asked"]
        self._fresh.load_state_dict(state["fresh"])
        self._tuner.population = [
            made(config, result=value) for config, value in state["population"]
        ]
        self._tuner.running_trials = {n: made(config) for n, config in state["running"]}

    def _open(self) -> None:
        with quiet():
            self._tuner = nni(self.module).EvolutionTuner("minimize", self.population)
            self._tuner.update_search_space(self._space())
        self._tuner.population = []  # NNI draws it without a seed
        with self._seeded("population"):
            for _ in range(self.population):
                self._tuner._random_generate_individual()

    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        number = self._asked
        self._asked += 1
        if not self._tuner.population:  # all of it is being evaluated
            return self._drawn(taken)
        with self._seeded("next", number):
            parameters = self._tuner.generate_parameters(number)
        found: Architecture | None = self._architecture(parameters)
        if found is not None and not is_new(self.context, found, taken):
            rng = self.context.rng("mutant", number)
            found = fresh_mutant(self.context, found, rng, taken) or self._fresh.draw(taken)
        if found is None:
            return None
        self._tuner.running_trials[number].config = self._config(self._parameters(found))
        return Candidate(found, tags={_ID: number})

    def _config(self, parameters: Mapping[str, int]) -> dict[str, Any]:
        """Return parameters as the tuner keeps them."""
        ordered = {d.name for d in self.context.space.decisions if d.ordered}
        return {
            name: place if name in ordered else {"_index": place, "_value": place}
            for name, place in parameters.items()
        }

    @contextmanager
    def _seeded(self, *role: str | int) -> Iterator[None]:
        """Give the tuner seeds; it draws from Python's own generator too, which is given back."""
        seed = derive_seed(self.context.seed, self.name, *role)
        before = random.getstate()
        random.seed(seed)
        self._tuner.random_state = np.random.RandomState(seed % 2**32)
        try:
            with quiet():
                yield
        finally:
            random.setstate(before)


class _AsDrawn:
    """In place of NNI's search for what is new: the strategy looks after that."""

    def __call__(self, parameters: Any) -> Any:
        return parameters

    def add_history(self, parameters: Any) -> None:
        """Keep nothing."""


def _domain(decision: Decision) -> dict[str, Any]:
    n = len(decision.options)
    if decision.ordered:
        return {"_type": "randint", "_value": [0, n]}
    return {"_type": "choice", "_value": list(range(n))}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tuner's own form of parameters as JSON values."""
    return {
        name: {k: int(v) for k, v in value.items()} if isinstance(value, dict) else int(value)
        for name, value in config.items()
    }
