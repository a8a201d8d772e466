"""What may be said of two competitors: coverage, and whether a difference is more than noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.special import stdtrit

from .compare import DRAWS, LEVEL, MIN_EVALUATIONS, MIN_SEEDS, Verdict, division_test
from .contest import Competitor, Contest
from .progress import covered
from .table import Floats
from .words import plural, value_text

MORE_SEEDS = "netloom search --seeds 0-4"


@dataclass(frozen=True)
class Finding:
    """Two competitors beside each other, with equal effort.

    Args:
        first: Label.
        second: Label.
        evaluations: The first ones of each run, as many of every run.
        scores: Mean hypervolume of each side's runs after them.
        coverage: Share of the second's front that the first's covers, and the other way round; of
            all evaluations. None where there is no front to cover.
        verdict: Of the first: `ahead` or `behind` of the noise, `level` with it, `too few` to tell.
        p_value: For one run each.
        interval: For three seeds and more each, of the difference.
        sentence: The finding in words.
    """

    first: str
    second: str
    evaluations: int
    scores: tuple[float, float]
    coverage: tuple[float | None, float | None]
    verdict: Verdict
    p_value: float | None
    interval: tuple[float, float] | None
    sentence: str


def findings(contest: Contest) -> list[Finding]:
    """Compare every two competitors; the 5 % of error are shared among all these comparisons."""
    return list(_findings(contest))


def _findings(contest: Contest) -> Iterator[Finding]:
    pairs = list(combinations(contest.competitors, 2))
    for first, second in pairs:
        if contest.reference is not None:
            yield _compare(first, second, contest.reference, len(pairs))


def coverage(first: Competitor, second: Competitor) -> float | None:
    """Return the share of the second's front that the first's weakly dominates.

    Of several runs: the mean over every front of the one and every front of the other. A front
    without a network covers nothing; where the second has none anywhere, None.

    Source: C(A, B) of Zitzler & Thiele, IEEE Trans. Evol. Comput. 3(4), 1999.
    """
    mine = [run.losses[run.front] for run in first.runs]
    theirs = [run.losses[run.front] for run in second.runs]
    shares = [covered(front, by).mean() for front in theirs if len(front) for by in mine]
    return float(np.mean(shares)) if shares else None


def welch_interval(first: Floats, second: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of the difference of two means that holds in 1 - `level` of cases.

    Args:
        first: Values of independent runs, two or more.
        second: The same of the other side; the variances may differ.
        level: Share of cases in which the interval misses.

    Source: Welch, Biometrika 34, 1947 (Student's t with Satterthwaite's degrees of freedom).
    """
    difference = float(first.mean() - second.mean())
    parts = [values.var(ddof=1) / len(values) for values in (first, second)]
    if not sum(parts):
        return difference, difference
    sizes = (len(first), len(second))
    rest = sum(part**2 / (size - 1) for part, size in zip(parts, sizes, strict=True))
    half = float(stdtrit(sum(parts) ** 2 / rest, 1 - level / 2) * np.sqrt(sum(parts)))
    return difference - half, difference + half


def _compare(first: Competitor, second: Competitor, reference: Floats, pairs: int) -> Finding:
    size = min(first.evaluations, second.evaluations)
    volumes = [
        np.array([run.volume(reference, size) for run in each.runs]) for each in (first, second)
    ]
    p_value, interval = None, None
    verdict: Verdict = "too few"
    runs = [len(each) for each in volumes]
    if min(runs) >= MIN_SEEDS and size:
        interval = welch_interval(volumes[0], volumes[1], LEVEL / pairs)
        verdict = "ahead" if interval[0] > 0 else "behind" if interval[1] < 0 else "level"
    elif max(runs) == 1 and size >= MIN_EVALUATIONS:
        halves = [each.runs[0].losses[:size] for each in (first, second)]
        draws = max(DRAWS, int(np.ceil(2 * pairs / LEVEL)))
        p_value = division_test(halves[0], halves[1], reference, draws)
        verdict = "level"
        if p_value < LEVEL / pairs and volumes[0][0] != volumes[1][0]:
            verdict = "ahead" if volumes[0][0] > volumes[1][0] else "behind"
    scores = float(volumes[0].mean()), float(volumes[1].mean())
    found = Finding(
        first=first.label,
        second=second.label,
        evaluations=size,
        scores=scores,
        coverage=(coverage(first, second), coverage(second, first)),
        verdict=verdict,
        p_value=p_value,
        interval=interval,
        sentence="",
    )
    return _said(found, runs, pairs)


def _said(found: Finding, runs: list[int], pairs: int) -> Finding:
    """Return the finding with its sentence."""
    which = "Mean hypervolume" if max(runs) > 1 else "Hypervolume"
    volumes = " against ".join(
        f"{value_text(score)} ({label}{f', {count} runs' if count > 1 else ''})"
        for score, label, count in zip(found.scores, (found.first, found.second), runs, strict=True)
    )
    effort = plural(found.evaluations, "evaluation")
    text = f"{which} after {effort} of each run: {volumes}. {_evidence(found, runs, pairs)}"
    return replace(found, sentence=text)


def _evidence(found: Finding, runs: list[int], pairs: int) -> str:
    """Return what the numbers allow to say, and no more."""
    shared = f" (5 % shared among {pairs} comparisons)" if pairs > 1 else ""
    leader = found.first if found.verdict == "ahead" else found.second
    told = found.verdict in ("ahead", "behind")
    if found.interval is not None:
        low, high = (value_text(bound) for bound in found.interval)
        finding = (
            f"{leader} is ahead by more than the noise between seeds"
            if told
            else "the difference is within the noise between seeds"
        )
        share = f"{100 * (1 - LEVEL / pairs):.4g}"
        return f"The {share} % interval of the difference is {low} to {high}{shared}: {finding}."
    if found.p_value is not None:
        finding = (
            f"{leader} is ahead by more than the noise of drawing"
            if told
            else "the difference is within the noise of drawing"
        )
        return (
            "Dividing all evaluations at random gives a difference this large in about "
            f"{100 * found.p_value:.2g} % of cases{shared}: {finding}. One run each says nothing "
            "about how other seeds vary, nor which method is better: "
            f"{MORE_SEEDS} of each measures that."
        )
    if max(runs) > 1:
        return (
            f"{plural(runs[0], 'run')} and {plural(runs[1], 'run')} cannot tell this from noise; "
            f"give each {MIN_SEEDS} seeds or more ({MORE_SEEDS})."
        )
    return (
        f"With fewer than {MIN_EVALUATIONS} evaluations on each side this cannot be told from "
        "noise."
    )
