"""Any estimator, asked about one factor of a product: `{name: training, factor: net}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..spaces import Architecture, ProductSpace
from .estimator import Estimator, Metric, Metrics, Report


class FactorEstimator(Estimator):
    """What an estimator says of one factor; its metrics are called `metric@factor`.

    A metric that has a target already, `latency_ms@v100`, becomes `latency_ms@factor.v100`.

    Args:
        space: The product.
        inner: The estimator, made for the factor's space.
        factor: Name of the factor.
    """

    def __init__(self, space: ProductSpace, inner: Estimator, factor: str) -> None:
        super().__init__(space, inner.data)
        self.product, self.inner, self.factor = space, inner, factor
        # one object's flags and name, not the kind's
        self.name = inner.name  # type: ignore[misc]
        self.cheap, self.reports = inner.cheap, inner.reports  # type: ignore[misc]
        self.deterministic = inner.deterministic  # type: ignore[misc]
        self.needs_data = inner.needs_data  # type: ignore[misc]

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those of the estimator, under the names of the factor."""
        return tuple(replace(m, name=self._called(m.name)) for m in self.inner.metrics)

    def identity(self) -> dict[str, Any]:
        """The factor, and everything that decides the estimator's own values."""
        return {"factor": self.factor, "inner": self.inner.fingerprint}

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Evaluate the factor's architecture; see `Estimator.evaluate`."""
        own = None if report is None else self._reporting(report)
        values = self.inner.evaluate(
            self._projected(architecture), seed=seed, budget=budget, report=own
        )
        return self._renamed(values)

    def evaluate_many(
        self, architectures: Sequence[Architecture], *, seeds: Sequence[int]
    ) -> list[Metrics | Exception]:
        """Evaluate in order, as the estimator does."""
        answers = self.inner.evaluate_many([self._projected(a) for a in architectures], seeds=seeds)
        return [a if isinstance(a, Exception) else self._renamed(a) for a in answers]

    def test(self, architecture: Architecture, *, seed: int = 0, weights: Any = None) -> Metrics:
        """Return the metrics whose split is `test`."""
        own = None if weights is None else self._own(weights)
        found = self.inner.test(self._projected(architecture), seed=seed, weights=own)
        return self._renamed(found)

    def trained_weights(self) -> Mapping[str, Any] | None:
        """Return the weights that the estimator trained last, their names after the factor's."""
        weights = self.inner.trained_weights()
        return None if weights is None else {f"{self.factor}.{k}": v for k, v in weights.items()}

    @property
    def initial_weights(self) -> frozenset[str]:
        """Those of the estimator."""
        return self.inner.initial_weights

    def take_initial(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Give the estimator its weights, under the names that it knows."""
        self.inner.take_initial({d: self._own(weights[d]) for d in self.initial_weights})

    def check_initial(self, architecture: Architecture) -> None:
        """See whether the initial weights of the factor's architecture fit it."""
        self.inner.check_initial(self._projected(architecture))

    def details(self, architecture: Architecture) -> Mapping[str, Any] | None:
        """Return the estimator's breakdown of the factor."""
        return self.inner.details(self._projected(architecture))

    def _projected(self, architecture: Architecture) -> Architecture:
        return self.product.project(architecture, self.factor)

    def _own(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        prefix = f"{self.factor}."
        return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}

    def _called(self, metric: str) -> str:
        name, _, target = metric.partition("@")
        return f"{name}@{self.factor}.{target}" if target else f"{name}@{self.factor}"

    def _renamed(self, values: Mapping[str, float]) -> Metrics:
        return {self._called(name): value for name, value in values.items()}

    def _reporting(self, report: Report) -> Report:
        def renamed(step: int, metrics: Mapping[str, float]) -> None:
            report(step, self._renamed(metrics))

        return renamed
