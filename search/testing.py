"""What every strategy owes the runner, and a context without a store to run it in.

    from netloom.search.testing import StrategyContract

    class TestMine(StrategyContract):
        def make(self):
            return Mine(population=4)

The class must be importable (`module:Class`, not local to a function): one test starts another
process. For readable failures register the module in `conftest.py`:
`pytest.register_assert_rewrite("netloom.search.testing")`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import numpy as np

from .. import pareto
from ..errors import EvaluationError
from ..seeds import derive_rng
from ..spaces import Architecture, Decision, DecisionSpace
from .objectives import Constraint, Objective, losses, total_violation
from .strategy import Candidate, Context, Result, Strategy

_T = TypeVar("_T")
_R = TypeVar("_R")
Evaluate = Callable[[Architecture], Mapping[str, float]]


class MemoryContext:
    """A `Context` without a store: for tests, notebooks and benchmarks.

    Args:
        space: Where the strategy searches.
        objectives: What is wanted.
        constraints: What is demanded.
        seed: The experiment's seed.
        device: Where training strategies would train.
        data: The data set, for training strategies.
        costs: What `costs` gives; None: nothing.
    """

    def __init__(
        self,
        space: DecisionSpace,
        objectives: Sequence[Objective],
        constraints: Sequence[Constraint] = (),
        *,
        seed: int = 0,
        device: str = "cpu",
        data: Any = None,
        costs: Callable[[Architecture], dict[str, float]] | None = None,
    ) -> None:
        self.space, self.seed, self.device, self.data = space, seed, device, data
        self._costs = costs
        self.objectives, self.constraints = tuple(objectives), tuple(constraints)
        self.candidates: list[Candidate] = []
        self.told: dict[int, Result] = {}
        self.curves: dict[str, list[tuple[int, float]]] = {}
        self.published: dict[str, tuple[Any, Mapping[str, Any] | None]] = {}
        self.notes: dict[str, Any] = {}
        self.kinds: dict[str, str] = {}  # of notes
        self._known: set[str] = set()
        self._tensors: dict[str, Mapping[str, Any]] = {}

    # ---------------------------------------------------------------- what strategies use
    def rng(self, *role: str | int) -> Random:
        """Return a generator derived from (experiment seed, "strategy", *role)."""
        return derive_rng(self.seed, "strategy", *role)

    def known(self, architecture: Architecture) -> bool:
        """Whether the architecture was asked for before."""
        return architecture.key in self._known

    def history(self) -> Iterator[Result]:
        """Yield every result told so far, in the order of telling."""
        yield from self.told.values()

    def results(self, numbers: Iterable[int]) -> list[Result]:
        """Return told results by trial number, in the order asked for."""
        return [self.told[n] for n in numbers]

    def record(self, name: str, value: float, step: int) -> None:
        """Keep a point of a curve in `curves`."""
        self.curves.setdefault(name, []).append((step, float(value)))

    def checkpoint(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Keep tensors under a name."""
        self._tensors[name] = dict(tensors)

    def restore(self, name: str) -> Mapping[str, Any] | None:
        """Return the tensors kept under a name, or None."""
        return self._tensors.get(name)

    def publish(self, name: str, supernet: Any, mask: Mapping[str, Any] | None = None) -> None:
        """Keep a super-network in `published`."""
        self.published[name] = (supernet, mask)

    def note(self, name: str, value: Mapping[str, Any], kind: str = "") -> None:
        """Keep JSON values in `notes`, their kind in `kinds`."""
        self.notes[name] = json.loads(json.dumps(value, allow_nan=False))
        self.kinds[name] = kind

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """Return what was given for it."""
        return {} if self._costs is None else self._costs(architecture)

    def progress(self, text: str, done: int, total: int) -> None:
        """Show nothing."""

    def stopping(self) -> bool:
        """Return False: nothing stops the run."""
        return False

    def map(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Run the pieces one after the other."""
        return [function(item) for item in items]

    def parallel(self, function: Callable[[Context], _R], workers: int) -> _R:
        """Run the function in several processes of this machine."""
        from .run.engines.processes import run_processes
        from .run.together import Home, Task

        task = Task.of(self, function, self._costs)
        found: _R = run_processes(task, workers, Home.of(self))
        return found

    # ---------------------------------------------------------------- what the runner does
    def ask(self, strategy: Strategy, n: int) -> list[int]:
        """Ask for up to `n` candidates and return their trial numbers.

        Raises:
            AssertionError: If the strategy breaks its contract: too many candidates, a known
                one, two equal ones, or one that the space does not hold.
        """
        asked = strategy.ask(n)
        assert len(asked) <= n, f"asked for {n} candidates, got {len(asked)}"
        return self.enqueue(asked)

    def enqueue(self, candidates: Sequence[Candidate]) -> list[int]:
        """Take candidates, of the strategy or of the user, and return their trial numbers.

        Raises:
            AssertionError: If one is known, proposed twice, or not in the space.
        """
        numbers = []
        for candidate in candidates:
            architecture = candidate.architecture
            assert not self.known(architecture), f"{architecture} is known, or proposed twice"
            assert self.space.architecture(architecture) == architecture
            json.dumps(dict(candidate.tags), allow_nan=False)
            self._known.add(architecture.key)
            numbers.append(len(self.candidates))
            self.candidates.append(candidate)
        return numbers

    def result(self, number: int, evaluate: Evaluate) -> Result:
        """Evaluate a trial; an `EvaluationError` makes it a failed one."""
        candidate = self.candidates[number]
        metrics: Mapping[str, float] = {}
        try:
            metrics = dict(evaluate(candidate.architecture))
        except EvaluationError:
            return self._result(number, "failed", {}, 0.0)
        violation = total_violation(self.constraints, metrics)
        return self._result(number, "infeasible" if violation else "done", metrics, violation)

    def tell(self, strategy: Strategy, results: Sequence[Result]) -> None:
        """Keep the results and tell them."""
        self.told |= {result.number: result for result in results}
        strategy.tell(results)

    def run(self, strategy: Strategy, evaluate: Evaluate, trials: int) -> list[Result]:
        """Search until there are `trials` results or the space is exhausted; return all results.

        Batches are asked for, evaluated and told whole, as the runner does under `order: number`.
        The strategy must have been prepared with this context.
        """
        while len(self.told) < trials:
            numbers = self.ask(strategy, min(strategy.batch, trials - len(self.told)))
            if not numbers:
                break
            self.tell(strategy, [self.result(number, evaluate) for number in numbers])
        return list(self.told.values())

    def _result(
        self, number: int, status: Any, metrics: Mapping[str, float], violation: float
    ) -> Result:
        candidate = self.candidates[number]
        return Result(
            number,
            candidate.architecture,
            status,
            metrics,
            violation,
            tags=candidate.tags,
            parent=candidate.parent,
        )


@dataclass(frozen=True)
class Problem:
    """A space with values for every architecture and the answer known.

    Args:
        space: Small enough to enumerate.
        objectives: On the metrics that `evaluate` gives.
        evaluate: Architecture -> metrics; a pure function.
        constraints: Optional.
    """

    space: DecisionSpace
    objectives: tuple[Objective, ...]
    evaluate: Evaluate
    constraints: tuple[Constraint, ...] = ()

    def context(self, seed: int = 0) -> MemoryContext:
        """Return a new context for a search of this problem."""
        return MemoryContext(self.space, self.objectives, self.constraints, seed=seed)

    @cached_property
    def front(self) -> frozenset[Architecture]:
        """The feasible architectures that no feasible one dominates."""
        rows = [(a, self.evaluate(a)) for a in self.space.enumerate()]
        rows = [(a, m) for a, m in rows if not total_violation(self.constraints, m)]
        mask = pareto.front_mask([losses(self.objectives, m) for _, m in rows])
        return frozenset(a for (a, _), kept in zip(rows, mask, strict=True) if kept)


def planted(decisions: int = 6, options: int = 4, *, objectives: int = 1, seed: int = 0) -> Problem:
    """Return a problem whose optimum is planted: every decision adds to each metric on its own.

    Metric `quality` (maximise) has its largest term at one option per decision and a pairwise
    term that rewards neighbouring decisions for agreeing; `cost` (minimise, with two objectives)
    grows with the position of the option.
    """
    rng = Random(seed)
    table = [[rng.gauss(0, 1) for _ in range(options)] for _ in range(decisions)]
    space = DecisionSpace([Decision(f"d{i}", tuple(range(options))) for i in range(decisions)])

    def evaluate(architecture: Architecture) -> Mapping[str, float]:
        chosen = [int(architecture[f"d{i}"]) for i in range(decisions)]  # type: ignore[arg-type]
        quality = sum(row[o] for row, o in zip(table, chosen, strict=True))
        quality += 0.3 * sum(a == b for a, b in pairwise(chosen))
        return {"quality": quality, "cost": float(sum(chosen))}

    wanted = (Objective("quality", "maximize"), Objective("cost", "minimize"))
    return Problem(space, wanted[:objectives], evaluate)


def conditional(objectives: int = 2) -> Problem:
    """Return a problem with conditional decisions: 3 + 3*3 + 3*3*3 = 39 networks of depth 1 to 3.

    Each layer of width w adds w to `cost` and 3 w - w^2 / 2 to `quality`.
    """
    widths = (1, 2, 4)
    space = DecisionSpace(
        [
            Decision("depth", (1, 2, 3), ordered=True),
            Decision("layer1.width", widths, ordered=True),
            Decision("layer2.width", widths, ordered=True, when={"depth": (2, 3)}),
            Decision("layer3.width", widths, ordered=True, when={"depth": (3,)}),
        ]
    )

    def evaluate(architecture: Architecture) -> Mapping[str, float]:
        used = [float(v) for n, v in architecture.items() if n != "depth"]  # type: ignore[arg-type]
        quality = float(np.sum([3 * w - w * w / 2 for w in used]))
        return {"quality": quality, "cost": sum(used)}

    wanted = (Objective("quality", "maximize"), Objective("cost", "minimize"))
    return Problem(space, wanted[:objectives], evaluate)


class StrategyContract:
    """Checks of a strategy; subclass, supply `make`, inherit the tests."""

    trials = 60  # length of the searches that are compared
    growth = (200, 400, 800)  # trials after which the size of the state is measured

    def make(self) -> Strategy:
        """Return a new strategy, with the same options at every call."""
        raise NotImplementedError

    def problems(self) -> list[Problem]:
        """Return what the strategy is tried on; one objective only where it takes no more."""
        kind = self.make().objectives
        counts = {"single": (1,), "multi": (2,), "any": (1, 2)}[kind]
        return [p for n in counts for p in (planted(3, 4, objectives=n), conditional(n))]

    # ---------------------------------------------------------------- seeds and resuming
    def test_the_seed_decides_the_sequence(self) -> None:
        for problem in self.problems():
            first, again, other = (self.sequence(problem, seed) for seed in (7, 7, 8))
            assert first == again
            assert first != other

    def test_global_generators_are_left_alone(self) -> None:
        import random

        random.seed(3)
        np.random.seed(3)
        expected = random.Random(3).random(), np.random.RandomState(3).rand()
        self.sequence(self.problems()[0], 7)
        assert (random.random(), np.random.rand()) == expected

    def test_another_process_gives_the_same_sequence(self) -> None:
        cls = type(self)
        assert "<locals>" not in cls.__qualname__, "define the test class at module level"
        here = [self.sequence(problem, 7) for problem in self.problems()]
        script = (
            "import importlib.util, json, sys\n"
            "spec = importlib.util.spec_from_file_location('contract_case', sys.argv[1])\n"
            "module = importlib.util.module_from_spec(spec)\n"
            "sys.modules['contract_case'] = module\n"
            "spec.loader.exec_module(module)\n"
            "suite = getattr(module, sys.argv[2])()\n"
            "print(json.dumps([suite.sequence(p, 7) for p in suite.problems()]))\n"
        )
        source = Path(sys.modules[cls.__module__].__file__ or "")
        other = subprocess.run(
            [sys.executable, "-c", script, str(source), cls.__qualname__],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "12345"},
            check=False,
        )
        assert other.returncode == 0, other.stderr
        assert json.loads(other.stdout.splitlines()[-1]) == here

    def test_resuming_continues_the_sequence(self) -> None:
        for problem in self.problems():
            whole = self.sequence(problem, 7)
            for at in (1, len(whole) // 2, len(whole) - 1):
                for phase in ("asked", "told"):
                    assert self.sequence(problem, 7, resume=(at, phase)) == whole

    def test_the_state_is_small_json(self) -> None:
        problem = planted(5, 5, objectives=1 if self.make().objectives == "single" else 2)
        sizes = []
        context, strategy = problem.context(), self.make()
        strategy.prepare(context)
        for trials in self.growth:
            context.run(strategy, problem.evaluate, trials)
            sizes.append(len(json.dumps(strategy.state_dict(), allow_nan=False)))
        # numbers get longer by a digit at most, and a strategy is still filling up at first
        assert sizes[2] <= 1.25 * sizes[1] + 64, f"the state grows with the trials: {sizes}"

    # ---------------------------------------------------------------- what is proposed
    def test_nothing_known_is_proposed_and_a_small_space_is_exhausted(self) -> None:
        for problem in self.problems():
            context, strategy = problem.context(), self.make()
            strategy.prepare(context)
            results = context.run(strategy, problem.evaluate, 10**6)  # `ask` checks each candidate
            assert len(results) == problem.space.size
            assert strategy.ask(4) == []

    def test_a_foreign_trial_counts_as_known(self) -> None:
        for problem in self.problems():
            context, strategy = problem.context(), self.make()
            strategy.prepare(context)
            given = context.enqueue([Candidate(a) for a in list(problem.space.enumerate())[::3]])
            context.tell(strategy, [context.result(n, problem.evaluate) for n in given])
            context.run(strategy, problem.evaluate, 10**6)
            assert len(context.told) == problem.space.size

    def test_asking_ahead_of_the_results_is_allowed(self) -> None:
        problem = self.problems()[0]
        context, strategy = problem.context(), self.make()
        strategy.prepare(context)
        waiting: list[int] = []
        while len(context.told) < 40:
            waiting += context.ask(strategy, 3)
            if len(waiting) > 9:  # results arrive one by one, the youngest first
                context.tell(strategy, [context.result(waiting.pop(), problem.evaluate)])

    # ---------------------------------------------------------------- bad results
    def test_failed_and_infeasible_trials_are_survived(self) -> None:
        for problem in self.problems():
            metric = problem.objectives[0].metric
            values = sorted(problem.evaluate(a)[metric] for a in problem.space.enumerate())
            bound = Constraint(metric, max=values[len(values) // 2])

            def evaluate(
                architecture: Architecture, inner: Evaluate = problem.evaluate
            ) -> Mapping[str, float]:
                if int(architecture.key[:4], 16) % 5 == 0:
                    raise EvaluationError("planted failure")
                return inner(architecture)

            context = MemoryContext(problem.space, problem.objectives, (bound,), seed=3)
            strategy = self.make()
            strategy.prepare(context)
            results = context.run(strategy, evaluate, 10**6)
            assert {r.status for r in results} == {"done", "infeasible", "failed"}
            assert len(results) == problem.space.size

    def test_nothing_but_failures_ends_too(self) -> None:
        def evaluate(architecture: Architecture) -> Mapping[str, float]:
            raise EvaluationError("planted failure")

        problem = self.problems()[0]
        context, strategy = problem.context(), self.make()
        strategy.prepare(context)
        assert len(context.run(strategy, evaluate, 10**6)) == problem.space.size

    def test_a_space_of_one_architecture_is_enough(self) -> None:
        objectives = self.problems()[0].objectives
        space = DecisionSpace([Decision("only", ("one",))])
        context, strategy = MemoryContext(space, objectives), self.make()
        strategy.prepare(context)
        metrics = {objective.metric: 1.0 for objective in objectives}
        assert len(context.run(strategy, lambda a: metrics, 10)) == 1

    # ---------------------------------------------------------------- helpers
    def sequence(
        self, problem: Problem, seed: int, *, resume: tuple[int, str] | None = None
    ) -> list[str]:
        """Return the keys of a search in the order of asking.

        Args:
            problem: What is searched.
            seed: The experiment's seed.
            resume: Go on in a new strategy once so many trials were `asked` for or `told`.
        """
        context, strategy = problem.context(seed), self.make()
        strategy.prepare(context)
        trials = min(self.trials, problem.space.size)
        while len(context.told) < trials:
            numbers = context.ask(strategy, min(strategy.batch, trials - len(context.told)))
            if resume is not None and resume[1] == "asked" and len(context.candidates) >= resume[0]:
                strategy, resume = self._reborn(strategy, context), None
            context.tell(strategy, [context.result(n, problem.evaluate) for n in numbers])
            if resume is not None and len(context.told) >= resume[0]:
                strategy, resume = self._reborn(strategy, context), None
        return [candidate.architecture.key for candidate in context.candidates]

    def _reborn(self, strategy: Strategy, context: MemoryContext) -> Strategy:
        """Return a new strategy in the state of `strategy`, as a resumed process has it."""
        state = json.loads(json.dumps(strategy.state_dict(), allow_nan=False))
        other = self.make()
        other.prepare(context)
        other.load_state_dict(state)
        return other
