"""The regressions that calibration chooses from; plain arrays in, plain arrays out.

All look at relative errors: a row counts as much whether its network takes 1 ms or 100.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..errors import SpecError

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
PENALTIES = 10.0 ** np.arange(-8, 3)


def non_negative(columns: Matrix, values: Vector) -> Vector:
    """Return coefficients >= 0 that make relative errors small, outliers counting less.

    Errors beyond 1.345 of their robust spread (1.4826 times the median) enter as their size instead
    of its square; the weights that say so and the coefficients are found in turn.

    Source: Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35(1), 1964; the
    constant keeps 95 % of the efficiency of least squares on normal errors.

    Args:
        columns: (rows, columns); a column of zeros gets 0.
        values: (rows,), positive.
    """
    scaled = columns / values[:, None]
    found = _least_squares(scaled, np.ones(len(values)))
    for _ in range(_ROUNDS):
        error = np.abs(scaled @ found - 1)
        spread = 1.4826 * float(np.median(error))
        if spread < EXACT:
            return found
        weights = np.sqrt(np.minimum(1.0, 1.345 * spread / np.maximum(error, 1e-300)))
        found = _least_squares(scaled, weights)
    return found


_ROUNDS = 5
EXACT = 1e-9  # relative errors that are rounding


def _least_squares(scaled: Matrix, weights: Vector) -> Vector:
    """Return coefficients >= 0 whose weighted sums are closest to the weights."""
    from scipy.optimize import nnls

    weighted = scaled * weights[:, None]
    size = np.maximum(np.abs(weighted).max(axis=0, initial=0.0), 1e-300)
    try:
        found, _ = nnls(weighted / size, weights, maxiter=20 * scaled.shape[1] + 100)
    except RuntimeError as error:
        raise SpecError(f"the measurements cannot be fitted: {error}; measure others") from error
    return np.asarray(found / size, dtype=np.float64)


def ridge(columns: Matrix, values: Vector) -> tuple[Vector, float]:
    """Return weights (columns,) and constant of the ridge with the best leave-one-out error.

    Columns are expected centred and scaled.
    """
    middle = float(values.mean())
    u, s, vt = np.linalg.svd(columns, full_matrices=False)
    target = u.T @ (values - middle)
    best: tuple[float, Vector] | None = None
    for penalty in PENALTIES * len(values):
        shrink = s**2 / (s**2 + penalty)
        hat = (u**2 * shrink).sum(axis=1) + 1 / len(values)
        left_out = (values - middle - u @ (shrink * target)) / np.maximum(1 - hat, 1e-9)
        error = float(np.mean(left_out**2))
        if best is None or error < best[0]:
            best = (error, vt.T @ (s / (s**2 + penalty) * target))
    assert best is not None
    return best[1], middle


def towards(counts: Matrix, prior: Vector, spread: Vector, values: Vector, offset: float) -> Vector:
    """Return the cost of each part, close to `prior` unless the measurements say otherwise.

    Minimises the squared relative errors plus a penalty on ((cost - prior) / spread)^2, the penalty
    being that of the best leave-one-out error. Costs below 0 become 0.

    Args:
        counts: (rows, parts) how often each part is in each row.
        prior: (parts,).
        spread: (parts,) by how much a cost may differ, relative to the others.
        values: (rows,) positive.
        offset: What every row costs beside its parts.
    """
    if not spread.any():  # nothing measured depends on the parts
        return prior
    scaled = counts * spread / values[:, None]
    rest = 1 - (offset + counts @ prior) / values
    kernel = scaled @ scaled.T
    roots, vectors = np.linalg.eigh(kernel)
    roots = np.maximum(roots, 0.0)
    target = vectors.T @ rest
    best: tuple[float, Vector] | None = None
    for penalty in PENALTIES * max(float(roots.max()), 1e-300):
        inverse = 1 / (roots + penalty)
        weights = vectors @ (inverse * target)
        left_out = weights / np.maximum((vectors**2 * inverse).sum(axis=1), 1e-300)
        error = float(np.mean(left_out**2))
        if best is None or error < best[0]:
            best = (error, weights)
    assert best is not None
    return np.maximum(prior + spread * (scaled.T @ best[1]), 0.0)


def folds(groups: Sequence[str], seed: int, most: int = 10) -> list[npt.NDArray[np.bool_]]:
    """Return masks of the rows held out together; rows of one group are never parted.

    With up to 20 groups each is held out alone.
    """
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    count = len(names) if len(names) <= 20 else most
    place = {names[i]: n % count for n, i in enumerate(order)}
    where = np.array([place[group] for group in groups])
    return [where == fold for fold in range(count)]


Tree = tuple[tuple[float, ...], ...]


def forest(columns: Matrix, values: Vector, seed: int, trees: int = 40) -> tuple[Tree, ...]:
    """Return regression trees whose mean predicts `values`.

    Nodes are [column, threshold, left, right, value]; a leaf has column -1.
    """
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(trees, max_leaf_nodes=16, min_samples_leaf=3, random_state=seed)
    model.fit(columns, values)
    found = []
    for estimator in model.estimators_:
        t = estimator.tree_
        leaf = t.children_left < 0
        found.append(
            tuple(
                (
                    -1.0 if leaf[i] else float(t.feature[i]),
                    float(t.threshold[i]),
                    float(t.children_left[i]),
                    float(t.children_right[i]),
                    float(t.value[i].item()),
                )
                for i in range(t.node_count)
            )
        )
    return tuple(found)
