"""The contract of a strategy: ask for candidates, be told results, own no loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, TypeVar

from ..spaces import Architecture, DecisionSpace
from .objectives import Constraint, Objective

Status: TypeAlias = Literal["done", "pruned", "infeasible", "failed"]
_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An architecture that a strategy wants evaluated.

    Args:
        architecture: A member of the space.
        parent: Number of the trial that it was derived from.
        budget: Fidelity asked for; None is the estimator's own full budget.
        tags: Short JSON notes of the strategy (`{"generation": 3}`), stored with the trial.
    """

    architecture: Architecture
    parent: int | None = None
    budget: float | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a candidate.

    Args:
        number: Trial number, counted from 0 in the order of asking.
        architecture: The candidate's.
        status: `done` has every objective's metric; `infeasible` only the cheap ones; `failed`
            and `pruned` may have any.
        metrics: What is known of it (never a test metric).
        violation: Sum of relative constraint violations; 0 means feasible.
        tags: The candidate's.
        parent: The candidate's.
    """

    number: int
    architecture: Architecture
    status: Status
    metrics: Mapping[str, float]
    violation: float = 0.0
    tags: Mapping[str, Any] = field(default_factory=dict)
    parent: int | None = None

    @property
    def feasible(self) -> bool:
        """Whether it was evaluated in full and breaks no constraint."""
        return self.status == "done" and self.violation == 0.0


class Context(Protocol):
    """What the runner gives a strategy; a strategy reaches nothing else."""

    @property
    def space(self) -> DecisionSpace:
        """Where the strategy searches."""

    @property
    def objectives(self) -> Sequence[Objective]:
        """What is wanted."""

    @property
    def constraints(self) -> Sequence[Constraint]:
        """What is demanded."""

    @property
    def seed(self) -> int:
        """The experiment's seed."""

    @property
    def device(self) -> str:
        """Where training strategies train: `cuda` or `cpu`."""

    @property
    def data(self) -> Any:
        """The data set, where the search has one."""

    def rng(self, *role: str | int) -> Random:
        """Return a generator derived from (experiment seed, "strategy", *role)."""

    def known(self, architecture: Architecture) -> bool:
        """Whether this experiment already holds a trial of the architecture, finished or not."""

    def history(self) -> Iterable[Result]:
        """Yield every result told so far, in the order of telling (from the store)."""

    def results(self, numbers: Iterable[int]) -> list[Result]:
        """Return told results by trial number (from the store)."""

    def record(self, name: str, value: float, step: int) -> None:
        """Store one point of a curve of the strategy."""

    def checkpoint(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Store tensors under a name; replaces the earlier ones when it is durable."""

    def restore(self, name: str) -> Mapping[str, Any] | None:
        """Return the tensors stored under a name (`weights_only=True`), or None."""

    def publish(self, name: str, supernet: Any, mask: Mapping[str, Any] | None = None) -> None:
        """Keep a trained super-network as an artifact that the `supernet` estimator can load."""

    def note(self, name: str, value: Mapping[str, Any], kind: str = "") -> None:
        """Keep JSON values under a name for those who read the store; replaces the earlier ones.

        `kind` says how to show them (`genotypes`, `split_tree`); others are shown as JSON.
        """

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """Return what an architecture costs: the cheap costs among objectives and constraints.

        They follow from the architecture alone (`macs`, `latency_ms@DEVICE`) and say nothing about
        how good it is; all are NaN where it cannot run on the devices.
        """

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far a long piece of work is."""

    def stopping(self) -> bool:
        """Whether the run is being stopped: finish the step, checkpoint, return."""

    def map(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Run independent pieces of work, inline or as Ray tasks; results in order."""

    def parallel(self, function: Callable[[Context], _R], workers: int) -> _R:
        """Run one piece of training in several processes at once; return what the first one gave.

        Processes of this machine, or Ray Train's. In each, torch's process group is there, and a
        context that knows no trials; what the first process writes to it (curves, checkpoints,
        notes, progress) is written here, what the others write is dropped. A stop of the run
        reaches the first one's `stopping`.

        Args:
            function: Takes the context; can be pickled.
            workers: How many processes.

        Raises:
            NetloomError: What the function raised in a process.
            EvaluationError: If a process died.
        """


class Strategy(ABC):
    """Proposes architectures.

    Life: constructed with its options (each keyword argument is one, validated by its annotation),
    `prepare(context)` once per process, `load_state_dict` when resuming, then `ask` and `tell` in
    turn. Draws come from `context.rng(role, number)`, where `number` is a counter kept in the
    state: nothing else of the generators needs to be saved.

    A strategy never opens a database, never starts Ray, never prints.
    """

    name: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset()  # "supernet", "mixture", "gradients", "tasks"
    objectives: ClassVar[Literal["single", "multi", "any"]] = "any"
    needs_data: ClassVar[bool] = False  # whether it trains something itself

    batch: int = 1  # how many candidates are asked for and told at once under `order: number`

    def prepare(self, context: Context) -> None:
        """Train what must be trained first; resumable through the context's checkpoints."""
        self.context = context

    @abstractmethod
    def ask(self, n: int) -> list[Candidate]:
        """Return up to `n` candidates that `context.known` does not know and that differ.

        Fewer than `n` is allowed; an empty list while nothing is pending means that the strategy
        has no more to propose (the space is exhausted), and the search ends.
        """

    @abstractmethod
    def tell(self, results: Sequence[Result]) -> None:
        """Take the results of earlier candidates, in trial-number order."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return JSON values whose size does not grow with the number of trials."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, in another process."""
