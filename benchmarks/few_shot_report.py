"""Turns the lines of `few_shot.py` into tables: rankings, choices, and differences seed by seed."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from math import comb
from typing import Any, TypeAlias

import numpy as np
from ground_truth import DATA, RECIPE, SEEDS, accuracies, ceiling, task
from machine import machine, sentence
from scipy.stats import binomtest, bootstrap, kendalltau, spearmanr

from netloom.estimators import ESTIMATORS
from netloom.spaces import SPACES

Lines: TypeAlias = Sequence[Mapping[str, Any]]
Rows: TypeAlias = Sequence[Mapping[str, str]]
RESAMPLES = 20_000
BASELINES = ("one-shot", "random split")


class Truth:
    """What networks reach when they are trained alone.

    Args:
        truth: Trainings of the networks that are ranked.
        alone: Trainings of further ones.
    """

    def __init__(self, truth: Rows, alone: Rows = ()) -> None:
        self.seeds = accuracies(truth)  # cell -> accuracy by seed
        self.means = {cell: statistics.fmean(values) for cell, values in self.seeds.items()}
        further = accuracies(alone)
        self._all = {cell: statistics.fmean(values) for cell, values in further.items()}
        self._all |= self.means

    def holds(self, cell: str) -> bool:
        """Return whether a cell was trained with all seeds."""
        return cell in self._all

    def accuracy(self, cell: str) -> float:
        """Return the mean over the seeds, of any cell that was trained."""
        return self._all[cell]

    def rank(self, accuracy: float, without: str = "") -> int:
        """Return the place that an accuracy would have among the networks that are ranked."""
        others = (mean for cell, mean in self.means.items() if cell != without)
        return 1 + sum(mean > accuracy for mean in others)

    def regret(self, accuracy: float) -> float:
        """Return the distance to the best mean; below 0 where an accuracy is better."""
        return max(self.means.values()) - accuracy

    def random_search(self, networks: int) -> dict[str, float]:
        """Return what the best of so many is expected to be: accuracy, rank and regret.

        Networks are drawn from the ranked ones without repetition and trained once; the best by
        this training is taken, and its accuracy is the mean of its other trainings. Exact, not
        drawn; the mean over the seed that decides.
        """
        found: dict[str, list[float]] = {"accuracy": [], "rank": [], "regret": []}
        for seed in range(len(SEEDS)):
            first = [values[seed] for values in self.seeds.values()]
            rest = [
                statistics.fmean(values[:seed] + values[seed + 1 :])
                for values in self.seeds.values()
            ]
            ranks = [self.rank(a, cell) for a, cell in zip(rest, self.seeds, strict=True)]
            found["accuracy"].append(expected_best(first, rest, networks))
            found["rank"].append(expected_best(first, ranks, networks))
            found["regret"].append(self.regret(found["accuracy"][-1]))
        return {name: statistics.fmean(values) for name, values in found.items()}


def expected_best(first: Sequence[float], then: Sequence[float], draws: int) -> float:
    """Return the mean of `then` at the highest `first` of `draws` places drawn without repetition.

    The place with k higher ones is the best of a draw if the others come from the n - 1 - k lower.
    """
    order = sorted(range(len(first)), key=lambda i: -first[i])
    ways = [comb(len(first) - 1 - k, draws - 1) for k in range(len(first))]
    return sum(w * then[i] for w, i in zip(ways, order, strict=True)) / comb(len(first), draws)


def agreement(scores: Sequence[float], truth: Sequence[float]) -> tuple[float, float]:
    """Return (Spearman, Kendall)."""
    spearman, kendall = (f(scores, truth).statistic for f in (spearmanr, kendalltau))
    return float(spearman), float(kendall)


# ---------------------------------------------------------------------- tables
def report(lines: Lines, truth_rows: Rows, alone_rows: Rows) -> str:
    """Return all tables in Markdown; searches whose choice was not trained alone are left out."""
    truth = Truth(truth_rows, alone_rows)
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for line in sorted(lines, key=lambda line: int(line["seed"])):
        if truth.holds(line["derived"]):
            by_method.setdefault(line["method"], []).append(line)
    order = dict.fromkeys(line["method"] for line in lines)
    found = {method: by_method[method] for method in order if method in by_method}
    foot = "Mean ± standard deviation over seeds"
    parts = [
        "### Rankings",
        rankings(found, truth),
        f"{foot}; {len(truth.means)} networks; {sentence(machine('torch', 'scipy', 'netloom'))}.",
        "### Choices",
        choices(found, truth),
        f"{foot}; accuracies in %, of {len(SEEDS)} trainings from scratch; ranks among the "
        f"{len(truth.means)}, seed by seed; images in thousands, forward and backward. Oracle: the "
        "best, by the truth, of the ranked networks that each leaf scores highest; an upper bound.",
        "### Differences",
        *(differences(found, truth, baseline) for baseline in BASELINES if baseline in found),
        "Mean [95 % bootstrap interval over the seeds], seeds ahead (two-sided sign test).",
        "### Splits",
        splits(found),
    ]
    return "\n\n".join(parts) + "\n"


def rankings(found: Mapping[str, Lines], truth: Truth) -> str:
    """Return how well super-networks rank the networks."""
    means, table = list(truth.means.values()), [published(cell) for cell in truth.means]
    rows = []
    for method, lines in found.items():
        own = [agreement(line["scores"], means) for line in lines]
        other = [agreement(line["scores"], table)[0] for line in lines]
        spearman, kendall = zip(*own, strict=True)
        best = statistics.fmean(max(line["scores"]) for line in lines)
        shown = [_spread(values, 3) for values in (spearman, kendall, other)]
        rows.append([method, *shown, f"{best:.1f} %", str(len(lines))])
    for name, scores in (("MACs", [macs(cell) for cell in truth.means]), ("the truth", means)):
        spearman, kendall = agreement(scores, means)
        shown = [f"{v:.3f}" for v in (spearman, kendall, agreement(scores, table)[0])]
        rows.append([name, *shown, "", ""])
    r, tau, most = ceiling(list(zip(*truth.seeds.values(), strict=True)))
    rows[-1][1:3] = [f"at most {most:.3f}", ""]
    rows.append(["one training against another", f"{r:.3f}", f"{tau:.3f}", "", "", ""])
    heads = ["scores of", "Spearman", "Kendall", "with CIFAR-10: Spearman", "best score", "seeds"]
    return _table(heads, rows)


def choices(found: Mapping[str, Lines], truth: Truth) -> str:
    """Return how good what was derived is, beside random searches of the same compute."""
    rows, budgets = [], set()
    for method, lines in found.items():
        own = [truth.accuracy(line["derived"]) for line in lines]
        ranks = [truth.rank(accuracy) for accuracy in own]
        budget = statistics.fmean(sum(line["images"].values()) for line in lines)
        line_to_beat = truth.random_search(affordable(budget))["accuracy"]
        budgets.add(affordable(budget))
        rows.append(
            [
                method,
                _spread(own, 1),
                f"{statistics.fmean(ranks):.1f} ({', '.join(map(str, ranks))})",
                _spread([truth.regret(accuracy) for accuracy in own], 1),
                _spread([published(line["derived"]) for line in lines], 1),
                _spread([oracle(line, truth) for line in lines], 1),
                f"{budget / 1000:.0f}",
                paired([accuracy - line_to_beat for accuracy in own], 1),
            ]
        )
    for networks in sorted(budgets):
        best = truth.random_search(networks)
        name = f"random search, {networks} networks"
        values = [f"{best['accuracy']:.1f}", f"{best['rank']:.1f}", f"{best['regret']:.1f}", "", ""]
        rows.append([name, *values, f"{networks * images_alone() / 1000:.0f}", ""])
    heads = ["method", "accuracy", "rank", "regret", "on CIFAR-10", "oracle", "images"]
    heads.append("beyond random search of as many images")
    return _table(heads, rows)


def oracle(line: Mapping[str, Any], truth: Truth) -> float:
    """Return the best accuracy, by the truth, of the networks that leaves put first.

    Of the ranked networks each leaf has one that it scores highest. No search knows which of these
    is the best: an upper bound.
    """
    firsts: dict[str, tuple[float, str]] = {}
    for cell, leaf, score in zip(truth.means, line["leaves"], line["scores"], strict=True):
        firsts[leaf] = max(firsts.get(leaf, (score, cell)), (score, cell))
    return max(truth.accuracy(cell) for _, cell in firsts.values())


def differences(found: Mapping[str, Lines], truth: Truth, baseline: str) -> str:
    """Return each method against one of them, seed by seed; positive is better."""
    means = list(truth.means.values())
    measures: dict[str, tuple[Callable[[Mapping[str, Any]], float], int]] = {
        "Spearman": (lambda line: agreement(line["scores"], means)[0], 3),
        "Kendall": (lambda line: agreement(line["scores"], means)[1], 3),
        "accuracy": (lambda line: truth.accuracy(line["derived"]), 1),
    }
    base = {line["seed"]: line for line in found[baseline]}
    rows = []
    for method in (m for m in found if m != baseline):
        pairs = [(line, base[line["seed"]]) for line in found[method] if line["seed"] in base]
        cells = [paired([f(a) - f(b) for a, b in pairs], d) for f, d in measures.values()]
        rows.append([method, *cells])
    return _table([f"against {baseline}", *measures], rows)


def paired(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean of differences with its interval, and how many are above 0, with a p."""
    mean = statistics.fmean(values)
    above, ties = sum(v > 0 for v in values), sum(v == 0 for v in values)
    count = f"{above} of {len(values)}"
    if len(values) < 2 or len(set(values)) == 1:  # nothing to resample
        return f"{mean:+.{digits}f}, {count}"
    found = bootstrap(
        (np.array(values),),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    low, high = (f"{bound:+.{digits}f}" for bound in found)
    p = binomtest(above, len(values) - ties).pvalue
    return f"{mean:+.{digits}f} [{low}, {high}], {count} (p {p:.2f})"


def splits(found: Mapping[str, Lines]) -> str:
    """Return by what the roots were split, and how stable the groups were."""
    rows = []
    for method, lines in found.items():
        for line in lines:
            if not (root := line["splits"].get("root")) or len(root["groups"]) > 2:
                continue
            agree = [a for s in line["splits"].values() for a in s["halves_agree"]]
            groups = " and ".join(", ".join(f"`{o}`" for o in group) for group in root["groups"])
            stable = f"{sum(agree)} of {len(agree)}" if agree else "-"
            rows.append([method, str(line["seed"]), f"`{root['decision']}`", groups, stable])
    heads = ["method", "seed", "root split by", "groups", "decisions whose batches agree"]
    return _table(heads, rows)


# ---------------------------------------------------------------------- what networks cost
def images_alone() -> float:
    """Return the images of one training alone: of every epoch, and a third for its validation."""
    sizes = {part: float(DATA[part]) * float(DATA["examples"]) for part in ("valid", "test")}
    train = float(DATA["examples"]) - sum(sizes.values())
    return float(RECIPE["epochs"]) * train + sizes["valid"] / 3


def affordable(images: float) -> int:
    """Return how many networks can be trained alone."""
    return int(images // images_alone())


def published(cell: str) -> float:
    """Return the test accuracy on CIFAR-10 after 12 epochs, in %."""
    tabular = ESTIMATORS.get("tabular")
    space = SPACES.get("nb201")(**tabular.space_options("nb201", {}))
    return float(tabular(space).test(space.parse(cell))["test_accuracy"])


def macs(cell: str) -> float:
    """Return the multiply-adds of a network."""
    space = task()[0]
    return float(ESTIMATORS.get("complexity")(space).evaluate(space.parse(cell))["macs"])


def _spread(values: Sequence[float], digits: int) -> str:
    if len(values) < 2:
        return f"{values[0]:.{digits}f}"
    return f"{statistics.fmean(values):.{digits}f} ± {statistics.stdev(values):.{digits}f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
