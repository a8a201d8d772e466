"""Fits one candidate model, and chooses between candidates by cross-validation.

Candidates are every grouping of kernels (`fit.Features`) with every layer counted or only those
that an exported network runs; then, for the best of them, a table of single kernels that stays
close to it unless the measurements say otherwise, and from 100 networks on a learned factor (ridge,
or a forest of small trees). The error compared is the mean absolute relative error on held-out
networks; what is richer must be better by more than two standard errors of the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from .design import Column, Design
from .fit import FEATURES, Coefficients, Correction, Features, Runs
from .regression import EXACT, Matrix, Vector, folds, forest, non_negative, ridge, towards
from .work import Work

Extra: TypeAlias = Literal["none", "table", "ridge", "forest"]
Mask: TypeAlias = npt.NDArray[np.bool_]
LEARN_FROM = 100  # networks, from which on a learned correction is tried
_SPARE = 3  # networks more than coefficients, for a perfect fit to be no accident
_FLOOR = 0.1  # how much a kernel may cost in a table at least, relative to the mean kernel


@dataclass(frozen=True)
class Candidate:
    """What is to be fitted."""

    features: Features
    runs: Runs
    extra: Extra = "none"


@dataclass(frozen=True)
class Fitted:
    """A fitted candidate.

    Args:
        candidate: What was fitted.
        constant_us: What every network costs.
        columns: Of the regression.
        coefficients: (columns,), 0 for those that no network had.
        seen: The groups that some network had.
        kernels_us: (kernels,) what one of each kernel costs.
        scale: Measured over modelled time.
        correction: The learned factor, if one was asked for.
    """

    candidate: Candidate
    constant_us: float
    columns: tuple[Column, ...]
    coefficients: Vector
    seen: frozenset[str]
    kernels_us: Vector
    scale: float
    correction: Correction | None

    def predict_us(self, design: Design, rows: Mask) -> Vector:
        """Return the latency of some networks of the design it was fitted to."""
        counts = design.counts(self.candidate.runs)[rows]
        base = self.constant_us + counts @ self.kernels_us
        if self.correction is None:
            return base
        names, each = design.totals
        totals = counts @ each
        factors = [
            self.correction.factor(dict(zip(names, row, strict=True))) for row in totals.tolist()
        ]
        return np.asarray(base * np.array(factors), dtype=np.float64)

    def groups(self) -> dict[str, Coefficients]:
        """Return the coefficients by group."""
        found: dict[str, dict[str, float]] = {name: {} for name in sorted(self.seen)}
        for (group, measures), value in zip(self.columns, self.coefficients.tolist(), strict=True):
            if group in found:
                found[group].update(dict.fromkeys(measures, value))
        return {name: Coefficients(**values) for name, values in found.items()}


class Fitter:
    """Fits and chooses on a design with its measurements.

    Args:
        design: The measured networks.
        values_us: (networks,) what they took.
        groups: Equal texts for networks that must be held out together.
        modelled_us: What the roofline of the data sheet says of a kernel.
        seed: Of the folds and the trees.
    """

    def __init__(
        self,
        design: Design,
        values_us: Vector,
        groups: Sequence[str],
        modelled_us: Callable[[Work], float],
        seed: int,
    ) -> None:
        self.design, self.values, self.names, self.seed = design, values_us, groups, seed
        self._modelled = design.each(modelled_us)
        self._columns = {features: design.columns(features) for features in FEATURES}
        self._groups = {features: design.groups(features) for features in FEATURES}

    def fit(self, candidate: Candidate, rows: Mask) -> Fitted:
        """Return one candidate fitted to some of the networks."""
        counts, values = self.design.counts(candidate.runs)[rows], self.values[rows]
        columns, each = self._columns[candidate.features]
        table = np.column_stack([np.ones(len(values)), counts @ each])
        constant, *found = non_negative(table, values)
        coefficients = np.array(found)
        used = counts.any(axis=0)
        groups = self._groups[candidate.features]
        seen = frozenset([g for k in np.flatnonzero(used) for g in groups[k]])
        scale = float(np.median(values / (counts @ self._modelled)))
        known = np.array([seen.issuperset(g) for g in groups])
        kernels = np.where(known, each @ coefficients, scale * self._modelled)
        if candidate.extra == "table":
            spread = np.maximum(kernels, _FLOOR * (counts @ kernels).mean() / counts.sum(1).mean())
            kernels = towards(counts, kernels, spread, values, constant)
        plain = Fitted(
            candidate, float(constant), tuple(columns), coefficients, seen, kernels, scale, None
        )
        if candidate.extra not in ("ridge", "forest"):
            return plain
        base = plain.predict_us(self.design, rows)
        factors = np.divide(values, base, out=np.ones_like(values), where=base > 0)
        correction = self._correction(candidate, counts, factors)
        return Fitted(**{**vars(plain), "correction": correction})

    def _correction(self, candidate: Candidate, counts: Matrix, factors: Vector) -> Correction:
        names, each = self.design.totals
        totals = counts @ each
        center, spread = totals.mean(axis=0), totals.std(axis=0)
        varies = spread > 1e-9 * np.abs(center).max(initial=0.0)
        scaled = (totals[:, varies] - center[varies]) / spread[varies]
        plain = Correction(
            totals=tuple(np.array(names)[varies].tolist()),
            center=tuple(center[varies].tolist()),
            spread=tuple(spread[varies].tolist()),
            constant=0.0,
            lowest=float(factors.min()),
            highest=float(factors.max()),
        )
        if candidate.extra == "ridge":
            weights, constant = ridge(scaled, factors)
            found = {"weights": tuple(weights.tolist()), "constant": constant}
            return plain.model_copy(update=found)
        return plain.model_copy(update={"trees": forest(scaled, factors, self.seed)})

    def choose(self, rows: Mask) -> Candidate:
        """Return the candidate that does best on held-out networks among `rows`.

        Of the plain ones that with the smallest error; a richer one in its place only where it is
        better by more than two standard errors of the difference. A plain one that reproduces all
        measurements to the last digits, with coefficients to spare, is beyond comparison: what was
        measured is such a sum (a simulator's).
        """
        ways: tuple[Runs, ...] = ("every",) if self.design.all_live else ("every", "live")
        plain = [Candidate(features, runs) for runs in ways for features in FEATURES]
        for candidate in plain:
            if self._exact(candidate, rows):
                return candidate
        error = {c: self.errors(c, rows) for c in plain}
        best = min(plain, key=lambda c: float(error[c].mean()))
        learned: tuple[Extra, ...] = ("ridge", "forest") if rows.sum() >= LEARN_FROM else ()
        extras: tuple[Extra, ...] = ("table", *learned)
        richer = [Candidate(best.features, best.runs, extra) for extra in extras]
        error |= {c: self.errors(c, rows) for c in richer}
        first = min(richer, key=lambda c: float(error[c].mean()))
        gain = error[best] - error[first]
        return first if gain.mean() > 2 * gain.std() / np.sqrt(len(gain)) else best

    def _exact(self, candidate: Candidate, rows: Mask) -> bool:
        fitted = self.fit(candidate, rows)
        error = np.abs(fitted.predict_us(self.design, rows) / self.values[rows] - 1)
        used = int((fitted.coefficients > 0).sum()) + (fitted.constant_us > 0)
        return bool(error.max() < EXACT and rows.sum() - used >= _SPARE)

    def errors(self, candidate: Candidate, rows: Mask) -> Vector:
        """Return the absolute relative error on each network of `rows`, held out."""
        predicted = self.held_out(rows, lambda train: self.fit(candidate, train))
        return np.asarray(np.abs(predicted - self.values[rows]) / self.values[rows])

    def held_out(self, rows: Mask, make: Callable[[Mask], Fitted]) -> Vector:
        """Return the prediction of each network of `rows` by a model that has not seen it."""
        numbers = np.flatnonzero(rows)
        predicted = np.zeros(len(numbers))
        for fold in folds([self.names[i] for i in numbers.tolist()], self.seed):
            train, test = np.zeros_like(rows), np.zeros_like(rows)
            train[numbers[~fold]] = test[numbers[fold]] = True
            predicted[fold] = make(train).predict_us(self.design, test)
        return predicted
