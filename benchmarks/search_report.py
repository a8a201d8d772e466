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

Lines: TypeAlias = Sequence[Mapping[str, Any]]
# method -> seed -> (references, marks)
Scores: TypeAlias = Mapping[str, Mapping[int, NDArray[np.float64]]]
RESAMPLES = 20_000
LEVEL = 0.95
BEST = "local_search"
FEWEST = 10  # seeds that an interval takes


def report(results: Lines, tuning: Lines) -> dict[str, str]:
    """Return the tables in Markdown, by the name of the file that they go to."""
    pages = {f"search_{task}": compared(task, results) for task in ("regret", "hypervolume")}
    parts = []
    for task in (t for t in TASKS if t.startswith("tune")):
        parts += [f"**{_title(task)}**", _means(task, tuning)]
    return {**pages, "search_tuning": _page(parts)}


def compared(task: str, lines: Lines) -> str:
    """Return the means of all methods, and our best one against each peer."""
    parts = [_means(task, lines)]
    parts += [f"`{BEST}` against each peer, seed by seed (mean difference, 95 % interval):"]
    return _page([*parts, _paired(task, _by_method(lines, task))])


def interval(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return (mean, lower, upper): 95 % percentile bootstrap over paired differences."""
    rng = np.random.default_rng(0)
    picks = rng.integers(0, len(differences), size=(RESAMPLES, len(differences)))
    means = differences[picks].mean(axis=1)
    tail = (1 - LEVEL) / 2
    lower, upper = np.quantile(means, [tail, 1 - tail])
    return float(differences.mean()), float(lower), float(upper)


def _means(task: str, lines: Lines) -> str:
    heads = ["", *_columns(task), "evaluated", "CPU time", "seeds"]
    rows = []
    for method, by_seed in _by_method(lines, task).items():
        mean = np.mean(list(by_seed.values()), axis=0).ravel()
        shown = [_number(task, value) for value in mean]
        own = [line for line in lines if (line["task"], line["method"]) == (task, method)]
        evaluated, seconds = (np.mean([line[k] for line in own]) for k in ("evaluated", "cpu_s"))
        name = method if method in PEERS else f"`{method}`"
        rows.append([name, *shown, f"{evaluated:.0f}", f"{seconds:.1f} s", str(len(by_seed))])
    return _table(heads, rows)


def _paired(task: str, scores: Scores) -> str:
    heads = ["against", *_columns(task), "seeds"]
    rows = []
    sign = -1.0 if len(TASKS[task].objectives) == 1 else 1.0
    for peer in (m for m in scores if m in PEERS):
        seeds = sorted(scores[BEST].keys() & scores[peer].keys())
        if len(seeds) < FEWEST:
            continue
        gains = np.array([sign * (scores[BEST][s] - scores[peer][s]).ravel() for s in seeds])
        cells = []
        for column in gains.T:
            mean, lower, upper = interval(column)
            word = "ahead" if lower > 0 else "behind" if upper < 0 else "even"
            cells.append(
                f"{word} {_number(task, mean)} [{_number(task, lower)}, {_number(task, upper)}]"
            )
        rows.append([peer, *cells, str(len(seeds))])
    return _table(heads, rows)


def _columns(task: str) -> list[str]:
    marks = TASKS[task].marks
    if not TASKS[task].references:
        return [f"{mark}" for mark in marks]
    return [f"{mark} (ref. {r:g} %)" for r in TASKS[task].references for mark in marks]


def _number(task: str, value: float) -> str:
    return f"{value:.3f}" if len(TASKS[task].objectives) == 1 else f"{value:.4f}"


def _by_method(lines: Lines, task: str) -> Scores:
    found: dict[str, dict[int, NDArray[np.float64]]] = defaultdict(dict)
    for line in lines:
        if line["task"] == task:
            found[line["method"]][line["seed"]] = np.array(line["scores"])
    return dict(sorted(found.items(), key=lambda item: item[0] in PEERS))  # ours first


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _title(task: str) -> str:
    kind = "regret" if len(TASKS[task].objectives) == 1 else "hypervolume"
    return f"{kind} on `{TASKS[task].space}`"


def _page(parts: Sequence[str]) -> str:
    versions = sentence(machine("netloom", "numpy", "moocore", "optuna", "pymoo"))
    return "\n\n".join([*parts, f"{versions}."]) + "\n"
