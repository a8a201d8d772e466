"""How close predictions come to measurements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .device import Validation

Vector = npt.NDArray[np.float64]
DIGITS = 9  # what differs by less is one value: sums of other orders must not break ties


def rounded(values: Vector) -> Vector:
    """Return the values with `DIGITS` significant digits."""
    scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(np.maximum(np.abs(values), 1e-300))))
    return np.asarray(np.round(values * scale) / scale, dtype=np.float64)


def validation(
    predicted: Vector, measured: Vector, *, source: str, noise_ceiling: float | None = None
) -> Validation:
    """Return the scores of predictions; both are rounded before they are ranked."""
    from scipy.stats import kendalltau, spearmanr

    predicted, measured = rounded(predicted), rounded(measured)
    error = rounded(np.abs(predicted - measured) / measured)
    ranks: dict[str, Any] = {}
    if len(set(predicted.tolist())) > 1 and len(set(measured.tolist())) > 1:
        ranks["spearman"] = float(spearmanr(predicted, measured).statistic)
        ranks["kendall"] = float(kendalltau(predicted, measured).statistic)
    return Validation(
        n=len(measured),
        mape_percent=float(100 * error.mean()),
        within_5_percent=float(100 * (error <= 0.05).mean()),
        within_10_percent=float(100 * (error <= 0.10).mean()),
        noise_ceiling=noise_ceiling,
        source=source,
        **ranks,
    )


def noise_ceiling(values: Vector, groups: Sequence[str], least: int = 10) -> float | None:
    """Return the rank correlation with the measurements that a perfect model could reach.

    Two measurements of one network (or of networks that must take equally long) agree up to the
    noise; a perfect model agrees with one of them about as well as the square root of that.

    Args:
        values: The measurements.
        groups: Equal texts for measurements that would be equal without noise; empty: unknown.
        least: Fewer groups with two measurements say too little: None. So do equal ones.
    """
    from scipy.stats import spearmanr

    members: dict[str, list[float]] = {}
    for value, group in zip(values.tolist(), groups, strict=True):
        if group:
            members.setdefault(group, []).append(value)
    pairs = [found[:2] for found in members.values() if len(found) > 1]
    if len(pairs) < least or len({value for pair in pairs for value in pair}) == 1:
        return None
    first, second = np.array(pairs).T
    both = spearmanr(np.concatenate([first, second]), np.concatenate([second, first])).statistic
    return float(np.sqrt(max(both, 0.0)))
