"""Is the result ahead of random search, and of the noise? Said as carefully as the data allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import stdtrit

from ..db.records import ExperimentRecord
from ..pareto import ranks
from .axes import feasible_losses, objective_axes, reference_of, volume_of
from .rows import ExperimentRow
from .table import Floats, TrialTable
from .words import plural, value_text

if TYPE_CHECKING:
    from ..db import Store

Verdict: TypeAlias = Literal["ahead", "behind", "level", "too few"]
DRAWS = 1000  # random divisions: a p of 0.05 is known to within 0.014
LEVEL = 0.05
MIN_EVALUATIONS = 10  # per side: fewer cannot say anything at the 5 % level worth saying
MIN_SEEDS = 3
MAX_RANK = 14  # a point behind 15 others shows in one division of 2^15
MANY_OBJECTIVES_DRAWS = 200  # a volume in four and more dimensions is slow


@dataclass(frozen=True)
class BaselineView:
    """An experiment beside random search with the same number of evaluations.

    With one run: both sides are cut to the same number of evaluations; `p_value` is the share of
    1,000 random divisions of all evaluations into two equal halves whose hypervolume differs at
    least as much, either way. It is exact for the hypothesis that the strategy draws as
    random search does; it cannot know how much other seeds of the strategy vary, and the sentence
    says so. With several seeds (a group): `interval` is the 95 % interval (Student's t) of the mean
    paired difference over the seeds, which does.

    Args:
        experiment: The search.
        baseline: Its random baseline.
        evaluations: Evaluations compared on each side (of one seed).
        score: Hypervolume of the search; with one objective the best value. Mean over seeds.
        baseline_score: The same for the baseline.
        difference: What the search is better by, in hypervolume or in the objective's own unit.
        seeds: Pairs compared.
        p_value: For one seed.
        interval: For several seeds, of `difference`.
        verdict: `ahead` or `behind` of the noise, `level` with it, `too few` evaluations to tell.
        sentence: The finding in words.
    """

    experiment: ExperimentRow
    baseline: ExperimentRow
    evaluations: int
    score: float
    baseline_score: float
    difference: float
    seeds: int
    p_value: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    sentence: str

    @classmethod
    def of(
        cls, store: Store, ref: str, *, table: TrialTable | None = None, draws: int = DRAWS
    ) -> BaselineView | None:
        """Compare experiment `ref` with its baseline; None when it has none."""
        record = store.experiment(ref)
        found = _baseline_of(store, record)
        if found is None:
            return None
        own = TrialTable.read(store, record) if table is None else table
        pair = _Pair.of(record, own, found, TrialTable.read(store, found))
        others = _siblings(store, record)
        if len(others) >= MIN_SEEDS - 1:
            return _over_seeds(record, found, [pair, *others])
        return _one_seed(record, found, pair, draws)


@dataclass(frozen=True)
class _Pair:
    """Losses of the evaluations that count on each side, in order, equally many."""

    search: Floats
    baseline: Floats

    @classmethod
    def of(
        cls,
        record: ExperimentRecord,
        table: TrialTable,
        baseline: ExperimentRecord,
        baseline_table: TrialTable,
    ) -> _Pair:
        mine = feasible_losses(table, record)[table.spent]
        theirs = feasible_losses(baseline_table, record)[baseline_table.spent]
        equal = min(len(mine), len(theirs))
        return cls(mine[:equal], theirs[:equal])

    @property
    def known(self) -> bool:
        """Whether there is a feasible result on either side to measure from."""
        return any(not np.isnan(side).any(axis=1).all() for side in (self.search, self.baseline))


def _baseline_of(store: Store, record: ExperimentRecord) -> ExperimentRecord | None:
    found = [each for each in store.experiments(parent=record.id) if each.kind == "baseline"]
    return found[-1] if found else None


def _siblings(store: Store, record: ExperimentRecord) -> list[_Pair]:
    """Return the pairs of the other seeds of the group, those that ask the same question.

    A seed counts once: the same run repeated is no further evidence.
    """
    if record.group is None:
        return []
    pairs, seeds = [], {record.seed}
    for other in store.experiments(group=record.group):
        same = (other.space_fingerprint, other.strategy, other.objectives, other.constraints) == (
            record.space_fingerprint,
            record.strategy,
            record.objectives,
            record.constraints,
        )
        if other.seed in seeds or other.kind != record.kind or not same:
            continue
        if baseline := _baseline_of(store, other):
            seeds.add(other.seed)
            tables = (TrialTable.read(store, each) for each in (other, baseline))
            pairs.append(_Pair.of(other, next(tables), baseline, next(tables)))
    return pairs


def _score(losses: Floats, reference: Floats) -> float:
    """Return the hypervolume; of one objective the distance of its best from the reference."""
    return volume_of(losses, reference) or 0.0


def _one_seed(
    record: ExperimentRecord, baseline: ExperimentRecord, pair: _Pair, draws: int
) -> BaselineView:
    size = len(pair.search)
    reference = reference_of(pair.search, pair.baseline) if size else None
    if reference is None:
        return _verdict(record, baseline, [pair], (0.0, 0.0), None, "too few", reference)
    scores = _score(pair.search, reference), _score(pair.baseline, reference)
    if size < MIN_EVALUATIONS:
        return _verdict(record, baseline, [pair], scores, None, "too few", reference)
    p_value = division_test(pair.search, pair.baseline, reference, draws)
    verdict: Verdict = "level"
    if p_value < LEVEL and scores[0] != scores[1]:
        verdict = "ahead" if scores[0] > scores[1] else "behind"
    return _verdict(record, baseline, [pair], scores, p_value, verdict, reference)


def division_test(first: Floats, second: Floats, reference: Floats, draws: int = DRAWS) -> float:
    """Return how often random halves of all rows differ at least as much in hypervolume.

    A two-sided permutation test; rows with NaN are evaluations without a feasible result and are
    divided like the others. The seed is fixed.

    Args:
        first: (n, m) losses, NaN rows allowed.
        second: (n, m).
        reference: (m,).
        draws: Divisions tried.
    """
    observed = abs(_score(first, reference) - _score(second, reference))
    pool = np.concatenate([first, second])
    rows = np.flatnonzero(~np.isnan(pool).any(axis=1))
    rows = rows[ranks(pool[rows]) <= MAX_RANK]
    values, total = pool[rows], len(pool)
    if first.shape[1] > 3:
        draws = min(draws, MANY_OBJECTIVES_DRAWS)
    rng = np.random.default_rng(0)
    least, extreme = observed * (1 - 1e-12), 0
    for _ in range(draws):
        half = np.zeros(total, dtype=bool)
        half[rng.permutation(total)[: len(first)]] = True
        mine = half[rows]
        difference = _score(values[mine], reference) - _score(values[~mine], reference)
        extreme += abs(difference) >= least
    return (extreme + 1) / (draws + 1)


def _over_seeds(
    record: ExperimentRecord, baseline: ExperimentRecord, pairs: Sequence[_Pair]
) -> BaselineView:
    pairs = [pair for pair in pairs if len(pair.search)]
    sides = [side for pair in pairs for side in (pair.search, pair.baseline)]
    reference = reference_of(*sides) if any(pair.known for pair in pairs) else None
    if reference is None:
        return _verdict(record, baseline, pairs, (0.0, 0.0), None, "too few", reference)
    mine = np.array([_score(pair.search, reference) for pair in pairs])
    theirs = np.array([_score(pair.baseline, reference) for pair in pairs])
    scores = float(mine.mean()), float(theirs.mean())
    if len(pairs) < MIN_SEEDS:
        return _verdict(record, baseline, pairs, scores, None, "too few", reference)
    low, high = paired_interval(mine - theirs)
    verdict: Verdict = "ahead" if low > 0 else "behind" if high < 0 else "level"
    return _verdict(record, baseline, pairs, scores, (low, high), verdict, reference)


def paired_interval(differences: Floats) -> tuple[float, float]:
    """Return the 95 % interval (Student's t) of the mean of paired differences."""
    count, mean = len(differences), float(differences.mean())
    half = float(stdtrit(count - 1, 0.975) * differences.std(ddof=1) / np.sqrt(count))
    return mean - half, mean + half


def _verdict(
    record: ExperimentRecord,
    baseline: ExperimentRecord,
    pairs: Sequence[_Pair],
    scores: tuple[float, float],
    evidence: float | tuple[float, float] | None,
    verdict: Verdict,
    reference: Floats | None,
) -> BaselineView:
    evaluations = min((len(pair.search) for pair in pairs), default=0)
    text = _sentence(record, scores, evidence, verdict, reference, (evaluations, len(pairs)))
    shown = scores
    if len(record.objectives) == 1 and reference is not None:
        sign = objective_axes(record)[0].sign
        mine, theirs = (sign * (float(reference[0]) - each) if each else np.nan for each in scores)
        shown = mine, theirs
    return BaselineView(
        experiment=ExperimentRow.of(record),
        baseline=ExperimentRow.of(baseline),
        evaluations=evaluations,
        score=shown[0],
        baseline_score=shown[1],
        difference=scores[0] - scores[1],
        seeds=len(pairs),
        p_value=evidence if isinstance(evidence, float) else None,
        interval=evidence if isinstance(evidence, tuple) else None,
        verdict=verdict,
        sentence=text,
    )


def _sentence(
    record: ExperimentRecord,
    scores: tuple[float, float],
    evidence: float | tuple[float, float] | None,
    verdict: Verdict,
    reference: Floats | None,
    size: tuple[int, int],
) -> str:
    evaluations, seeds = size
    if reference is None:
        return (
            "Neither the search nor its random baseline has a feasible result yet, so there is "
            "nothing to compare."
        )
    text = _measured(record, scores, reference, size)
    if isinstance(evidence, tuple):
        low, high = evidence
        finding = {
            "ahead": "the search is ahead of random search and of the noise between seeds",
            "behind": "the search is behind random search by more than the noise between seeds",
        }.get(verdict, "the difference is within the noise between seeds")
        return f"{text} The 95 % interval of the difference is {low:.4g} to {high:.4g}: {finding}."
    if isinstance(evidence, float):
        finding = {
            "ahead": "the search is ahead of random search and of the noise of drawing",
            "behind": "the search is behind random search by more than the noise of drawing",
        }.get(verdict, "the difference is within the noise")
        return (
            f"{text} Dividing all evaluations at random gives a difference this large in "
            f"{100 * evidence:.2g} % of cases: {finding}. One seed says nothing about how other "
            "seeds vary: netloom search --seeds 0-4 measures that."
        )
    if seeds > 1:
        return (
            f"{text} {plural(seeds, 'seed')} cannot tell this from noise; run {MIN_SEEDS} or more."
        )
    return (
        f"{text} With fewer than {MIN_EVALUATIONS} evaluations on each side this cannot be told "
        f"from noise ({plural(evaluations, 'evaluation')} now)."
    )


def _measured(
    record: ExperimentRecord,
    scores: tuple[float, float],
    reference: Floats,
    size: tuple[int, int],
) -> str:
    evaluations, seeds = size
    effort = f"the same {plural(evaluations, 'evaluation')}"
    if seeds > 1:
        effort = f"{plural(seeds, 'seed')} of {plural(evaluations, 'evaluation')} each"
    if len(record.objectives) == 1:
        axis = objective_axes(record)[0]
        best = [
            value_text(axis.sign * (reference[0] - each), axis.unit) if each else "nothing feasible"
            for each in scores
        ]
        return f"Best {axis.metric}: {best[0]}, random search with {effort}: {best[1]}."
    gain = f" ({100 * (scores[0] / scores[1] - 1):+.2g} %)" if scores[1] else ""
    return (
        f"Hypervolume {scores[0]:.4g} against {scores[1]:.4g}{gain} for random search with "
        f"{effort} (one reference point for both)."
    )
