"""Is the result ahead of random search, and of the noise? Said as carefully as the data allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from scipy.special import stdtrit

from ..db.records import ExperimentRecord
from ..pareto import ranks
from .axes import feasible_losses, named_reference, objective_axes, reference_of, volume_of
from .progress import By
from .rows import ExperimentRow, open_record
from .table import Floats, TrialTable
from .views import HistoryView
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
        record = open_record(store, ref)
        own = TrialTable.read(store, record) if table is None else table
        rivals = Rivals.of(store, record, own)
        return None if rivals is None else cls.from_rivals(rivals, draws=draws)

    @classmethod
    def from_rivals(cls, rivals: Rivals, *, draws: int = DRAWS) -> BaselineView:
        """Compare what is read already."""
        return _over_seeds(rivals) if len(rivals.pairs) >= MIN_SEEDS else _one_seed(rivals, draws)


@dataclass(frozen=True)
class Rivals:
    """A search and its random baseline, with one reference point for all that is said of them.

    Args:
        record: The search.
        baseline: Its baseline.
        baseline_table: The baseline's trials.
        pairs: The search's own pair first; then those of the other seeds of its group.
        reference: (m,) losses: the worst of all feasible results of all pairs and 10 % of their
            range beyond; None while nothing is feasible.
    """

    record: ExperimentRecord
    baseline: ExperimentRecord
    baseline_table: TrialTable = field(repr=False)
    pairs: tuple[_Pair, ...] = field(repr=False)
    reference: Floats | None

    @classmethod
    def of(cls, store: Store, record: ExperimentRecord, table: TrialTable) -> Rivals | None:
        """Read the baseline of a search, and of its group; None when it has none."""
        baseline = _baseline_of(store, record)
        if baseline is None:
            return None
        other = TrialTable.read(store, baseline)
        pair = _Pair.of(record, table, other)
        siblings = _siblings(store, record)
        pairs = (pair, *siblings) if len(siblings) >= MIN_SEEDS - 1 else (pair,)
        sides = [side for each in pairs for side in (each.search, each.baseline)]
        return cls(record, baseline, other, pairs, reference_of(*sides))

    @property
    def named_reference(self) -> dict[str, float]:
        """Objective values of the reference by metric name; empty while there is none."""
        return named_reference(self.record, self.reference)

    def baseline_history(self, by: By = "trials") -> HistoryView:
        """Return how the baseline grew, measured against the common reference."""
        return HistoryView.from_table(
            self.baseline, self.baseline_table, reference=self.named_reference or None, by=by
        )


@dataclass(frozen=True)
class _Pair:
    """Losses of the evaluations of a search and of its baseline, in order."""

    search: Floats
    baseline: Floats

    @classmethod
    def of(cls, record: ExperimentRecord, table: TrialTable, baseline: TrialTable) -> _Pair:
        table = table.searched
        sides = ((table, table.spent), (baseline, baseline.spent))
        return cls(*(feasible_losses(each, record)[spent] for each, spent in sides))

    def cut(self) -> _Pair:
        """Return equally many evaluations of each side, the first ones."""
        size = min(len(self.search), len(self.baseline))
        return _Pair(self.search[:size], self.baseline[:size])


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
            tables = [TrialTable.read(store, each) for each in (other, baseline)]
            pair = _Pair.of(other, *tables)
            if min(len(pair.search), len(pair.baseline)):
                seeds.add(other.seed)
                pairs.append(pair)
    return pairs


def _score(losses: Floats, reference: Floats) -> float:
    """Return the hypervolume; of one objective the distance of its best from the reference."""
    return volume_of(losses, reference) or 0.0


def _one_seed(rivals: Rivals, draws: int) -> BaselineView:
    pair, reference = rivals.pairs[0].cut(), rivals.reference
    size = len(pair.search)
    if reference is None or not size:
        return _verdict(rivals, [pair], (0.0, 0.0), None, "too few")
    scores = _score(pair.search, reference), _score(pair.baseline, reference)
    if size < MIN_EVALUATIONS:
        return _verdict(rivals, [pair], scores, None, "too few")
    p_value = division_test(pair.search, pair.baseline, reference, draws)
    verdict: Verdict = "level"
    if p_value < LEVEL and scores[0] != scores[1]:
        verdict = "ahead" if scores[0] > scores[1] else "behind"
    return _verdict(rivals, [pair], scores, p_value, verdict)


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
        # the places of these rows in a random order of all: the other rows need none
        mine = rng.choice(total, len(rows), replace=False) < len(first)
        difference = _score(values[mine], reference) - _score(values[~mine], reference)
        extreme += abs(difference) >= least
    return (extreme + 1) / (draws + 1)


def _over_seeds(rivals: Rivals) -> BaselineView:
    pairs, reference = [pair.cut() for pair in rivals.pairs], rivals.reference
    pairs = [pair for pair in pairs if len(pair.search)]
    if reference is None:
        return _verdict(rivals, pairs, (0.0, 0.0), None, "too few")
    mine = np.array([_score(pair.search, reference) for pair in pairs])
    theirs = np.array([_score(pair.baseline, reference) for pair in pairs])
    scores = float(mine.mean()), float(theirs.mean())
    if len(pairs) < MIN_SEEDS:
        return _verdict(rivals, pairs, scores, None, "too few")
    low, high = paired_interval(mine - theirs)
    verdict: Verdict = "ahead" if low > 0 else "behind" if high < 0 else "level"
    return _verdict(rivals, pairs, scores, (low, high), verdict)


def paired_interval(differences: Floats) -> tuple[float, float]:
    """Return the 95 % interval (Student's t) of the mean of paired differences."""
    count, mean = len(differences), float(differences.mean())
    half = float(stdtrit(count - 1, 0.975) * differences.std(ddof=1) / np.sqrt(count))
    return mean - half, mean + half


def _verdict(
    rivals: Rivals,
    pairs: Sequence[_Pair],
    scores: tuple[float, float],
    evidence: float | tuple[float, float] | None,
    verdict: Verdict,
) -> BaselineView:
    record, reference = rivals.record, rivals.reference
    shown = scores
    if len(record.objectives) == 1 and reference is not None:
        sign = objective_axes(record)[0].sign
        mine, theirs = (sign * (float(reference[0]) - each) if each else np.nan for each in scores)
        shown = mine, theirs
    return BaselineView(
        experiment=ExperimentRow.of(record),
        baseline=ExperimentRow.of(rivals.baseline),
        evaluations=min((len(pair.search) for pair in pairs), default=0),
        score=shown[0],
        baseline_score=shown[1],
        difference=scores[0] - scores[1],
        seeds=len(pairs),
        p_value=evidence if isinstance(evidence, float) else None,
        interval=evidence if isinstance(evidence, tuple) else None,
        verdict=verdict,
        sentence=_sentence(rivals, [len(pair.search) for pair in pairs], scores, evidence, verdict),
    )


def _sentence(
    rivals: Rivals,
    sizes: Sequence[int],
    scores: tuple[float, float],
    evidence: float | tuple[float, float] | None,
    verdict: Verdict,
) -> str:
    if rivals.reference is None:
        return (
            "Neither the search nor its random baseline has a feasible result yet, so there is "
            "nothing to compare."
        )
    text = _measured(rivals.record, rivals.reference, scores, sizes)
    if isinstance(evidence, tuple):
        low, high = (_amount(rivals.record, bound) for bound in evidence)
        finding = {
            "ahead": "the search is ahead of random search and of the noise between seeds",
            "behind": "the search is behind random search by more than the noise between seeds",
        }.get(verdict, "the difference is within the noise between seeds")
        return f"{text} The 95 % interval of the difference is {low} to {high}: {finding}."
    if isinstance(evidence, float):
        finding = {
            "ahead": "the search is ahead of random search and of the noise of drawing",
            "behind": "the search is behind random search by more than the noise of drawing",
        }.get(verdict, "the difference is within the noise")
        return (
            f"{text} Dividing all evaluations at random gives a difference this large in about "
            f"{100 * evidence:.2g} % of cases: {finding}. One seed says nothing about how other "
            "seeds vary: netloom search --seeds 0-4 measures that."
        )
    if len(sizes) > 1:
        return f"{text} {len(sizes)} seeds cannot tell this from noise; run {MIN_SEEDS} or more."
    return (
        f"{text} With fewer than {MIN_EVALUATIONS} evaluations on each side this cannot be told "
        f"from noise ({plural(min(sizes), 'evaluation')} now)."
    )


def _measured(
    record: ExperimentRecord,
    reference: Floats,
    scores: tuple[float, float],
    sizes: Sequence[int],
) -> str:
    effort, which = f"the same {plural(sizes[0], 'evaluation')}", ""
    if len(sizes) > 1:
        least = "" if min(sizes) == max(sizes) else "at least "
        effort = f"{len(sizes)} seeds of {least}{plural(min(sizes), 'evaluation')} each"
        which = "mean "
    if len(record.objectives) == 1:
        axis = objective_axes(record)[0]
        best = [
            value_text(axis.sign * (reference[0] - each), axis.unit) if each else "nothing feasible"
            for each in scores
        ]
        text = f"{which}best {axis.metric}: {best[0]}, random search with {effort}: {best[1]}."
        return text[0].upper() + text[1:]
    gain = f" ({100 * (scores[0] / scores[1] - 1):+.2g} %)" if scores[1] else ""
    volumes = [value_text(score) for score in scores]
    text = f"{which}hypervolume {volumes[0]} against {volumes[1]}{gain} for random search with"
    return f"{text[0].upper()}{text[1:]} {effort} (one reference point for both)."


def _amount(record: ExperimentRecord, difference: float) -> str:
    """Return a difference of scores: of one objective in its unit, else of hypervolumes."""
    axes = objective_axes(record)
    unit = axes[0].unit if len(axes) == 1 else ""
    return value_text(difference, "points" if unit == "%" else unit)
