"""How much each decision matters for a metric: permutation importance on a random forest.

A forest (Breiman, Random Forests, Machine Learning 45, 2001) learns the metric from the decisions
of the trials. On trials that it has not seen the values of one decision are shuffled among them:
what its R² loses is the importance of that decision. Every fifth of the trials is held out once.
The intervals count that two forests were learned from much the same trials (Nadeau and Bengio,
Inference for the Generalization Error, Machine Learning 52, 2003).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from .columns import ABSENT, Codes, Column
from .table import Floats

MIN_TRIALS = 30  # of fewer, six and less would judge a forest
MAX_TRIALS = 1000  # learned from: enough for intervals narrower than what matters
FOLDS = 5
TREES = 50
ASKED = 16_000  # rows that a forest is asked for, for importances and again for dependences
MAX_REPEATS = 5  # shuffles of a decision in one fifth
BACKGROUND = 40  # trials of a fifth that a partial dependence is averaged over, at most
ONE_HOT = 256  # columns of the words of all decisions; of more each decision is one column
POOR_R2 = 0.3  # below, a forest knows too little for its importances to mean anything
ROWS = 20_000  # asked for at once: bounds the memory
SEED = 0

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Importance:
    """What one decision means for a metric.

    Args:
        decision: Name.
        mean: R² lost when its values are shuffled, mean over the held-out fifths: 2 when the metric
            depends on it alone, 0 or a little less when it does not matter.
        low: Lower end of the 95 % interval of the mean.
        high: Upper end.
        share: Part of the sum of all positive means.
    """

    decision: str
    mean: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Study:
    """A surrogate of one metric and what it says.

    Args:
        trials: That it was learned from and judged on.
        r2: Of predictions for held-out trials: 1 is perfect, 0 no better than the mean.
        spearman: Rank correlation of those predictions with the values.
        repeats: Shuffles of each decision in each fifth.
        importances: The most important decision first.
        dependence: Decision -> mean prediction for each of its levels, NaN where there is none.
        problem: Why there is no surrogate; then there is nothing else.
    """

    trials: int
    r2: float = np.nan
    spearman: float = np.nan
    repeats: int = 0
    importances: tuple[Importance, ...] = ()
    dependence: dict[str, Floats] = field(default_factory=dict, repr=False)
    problem: str | None = None

    @property
    def poor(self) -> bool:
        """Whether the surrogate knows too little of the metric."""
        return self.problem is None and not self.r2 >= POOR_R2

    @property
    def sentence(self) -> str:
        """How good the surrogate is, or why there is none."""
        if self.problem is not None:
            return self.problem
        rank = "none" if np.isnan(self.spearman) else f"{self.spearman:.2f}"
        quality = (
            f"A random forest learned from {self.trials:,} trials predicts trials that it has not "
            f"seen with R² {self.r2:.2f} and rank correlation {rank} (Spearman)"
        )
        if self.poor:
            return f"{quality}: too little (R² below {POOR_R2}), so the importances mean little."
        return f"{quality}."


def study(columns: Sequence[Column], values: Floats) -> Study:
    """Learn a metric from the decisions of its trials.

    Args:
        columns: One per decision, each over the same n trials.
        values: The metric, (n,), all finite.
    """
    varied = [column for column in columns if column.varied]
    if problem := _problem(len(varied), values):
        return Study(len(values), problem=problem)
    rng = np.random.default_rng(SEED)
    matrix, blocks = encode(varied)
    judged = min(len(values) // FOLDS, ASKED // len(varied))  # trials per fifth
    repeats = min(ASKED // (judged * len(varied)), MAX_REPEATS)
    guesses = np.empty(len(values))
    losses, dependences = [], []
    for fold in np.array_split(rng.permutation(len(values)), FOLDS):
        forest = _Forest(np.delete(matrix, fold, axis=0), np.delete(values, fold))
        guesses[fold] = forest(matrix[fold])
        fold = fold[:judged]
        held, truth = matrix[fold], values[fold]
        asked = forest(np.concatenate([_shuffled(held, b, repeats, rng) for b in blocks]))
        worse = (asked.reshape(len(varied), repeats, judged) - truth) ** 2
        losses.append(worse.mean(axis=(1, 2)) - np.mean((guesses[fold] - truth) ** 2))
        dependences.append(_dependence(forest, held, [c.at(fold) for c in varied], blocks))
    variance = float(np.var(values))
    return Study(
        trials=len(values),
        r2=1.0 - float(np.mean((guesses - values) ** 2)) / variance,
        spearman=_spearman(guesses, values),
        repeats=repeats,
        importances=_importances([c.name for c in varied], np.stack(losses) / variance),
        dependence=_averaged(varied, dependences),
    )


def encode(columns: Sequence[Column]) -> tuple[Matrix, list[slice]]:
    """Return decisions as numbers for a forest, (n, m), and the columns of each decision.

    Numbers are their ranks, with what is not there below them; words are one column per option,
    all zero where the decision is not there. Of very many options words are ranks too.
    """
    parts, blocks, start = [], [], 0
    alone = _words(columns) > ONE_HOT
    for column in columns:
        parts.append(_encoded(column, column.codes, alone))
        blocks.append(slice(start, start + parts[-1].shape[1]))
        start = blocks[-1].stop
    return np.concatenate(parts, axis=1), blocks


def _words(columns: Sequence[Column]) -> int:
    return sum(len(column.options) for column in columns if not column.numeric)


def _encoded(column: Column, codes: Codes, alone: bool) -> Matrix:
    if column.numeric or alone:
        return codes[:, None].astype(np.float32)
    return np.asarray(codes[:, None] == np.arange(len(column.options)), dtype=np.float32)


def _problem(varied: int, values: Floats) -> str | None:
    """Say what is missing for importances."""
    if len(values) < MIN_TRIALS:
        return (
            f"Importances need at least {MIN_TRIALS} trials with a value, there are "
            f"{len(values):,}: {MIN_TRIALS - len(values):,} more."
        )
    if not varied:
        return "Every decision was taken one way only: there is nothing to compare."
    if np.ptp(values) <= 1e-12 * np.abs(values).max():
        return f"Every trial has the same value, {values[0]:.6g}: no decision changes it."
    return None


class _Forest:
    """A fitted forest as a function of rows."""

    def __init__(self, matrix: Matrix, values: Floats) -> None:
        from sklearn.ensemble import RandomForestRegressor  # about a second to import

        self._forest = RandomForestRegressor(
            TREES, max_features=0.5, min_samples_leaf=2, random_state=SEED
        ).fit(matrix, values)

    def __call__(self, rows: Matrix) -> Floats:
        parts = [rows[start : start + ROWS] for start in range(0, len(rows), ROWS)]
        return np.concatenate([self._forest.predict(part) for part in parts])


def _shuffled(held: Matrix, block: slice, repeats: int, rng: np.random.Generator) -> Matrix:
    """Return `repeats` copies of rows, the values of one decision shuffled in each."""
    copies = np.tile(held, (repeats, 1))
    orders = [rng.permutation(len(held)) for _ in range(repeats)]
    copies[:, block] = np.concatenate([held[order, block] for order in orders])
    return copies


def _dependence(
    forest: _Forest, held: Matrix, columns: Sequence[Column], blocks: Sequence[slice]
) -> list[Floats]:
    """Return for each decision the mean prediction per level, over trials that have it."""
    asked = list(_settings(held, columns, blocks))
    ends = np.cumsum([len(rows) for rows in asked])[:-1]
    guesses = iter(np.split(forest(np.concatenate(asked)), ends))
    return [
        np.array([part.mean() if len(part := next(guesses)) else np.nan for _ in column.levels])
        for column in columns
    ]


def _settings(held: Matrix, columns: Sequence[Column], blocks: Sequence[slice]) -> Iterator[Matrix]:
    """Give per decision and level the rows that have the decision, with the level's option."""
    most = min(BACKGROUND, max(ASKED // sum(len(column.levels) for column in columns), 1))
    alone = _words(columns) > ONE_HOT
    for column, block in zip(columns, blocks, strict=True):
        having = held[column.codes != ABSENT][:most]
        for level in column.levels:
            one = column.numeric or len(level.codes) == 1  # many words have no middle one
            rows = having.copy() if one else having[:0]
            middle = np.array([level.codes[len(level.codes) // 2]])
            rows[:, block] = _encoded(column, middle, alone)
            yield rows


def _averaged(columns: Sequence[Column], found: Sequence[Sequence[Floats]]) -> dict[str, Floats]:
    """Return the means over the fifths; a fifth without the decision says nothing."""
    means = {}
    for column, parts in zip(columns, zip(*found, strict=True), strict=True):
        known = np.isfinite(np.stack(parts))
        total, count = np.where(known, np.stack(parts), 0.0).sum(axis=0), known.sum(axis=0)
        means[column.name] = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _importances(names: Sequence[str], losses: Floats) -> tuple[Importance, ...]:
    """Return what was lost, (folds, decisions), with intervals, the most important first."""
    means = losses.mean(axis=0)
    # the forests share trials: 1/folds for the mean, test/train = 1/(folds - 1) for what they share
    error = losses.std(axis=0, ddof=1) * np.sqrt(1 / FOLDS + 1 / (FOLDS - 1))
    reach = stdtrit(FOLDS - 1, 0.975) * error
    total = float(np.maximum(means, 0).sum())
    return tuple(
        Importance(
            decision=names[i],
            mean=float(means[i]),
            low=float(means[i] - reach[i]),
            high=float(means[i] + reach[i]),
            share=max(float(means[i]), 0.0) / total if total else 0.0,
        )
        for i in np.argsort(-means, kind="stable").tolist()
    )


def _spearman(guesses: Floats, values: Floats) -> float:
    """Return the rank correlation, NaN when every guess is the same."""
    from scipy.stats import rankdata

    if np.ptp(guesses) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(guesses), rankdata(values))[0, 1])
