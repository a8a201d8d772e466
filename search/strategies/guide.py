"""Which of many candidates to evaluate next, by a model of everything measured so far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ... import pareto
from ..objectives import Constraint, losses
from ..strategy import Context, Result
from .agreement import AgreementFeatures, AgreementModel, Floats
from .merit import FAILED, merit

_FITTED = 512  # results that a model is fitted on: bounds the time of one choice
_NOISE = 0.1  # share of the variance that is noise of the measurement


class Guide:
    """Ranks candidates by how far their optimistic prediction would push the front.

    The gain of a candidate is the additive epsilon indicator against the front: by how much (in
    units of the front's extent) every front member would have to improve in some objective to
    remain undominated by the candidate. With one objective that is the predicted improvement.
    Candidates whose predicted mean breaks constraints come after all others, least broken first.

    Args:
        context: Gives objectives and constraints.
        features: Turns architectures into agreement vectors.
        optimism: Standard deviations subtracted from a predicted loss.
    """

    def __init__(self, context: Context, features: AgreementFeatures, optimism: float) -> None:
        self._context, self._vectors, self._optimism = context, features, optimism
        self._results: list[Result] = []
        self._features: list[Floats] = []
        self._tiers: list[int] = []
        self._losses: dict[int, tuple[float, ...]] = {}  # of the results that have them all

    def add(self, results: Sequence[Result]) -> None:
        """Learn from results."""
        for result in results:
            tier = merit(self._context.objectives, result).tier
            if tier != FAILED and all(o.metric in result.metrics for o in self._context.objectives):
                self._losses[len(self._results)] = losses(self._context.objectives, result.metrics)
            self._tiers.append(tier)
            self._results.append(result)
        self._features += list(self._vectors([r.architecture for r in results]))

    def best(self, candidates: Floats, n: int) -> list[int]:
        """Return the rows of the `n` candidates to evaluate next, the best first.

        Args:
            candidates: Agreement vectors, shape (k, width).
            n: How many are wanted; at most k come back.
        """
        violation = self._violation(candidates)
        rows, measured, front = self._measured()
        if len(rows) == 0:
            least: list[int] = np.argsort(violation, kind="stable")[:n].tolist()
            return least
        model = AgreementModel(self._stack(rows), _without_tail(measured), _NOISE)
        predicted = model.predict(candidates)
        mean, deviation = predicted.mean, predicted.deviation
        target = model.scaled(front)
        extent = np.ptp(target, axis=0)
        extent = np.where(extent > 0, extent, 1.0)
        chosen: list[int] = []
        for _ in range(min(n, len(candidates))):
            hopes = mean - self._optimism * deviation
            gain = ((target[None, :, :] - hopes[:, None, :]) / extent).max(axis=2).min(axis=1)
            order = np.lexsort((-gain, violation))
            pick = next(int(i) for i in order if int(i) not in chosen)
            chosen.append(pick)
            if len(chosen) < n:  # the next of the batch as if this one had come out as predicted
                deviation = deviation * np.sqrt(predicted.shrinkage(pick))[:, None]
                target = np.concatenate([target, mean[pick : pick + 1]])
        return chosen

    def _measured(self) -> tuple[list[int], Floats, Floats]:
        """Return (rows to fit, their losses, the losses of the feasible front or the least bad).

        Failed trials count as the worst of each loss: the model should lead away from them. Of
        more results than can be fitted, the front and the youngest are kept.
        """
        known = dict(self._losses)
        if not known:
            return [], np.zeros((0, 0)), np.zeros((0, 0))
        tier = min(self._tiers[i] for i in known)
        leaders = [i for i in known if self._tiers[i] == tier]
        front = np.array([known[i] for i in leaders])
        mask = pareto.front_mask(front)
        leaders = [i for i, kept in zip(leaders, mask, strict=True) if kept]
        worst = tuple(np.array(list(known.values())).max(axis=0).tolist())
        known |= {i: worst for i, t in enumerate(self._tiers) if t == FAILED}
        rows = list(dict.fromkeys([*leaders, *sorted(known, reverse=True)]))[:_FITTED]
        return rows, np.array([known[i] for i in rows]), front[mask]

    def _violation(self, candidates: Floats) -> Floats:
        """Return the sum of the predicted relative violations, shape (k,)."""
        total = np.zeros(len(candidates))
        for constraint in self._context.constraints:
            rows = [i for i, r in enumerate(self._results) if constraint.metric in r.metrics]
            rows = rows[-_FITTED:]
            if rows:
                excess = [[_excess(constraint, self._results[i])] for i in rows]
                model = AgreementModel(self._stack(rows), np.array(excess), _NOISE)
                mean = model.mean(candidates)
                limit = model.scaled(np.zeros((1, 1)))
                total += np.maximum(mean - limit, 0.0)[:, 0] * model.unit[0]
        return total

    def _stack(self, rows: Sequence[int]) -> Floats:
        return np.stack([self._features[i] for i in rows])


def _without_tail(values: Floats) -> Floats:
    """Return losses cut off as far above the median as twice the way from it to the best.

    What lies beyond is bad, how bad does not matter: fitting it would cost precision where the
    good ones are.
    """
    median, best = np.median(values, axis=0), values.min(axis=0)
    tail: Floats = median + 2.0 * (median - best)
    return np.minimum(values, tail)


def _excess(constraint: Constraint, result: Result) -> float:
    """Return the signed relative distance to the bound, negative where it holds, -1 to 1."""
    value = result.metrics[constraint.metric]
    if constraint.max is not None:
        excess = (value - constraint.max) / (abs(constraint.max) or 1.0)
    else:
        bound = constraint.min or 0.0
        excess = (bound - value) / (abs(bound) or 1.0)
    return min(1.0, max(-1.0, excess))
