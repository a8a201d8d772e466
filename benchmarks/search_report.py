"""Turns the lines of `search_quality.py` into tables with paired intervals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from machine import machine, sentence
from numpy.typing import NDArray
from search_peers import PEERS
from search_tasks import TASKS

Scores: TypeAlias = Mapping[
    str, Mapping[int, NDArray[np.float64]]
]  # method -> seed -> (refs, marks)
RESAMPLES = 20_000
LEVEL = 0.95


def report(results: Sequence[Mapping[str, Any]], tuning: Sequence[Mapping[str, Any]]) -> str:
    """Return the report in Markdown."""
    parts = [_INTRODUCTION]
    for task in ("regret", "hypervolume"):
        parts += _task(task, _by_method(results, task))
    parts += ["## How the defaults were chosen", _TUNING]
    for task in (t for t in TASKS if t.startswith("tune")):
        parts += [f"### {task}", _means(task, _by_method(tuning, task))]
    versions = machine("netloom", "numpy", "moocore", "optuna", "pymoo", "nni")
    parts.append(sentence(versions) + ".")
    return "\n\n".join(parts) + "\n"


def interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return (mean, lower, upper): 95 % percentile bootstrap over paired differences."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(differences), size=(RESAMPLES, len(differences)))
    means = differences[picks].mean(axis=1)
    tail = (1 - LEVEL) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(differences.mean()), float(lower), float(upper)


def _task(task: str, scores: Scores) -> list[str]:
    regret = len(TASKS[task].objectives) == 1
    title = "Regret" if regret else "Hypervolume"
    parts = [f"## {title}", _WHAT[task], _means(task, scores)]
    ours = [m for m in scores if m not in PEERS]
    for best in [m for m in ours if m == "local_search"]:
        parts += [f"`{best}` against each peer, seed by seed:", _paired(task, scores, best)]
    return parts


def _means(task: str, scores: Scores) -> str:
    heads = ["", *_columns(task), "seeds"]
    rows = []
    for method, by_seed in scores.items():
        mean = np.mean(list(by_seed.values()), axis=0).ravel()
        shown = [_number(task, value) for value in mean]
        name = method if method in PEERS else f"`{method}`"
        rows.append([name, *shown, str(len(by_seed))])
    return _table(heads, rows)


def _paired(task: str, scores: Scores, best: str) -> str:
    heads = ["against", *_columns(task)]
    rows = []
    sign = -1.0 if len(TASKS[task].objectives) == 1 else 1.0
    for peer in (m for m in scores if m in PEERS):
        seeds = sorted(scores[best].keys() & scores[peer].keys())
        if len(seeds) < 2:
            continue
        gains = np.array([sign * (scores[best][s] - scores[peer][s]).ravel() for s in seeds])
        cells = []
        for column in gains.T:
            mean, lower, upper = interval(column)
            word = "ahead" if lower > 0 else "behind" if upper < 0 else "even"
            cells.append(
                f"{word} {_number(task, mean)} [{_number(task, lower)}, {_number(task, upper)}]"
            )
        rows.append([peer, *cells])
    return _table(heads, rows)


def _columns(task: str) -> list[str]:
    marks = TASKS[task].marks
    if not TASKS[task].references:
        return [f"{mark}" for mark in marks]
    return [f"{mark} (ref. {r:g} %)" for r in TASKS[task].references for mark in marks]


def _number(task: str, value: float) -> str:
    return f"{value:.3f}" if len(TASKS[task].objectives) == 1 else f"{value:.4f}"


def _by_method(lines: Sequence[Mapping[str, Any]], task: str) -> Scores:
    found: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for line in lines:
        if line["task"] == task:
            found[line["method"]][line["seed"]] = np.array(line["scores"])
    return found


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_INTRODUCTION = """# Search quality on measured tables

Made by `benchmarks/search_quality.py` (which says how); every line of `search_quality.jsonl` is
one search. One evaluation is one distinct architecture for everybody: netloom's strategies never
repeat themselves, and a peer's repeats are answered from a cache and cost it nothing (the rule
most favourable to the peers). Strategies run with their defaults. Peers: Optuna's samplers with
their defaults, pymoo's NSGA-II with population 50, uniform crossover and its mutation of choices,
NNI 3.0's TPE tuner and RegularizedEvolution strategy with their defaults."""

_WHAT = {
    "regret": (
        "`nb201`, CIFAR-10 validation accuracy (12 epochs, one seed): mean distance to the best of "
        "the table, in points, after so many evaluations. Lower is better."
    ),
    "hypervolume": (
        "`nb201`, CIFAR-10 validation accuracy against measured Pixel 3 latency: mean share of the "
        "true front's hypervolume after so many evaluations, for two reference points (accuracy "
        "as given, the worst latency of the table). Higher is better."
    ),
}

_TUNING = """On `nats_sss` and `nas_bench_macro` only, before any strategy was run on `nb201`:
regret of the accuracy, and hypervolume share against MACs. Chosen and frozen: what the signatures
of the strategies say."""
