"""A Gaussian process over architectures: two are alike where their decisions agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...spaces import Architecture, Decision, DecisionSpace

Floats: TypeAlias = NDArray[np.float64]


class AgreementFeatures:
    """Vectors whose inner product is the share of decisions on which two architectures agree.

    An unordered decision agrees fully or not at all; an ordered one by 1 - |i - j| / (options - 1)
    (as many thermometer bits as agree). Two architectures in which a decision is inactive agree on
    it. Values accepted beyond the options agree with nothing when unordered, and lie between
    their neighbours when ordered.

    Args:
        space: Gives the decisions.
    """

    def __init__(self, space: DecisionSpace) -> None:
        self._decisions = space.decisions
        widths = [_width(decision) for decision in space.decisions]
        self._starts = np.concatenate([[0], np.cumsum(widths)]).astype(int)
        self._scale = float(1.0 / np.sqrt(max(1, len(widths))))
        self._blocks: list[dict[int | None, Floats]] = [{} for _ in widths]

    def __call__(self, architectures: Sequence[Architecture]) -> Floats:
        """Return one row per architecture, shape (n, width)."""
        rows: Floats = np.zeros((len(architectures), self._starts[-1]))
        for row, architecture in zip(rows, architectures, strict=True):
            for i, decision in enumerate(self._decisions):
                row[self._starts[i] : self._starts[i + 1]] = self._block(i, decision, architecture)
        return rows * self._scale

    def _block(self, i: int, decision: Decision, architecture: Architecture) -> Floats:
        if decision.name not in architecture:
            position = None
        else:
            position = decision.index(architecture[decision.name])
            if position is None:
                return _between(decision, architecture[decision.name])
        if position not in self._blocks[i]:
            self._blocks[i][position] = _encoded(decision, position)
        return self._blocks[i][position]


class AgreementModel:
    """Kernel (r + r^2) / 2 on the agreement r: single decisions and pairs of them add up.

    A Gaussian process with a fixed noise share; the outputs are standardised one by one.

    Args:
        features: Agreement vectors, shape (n, width).
        values: What to predict, shape (n, m), finite.
        noise: Variance of the measurements beside that of the signal.
    """

    def __init__(self, features: Floats, values: Floats, noise: float) -> None:
        self._shift = values.mean(axis=0)
        spread = values.std(axis=0)
        self.unit = np.where(spread > 0, spread, 1.0)
        targets = (values - self._shift) / self.unit
        self._features, self._noise = features, noise
        gram = _kernel(features, features)
        self._inverse = np.linalg.inv(gram + noise * np.eye(len(features)))
        self._weights = self._inverse @ targets
        # The signal's variance that makes the targets most likely, given the kernel.
        self._variance = np.maximum(np.einsum("ij,ij->j", targets, self._weights), 0) / len(targets)

    def scaled(self, values: Floats) -> Floats:
        """Return values in the unit that the predictions have."""
        return np.asarray((values - self._shift) / self.unit)

    def mean(self, features: Floats) -> Floats:
        """Return the scaled predictions alone, shape (k, m)."""
        return np.asarray(_kernel(features, self._features) @ self._weights)

    def predict(self, features: Floats) -> Prediction:
        """Return what the model says of architectures, given their agreement vectors (k, width)."""
        across = _kernel(features, self._features)
        projected = across @ self._inverse
        left = np.maximum(1.0 - np.einsum("ij,ij->i", projected, across), 0.0)
        return Prediction(
            mean=across @ self._weights,
            deviation=np.sqrt(left)[:, None] * np.sqrt(self._variance)[None, :],
            left=left,
            noise=self._noise,
            features=features,
            across=across,
            projected=projected,
        )


@dataclass(frozen=True)
class Prediction:
    """What a model says of k architectures, in the scaled unit of the model.

    Args:
        mean: Shape (k, m).
        deviation: Standard deviation, shape (k, m).
        left: Share of the variance that the measurements left, shape (k,).
        noise: The model's.
        features: Agreement vectors of the architectures, shape (k, width).
        across: Kernel between them and the measured ones, shape (k, n).
        projected: `across` times the inverse of the measured ones' covariance, shape (k, n).
    """

    mean: Floats
    deviation: Floats
    left: Floats
    noise: float
    features: Floats
    across: Floats
    projected: Floats

    def shrinkage(self, chosen: int) -> Floats:
        """Return the share of each variance that measuring row `chosen` would leave, shape (k,)."""
        prior = _kernel(self.features, self.features[chosen : chosen + 1])[:, 0]
        covariance = prior - self.projected @ self.across[chosen]
        own = np.maximum(self.left, 1e-12)
        left: Floats = 1.0 - covariance**2 / (own * (own[chosen] + self.noise))
        return np.clip(left, 0.0, 1.0)


def _kernel(a: Floats, b: Floats) -> Floats:
    agreement = a @ b.T
    return np.asarray(0.5 * (agreement + agreement**2))


def _width(decision: Decision) -> int:
    n = len(decision.options)
    return (2 * (n - 1) if decision.ordered and n > 1 else n) + 1  # the last entry: inactive


def _encoded(decision: Decision, position: int | None) -> Floats:
    block = np.zeros(_width(decision))
    n = len(decision.options)
    if position is None:
        block[-1] = 1.0
    elif decision.ordered and n > 1:
        block[:-1] = _thermometer(float(position), n)
    else:
        block[position] = 1.0
    return block


def _between(decision: Decision, value: Any) -> Floats:
    """Return the block of an accepted value that is not an option."""
    block = np.zeros(_width(decision))
    options = [o for o in decision.options if isinstance(o, int | float)]
    numeric = len(options) == len(decision.options) > 1 and isinstance(value, int | float)
    if decision.ordered and numeric:
        order = np.argsort(options)
        position = np.interp(float(value), np.array(options, dtype=float)[order], order)
        block[:-1] = _thermometer(float(position), len(options))
    return block


def _thermometer(position: float, n: int) -> Floats:
    bits: Floats = np.clip(position - np.arange(n - 1), 0.0, 1.0)
    both: Floats = np.concatenate([np.sqrt(bits), np.sqrt(1.0 - bits)])
    return both / float(np.sqrt(n - 1))
