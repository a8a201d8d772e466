"""The contract of everything that says what a network is worth or what it costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeAlias

from ..errors import EvaluationError
from ..jsonio import digest
from ..spaces import Architecture, DecisionSpace

Direction: TypeAlias = Literal["maximize", "minimize"]
Metrics: TypeAlias = dict[str, float]
Report: TypeAlias = Callable[[int, Mapping[str, float]], None]


@dataclass(frozen=True)
class Metric:
    """A quantity that an estimator provides.

    Args:
        name: `metric` or `metric@target`; the unit is in the name where there is one.
        unit: For example `%`, `ms`, `bytes`, `MACs`; empty for a plain number.
        direction: Which way is better.
        split: `test` marks a metric that no strategy may see: the runner asks for it once, for
            the front, at the end (`Estimator.test`).
        provenance: Where a value comes from: `{"kind": "measured" | "table" | "model" | "trained"
            | "count", "source": ..., "version": ...}`; stored with the value.
    """

    name: str
    unit: str
    direction: Direction
    split: Literal["valid", "test"] = "valid"
    provenance: Mapping[str, Any] = field(default_factory=dict)


class DataInfo(Protocol):
    """What a space and an estimator may know of a data set before it is loaded."""

    name: str
    in_channels: int
    resolution: int
    classes: int | None


class Estimator(ABC):
    """Says what architectures are worth.

    Every keyword argument of the constructor beside `space` and `data` is an option that a YAML
    spec may set; its annotation is how the spec validates it.

    Args:
        space: Where the architectures come from.
        data: The data set, for the kinds that need one.
    """

    name: ClassVar[str] = ""
    cheap: ClassVar[bool] = False  # milliseconds, no training: the inline engine takes it
    deterministic: ClassVar[bool] = True  # the seed does not matter: reusable across runs
    needs_data: ClassVar[bool] = False
    reports: ClassVar[bool] = False  # calls `report` per step: schedulers may stop it early

    def __init__(self, space: DecisionSpace, data: Any = None) -> None:
        self.space, self.data = space, data

    @classmethod
    def space_options(cls, space: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what options of the space must be for this estimator's values to be right.

        The runner fills those that neither the spec nor the data set decides.

        Args:
            space: Name of the space in the spec.
            options: The estimator's own options, as the spec gives them.
        """
        return {}

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """What this estimator provides; fixed for the life of the object."""

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides the values (options, data, tables, version)."""
        return digest({"estimator": type(self).__name__, **self.identity()})

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the JSON values that decide the metrics; `fingerprint` digests them."""

    @abstractmethod
    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Return a finite value for every metric whose split is `valid`.

        Args:
            architecture: A member of `space`.
            seed: Decides every random draw.
            budget: Fidelity (epochs, for training); None is the estimator's own full budget.
            report: Called as `report(step, metrics)` while it runs; may raise `StopTrial`.

        Raises:
            EvaluationError: If there is no honest value; the cause is chained.
            HardwareLimit: If the network cannot run on the device asked about.
        """

    def evaluate_many(
        self, architectures: Sequence[Architecture], *, seeds: Sequence[int]
    ) -> list[Metrics | Exception]:
        """Evaluate in order; a failure takes its place in the list, the others go on."""
        results: list[Metrics | Exception] = []
        for architecture, seed in zip(architectures, seeds, strict=True):
            try:
                results.append(self.evaluate(architecture, seed=seed))
            except Exception as error:
                results.append(error)
        return results

    def test(self, architecture: Architecture, *, seed: int = 0, weights: Any = None) -> Metrics:
        """Return the metrics whose split is `test`; called once per member of the front.

        Args:
            architecture: A member of the front.
            seed: The seed that its trial was evaluated with.
            weights: The state dict that `trained_weights` gave, for the kinds that train.
        """
        return {}

    def trained_weights(self) -> Mapping[str, Any] | None:
        """Return the state dict of the last evaluated network, if this kind trains one."""
        return None

    @property
    def initial_weights(self) -> frozenset[str]:
        """Digests of the stored weights that evaluations start from; the runner gives them."""
        return frozenset()

    def take_initial(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the state dicts of `initial_weights`, by digest, before anything is evaluated."""
        return None

    def check_initial(self, architecture: Architecture) -> None:
        """See whether the initial weights of an architecture are there and fit it.

        Raises:
            EvaluationError: If not: it says why.
        """
        return None

    def details(self, architecture: Architecture) -> Mapping[str, Any] | None:
        """Return a JSON breakdown (per layer costs, ...) for the front and the best trials."""
        return None


def check_finite(estimator: str, metrics: Mapping[str, float], expected: Sequence[str]) -> Metrics:
    """Return `metrics` as plain floats.

    Raises:
        EvaluationError: If one is missing, unexpected, or not a finite number.
    """
    missing = sorted(set(expected) - set(metrics))
    if missing:
        raise EvaluationError(f"{estimator} must give {', '.join(missing)}; got {sorted(metrics)}")
    values: Metrics = {}
    for name in expected:
        try:
            value = float(metrics[name])
        except (TypeError, ValueError, OverflowError) as error:
            raise EvaluationError(
                f"{estimator}: {name} must be a number, got {metrics[name]!r}"
            ) from error
        if value != value or value in (float("inf"), float("-inf")):
            raise EvaluationError(f"{estimator}: {name} must be a finite number, got {value}")
        values[name] = value
    return values
