"""Tree-structured Parzen estimators, by Optuna."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from ...errors import MissingDependency
from ...seeds import derive_seed
from ...spaces import Architecture, Decision
from ..strategy import Candidate, Context, Result, Strategy
from .children import fresh_mutant, is_new
from .fresh import FreshDraws
from .merit import FAILED, FEASIBLE, VIOLATING, merit

if TYPE_CHECKING:
    import optuna

_TRIES = 4  # suggestions drawn before the last one is mutated into a new architecture


class TPE(Strategy):
    """Model where good and bad architectures lie, propose where their ratio is best.

    Optuna's sampler through ask and tell: one parameter per decision (an ordered one is an integer,
    so that neighbouring options are alike), conditional decisions only where they are active,
    several objectives by multi-objective TPE, constraints by their violation. A suggestion that is
    known is drawn again, then mutated. Every candidate gets a sampler of its own seed, and a
    resumed run replays the results: the sequence does not depend on when it was interrupted.

    Source: Bergstra et al. 2011; Ozaki et al. 2022 (several objectives), through Optuna.

    Args:
        startup: Random architectures before the model is used.
        candidates: Draws from the good ones per decision, the best of which is suggested.
        multivariate: Model the decisions together (per set of active ones) or one by one.
        batch: Candidates asked for at once.

    Raises:
        MissingDependency: If Optuna is not installed.
    """

    name: ClassVar[str] = "tpe"

    def __init__(
        self,
        *,
        startup: Annotated[int, Field(ge=1)] = 10,
        candidates: Annotated[int, Field(ge=1)] = 24,
        multivariate: bool = True,
        batch: Annotated[int, Field(ge=1)] = 1,
    ) -> None:
        _optuna()
        self.startup, self.candidates, self.multivariate = startup, candidates, multivariate
        self.batch = batch

    def prepare(self, context: Context) -> None:
        """Open an empty in-memory study."""
        super().prepare(context)
        self._fresh = FreshDraws(context)
        self._asked = 0
        with _quiet():
            self._study = _optuna().create_study(
                directions=["minimize"] * len(context.objectives), sampler=self._sampler()
            )

    def ask(self, n: int) -> list[Candidate]:
        """Return up to `n` new architectures."""
        taken: dict[Architecture, Candidate] = {}
        while len(taken) < n and (candidate := self._next(taken)) is not None:
            taken[candidate.architecture] = candidate
        return list(taken.values())

    def tell(self, results: Sequence[Result]) -> None:
        """Add the results to the study."""
        for result in results:
            if (trial := self._trial(result)) is not None:
                self._study.add_trial(trial)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters; the study is rebuilt from the context's history."""
        return {"asked": self._asked, "fresh": self._fresh.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._asked = state["asked"]
        self._fresh.load_state_dict(state["fresh"])
        self.tell(list(self.context.history()))

    def _next(self, taken: Mapping[Architecture, Candidate]) -> Candidate | None:
        number = self._asked
        self._asked += 1
        if len(self.context.space.decisions) and number >= self.startup:
            suggested = None
            for attempt in range(_TRIES):
                suggested = self._suggest(number, attempt)
                if is_new(self.context, suggested, taken):
                    return Candidate(suggested)
            rng = self.context.rng("mutant", number)
            mutant = suggested and fresh_mutant(self.context, suggested, rng, taken)
            if mutant is not None:
                return Candidate(mutant)
        drawn = self._fresh.draw(taken)
        return None if drawn is None else Candidate(drawn)

    def _sampler(self, *role: int) -> optuna.samplers.BaseSampler:
        return _optuna().samplers.TPESampler(
            n_startup_trials=self.startup,
            n_ei_candidates=self.candidates,
            multivariate=self.multivariate,
            group=self.multivariate,
            constant_liar=False,  # a pending trial has no result to replay when the run resumes
            seed=derive_seed(self.context.seed, "tpe", *role) % 2**32,
        )

    def _suggest(self, number: int, attempt: int) -> Architecture:
        """Return what the sampler of this candidate suggests, one active decision at a time."""
        with _quiet():
            self._study.sampler = self._sampler(number, attempt)
            trial = self._study.ask()
            chosen: dict[str, Any] = {}
            for decision in _in_order(self.context.space.decisions, chosen):
                n = len(decision.options)
                if decision.ordered:
                    position = trial.suggest_int(decision.name, 0, n - 1)
                else:
                    position = trial.suggest_categorical(decision.name, list(range(n)))
                chosen[decision.name] = decision.options[position]
            # Closed at once: only told results may shape what comes, as they do after a resume.
            self._study.tell(trial, state=_optuna().trial.TrialState.FAIL)
        return self.context.space.nearest(chosen)

    def _trial(self, result: Result) -> optuna.trial.FrozenTrial | None:
        """Return a result as Optuna keeps it; None for a failed one, which teaches it nothing."""
        tier, violation, losses = merit(self.context.objectives, result)
        if tier == FAILED:
            return None
        params: dict[str, Any] = {}
        distributions: dict[str, Any] = {}
        for decision in self.context.space.decisions:
            position = (
                decision.index(result.architecture[decision.name])
                if decision.name in result.architecture
                else None
            )
            if position is not None:  # a value accepted beyond the options stays out of the model
                params[decision.name] = position
                distributions[decision.name] = _distribution(decision)
        state = _optuna().trial.TrialState
        return _optuna().trial.create_trial(
            state=state.COMPLETE if tier == FEASIBLE else state.PRUNED,
            values=list(losses) if tier == FEASIBLE else None,
            params=params,
            distributions=distributions,
            system_attrs={"constraints": [violation if tier == VIOLATING else 0.0]},
        )


def _optuna() -> ModuleType:
    try:
        return import_module("optuna")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "strategy tpe needs Optuna, which is not installed; pip install 'netloom[optuna]'"
        ) from error


def _distribution(decision: Decision) -> Any:
    distributions = _optuna().distributions
    n = len(decision.options)
    if decision.ordered:
        return distributions.IntDistribution(0, n - 1)
    return distributions.CategoricalDistribution(list(range(n)))


def _in_order(decisions: Sequence[Decision], chosen: Mapping[str, Any]) -> Iterator[Decision]:
    """Yield the active decisions, parents first, while the caller fills `chosen`."""
    waiting = list(decisions)
    while waiting:
        ready = [d for d in waiting if d.when is None or all(p in chosen for p in d.when)]
        if not ready:
            return  # the rest hangs on inactive decisions
        waiting = [d for d in waiting if d not in ready]
        for decision in ready:
            if _holds(decision, chosen, decisions):
                yield decision


def _holds(decision: Decision, chosen: Mapping[str, Any], decisions: Sequence[Decision]) -> bool:
    if decision.when is None:
        return True
    parents = {d.name: d for d in decisions if d.name in decision.when}
    return all(
        parents[name].index(chosen[name]) in {parents[name].index(v) for v in values}
        for name, values in decision.when.items()
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log lines and its warnings about experimental arguments to itself."""
    logging = _optuna().logging
    level = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", _optuna().exceptions.ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(level)
