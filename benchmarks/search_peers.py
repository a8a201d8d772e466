"""Other projects' search methods on the same tables.

A peer suggests option positions and is told the losses. Its repeats are answered from a cache and
cost it nothing: an architecture counts once, when it is first suggested. A peer whose last
`WINDOW` suggestions held fewer than `FRESH` new ones has converged, and is scored by what it has.
"""

from __future__ import annotations

import itertools
import logging
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np
from search_tasks import TASKS, Ground, ground

WINDOW, FRESH = 200, 20


class Enough(Exception):
    """Raised to leave a peer's own loop when the budget is spent."""


class Ledger:
    """Counts distinct evaluations.

    Args:
        table: Where the values come from.
        budget: Distinct evaluations allowed.
    """

    def __init__(self, table: Ground, budget: int) -> None:
        self._table, self._budget = table, budget
        self._row = {tuple(c): i for i, c in enumerate(table.choices.tolist())}
        self.evaluated: dict[int, None] = {}
        self.suggested = 0
        self._new: deque[bool] = deque([True] * WINDOW, maxlen=WINDOW)

    def losses(self, choice: Sequence[int]) -> list[float]:
        """Return the losses of the architecture with these option positions.

        Raises:
            Enough: If the budget is spent, or the peer has converged.
        """
        if len(self.evaluated) >= self._budget or sum(self._new) < FRESH:
            raise Enough
        self.suggested += 1
        row = self._row[tuple(int(c) for c in choice)]
        self._new.append(row not in self.evaluated)
        self.evaluated[row] = None
        return list(self._table.losses[row])


Peer: TypeAlias = Callable[[str, int, Ledger], None]


def optuna_sampler(make: Callable[[int], Any]) -> Peer:
    """Return Optuna with a sampler made of a seed; every decision is a categorical."""

    def run(name: str, seed: int, ledger: Ledger) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        decisions = ground(name).space.decisions
        study = optuna.create_study(
            directions=["minimize"] * len(TASKS[name].objectives), sampler=make(seed)
        )

        def objective(trial: optuna.Trial) -> list[float]:
            return ledger.losses(
                [trial.suggest_categorical(d.name, range(len(d.options))) for d in decisions]
            )

        study.optimize(objective, n_trials=None)

    return run


def optuna_tpe(seed: int) -> Any:
    """Return Optuna's TPE with its defaults."""
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def optuna_nsga2(seed: int) -> Any:
    """Return Optuna's NSGA-II with its defaults (population 50)."""
    import optuna

    return optuna.samplers.NSGAIISampler(seed=seed)


def pymoo_nsga2(name: str, seed: int, ledger: Ledger) -> None:
    """Run pymoo's NSGA-II: population 50, its uniform crossover, its mutation of choices."""
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.operators.crossover.ux import UniformCrossover
    from pymoo.operators.mutation.rm import ChoiceRandomMutation
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    sizes = np.array([len(d.options) for d in ground(name).space.decisions])

    class Lookup(ElementwiseProblem):
        def __init__(self) -> None:
            super().__init__(
                n_var=len(sizes),
                n_obj=len(TASKS[name].objectives),
                xl=np.zeros(len(sizes)),
                xu=sizes - 1,
                vtype=int,
            )

        def _evaluate(self, x: np.ndarray, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
            out["F"] = ledger.losses(x)

    class Mutation(ChoiceRandomMutation):
        """pymoo's operator for choices reads them from variables; these are integers."""

        def _do(self, problem: Any, X: np.ndarray, random_state: Any = None, **kw: Any) -> Any:
            X = X.copy()
            change = random_state.random(X.shape) < self.get_prob_var(problem, size=len(X))[:, None]
            drawn = random_state.integers(0, sizes, size=X.shape)
            X[change] = drawn[change]
            return X

    algorithm = NSGA2(
        pop_size=50,
        sampling=IntegerRandomSampling(),
        crossover=UniformCrossover(),
        mutation=Mutation(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        minimize(Lookup(), algorithm, ("n_gen", 100_000), seed=seed)


def nni_tpe(name: str, seed: int, ledger: Ledger) -> None:
    """Run the TPE tuner of NNI 3.0 with its defaults, driven by hand."""
    from nni.algorithms.hpo.tpe_tuner import TpeTuner

    decisions = ground(name).space.decisions
    logging.disable(logging.ERROR)  # NNI logs every repeat
    tuner = TpeTuner(optimize_mode="minimize", seed=seed)
    tuner.update_search_space(
        {d.name: {"_type": "choice", "_value": list(range(len(d.options)))} for d in decisions}
    )
    for number in itertools.count():
        chosen = tuner.generate_parameters(number)
        (loss,) = ledger.losses([chosen[d.name] for d in decisions])
        tuner.receive_trial_result(number, chosen, loss)


def nni_regularized_evolution(name: str, seed: int, ledger: Ledger) -> None:
    """Run the strategy of NNI 3.0 with its defaults (population 100, sample 25).

    It wants an execution engine and a model space; these two answer from the table at once.
    """
    from nni.mutable import Categorical
    from nni.nas.execution.event import ModelEventType
    from nni.nas.strategy import RegularizedEvolution

    decisions = ground(name).space.decisions

    class Model:
        def __init__(self, sample: dict[str, int]) -> None:
            self.sample, self.metric = dict(sample), None

    class Space:
        def simplify(self) -> dict[str, Any]:
            return {d.name: Categorical(range(len(d.options)), label=d.name) for d in decisions}

        def random(self, memo: dict[str, int], random_state: Any) -> Model:
            memo |= {k: v.random(random_state=random_state) for k, v in self.simplify().items()}
            return self.freeze(memo)

        def freeze(self, sample: dict[str, int]) -> Model:
            return Model(sample)

    class Engine:
        def register_model_event_callback(self, kind: ModelEventType, callback: Any) -> None:
            self.callback = callback

        def unregister_model_event_callback(self, kind: ModelEventType, callback: Any) -> None:
            pass

        def submit_models(self, model: Any) -> None:
            (loss,) = ledger.losses([model.sample[d.name] for d in decisions])
            model.metric = -loss
            self.callback(SimpleNamespace(model=model))

        def idle_worker_available(self) -> bool:
            return True

        budget_available = idle_worker_available

        def wait_models(self) -> None:
            pass

    logging.disable(logging.ERROR)  # NNI logs every individual
    RegularizedEvolution(seed=seed)(Space(), Engine())


PEERS: dict[str, Peer] = {
    "Optuna TPE": optuna_sampler(optuna_tpe),
    "Optuna NSGA-II": optuna_sampler(optuna_nsga2),
    "pymoo NSGA-II": pymoo_nsga2,
    "NNI RegularizedEvolution": nni_regularized_evolution,
    "NNI TPE": nni_tpe,
}
SINGLE = frozenset({"NNI RegularizedEvolution", "NNI TPE"})  # peers that take one objective only


def search(peer: str, name: str, seed: int) -> tuple[list[int], int]:
    """Return (rows in the order of their first evaluation, number of suggestions)."""
    ledger = Ledger(ground(name), max(TASKS[name].marks))
    with suppress(Enough):
        PEERS[peer](name, seed, ledger)
    return list(ledger.evaluated), ledger.suggested
