"""Ground truth for super-networks: cells of `nb201` trained alone, three seeds each, on `shapes`.

    python benchmarks/ground_truth.py            # goes on where it stopped; a quarter of an hour
    python benchmarks/ground_truth.py --report   # the table only

Writes results/ground_truth.csv, a row for each training, and ground_truth.md. How well any ranking
can agree with one that is itself noisy is its ceiling: of the mean over the seeds, by the formula
of Spearman and Brown from the agreement of single seeds.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from scipy.stats import kendalltau, spearmanr

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, sentence

from netloom.estimators.data.shapes import Shapes
from netloom.estimators.training import Training
from netloom.spaces import SPACES

FILE = RESULTS / "ground_truth.csv"
NETWORKS, SEEDS = 64, (0, 1, 2)
DATA = {"difficulty": 3, "examples": 4000, "valid": 0.4, "test": 0.3}  # 1,200 to learn from
SPACE = {"channels": 8, "cells": 1}
RECIPE = {"epochs": 10, "lr": 0.1, "threads": 1}
FIELDS = ("cell", "seed", "valid_accuracy", "valid_loss", "seconds")


def task() -> tuple[Any, Training]:
    """Return the space and the training that everything is measured with."""
    data = Shapes(**DATA)  # type: ignore[arg-type]
    space = SPACES.get("nb201")(**SPACE, **data.space_options)
    return space, Training(space, data=data, **RECIPE)


def cells(space: Any) -> list[Any]:
    """Return the networks: distinct, drawn uniformly."""
    rng, found = Random(0), {}
    while len(found) < NETWORKS:
        architecture = space.sample(rng)
        found.setdefault(architecture.key, architecture)
    return list(found.values())


def known(path: Path = FILE) -> list[dict[str, str]]:
    """Return the trainings that a file holds."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def train_alone(architectures: Sequence[Any], path: Path = FILE) -> None:
    """Train what a file lacks, seed by seed, and append a row for each."""
    space, training = task()
    done = {(row["cell"], int(row["seed"])) for row in known(path)}
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not file.tell():
            writer.writeheader()
        for seed, architecture in itertools.product(SEEDS, architectures):
            cell = space.format(architecture)
            if (cell, seed) in done:
                continue
            start = time.process_time()
            values = training.evaluate(architecture, seed=seed)
            writer.writerow(
                {
                    "cell": cell,
                    "seed": seed,
                    "valid_accuracy": round(values["valid_accuracy"], 4),
                    "valid_loss": round(values["valid_loss"], 4),
                    "seconds": round(time.process_time() - start, 1),
                }
            )
            file.flush()


# ---------------------------------------------------------------------- report
def accuracies(rows: Sequence[Mapping[str, str]]) -> dict[str, list[float]]:
    """Return the accuracies of each cell, seed by seed; cells that lack a seed are left out."""
    found: dict[str, list[float]] = {}
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found.setdefault(row["cell"], []).append(float(row["valid_accuracy"]))
    return {cell: values for cell, values in found.items() if len(values) == len(SEEDS)}


def ceiling(columns: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Return the mean agreement of two seeds (Spearman, Kendall), and the ceiling of their mean.

    With r the Spearman correlation of two seeds, the mean of k seeds correlates with the truth
    like sqrt(k r / (1 + (k - 1) r)): no ranking can be expected to agree better.
    """
    pairs = list(itertools.combinations(columns, 2))
    r = statistics.fmean(float(spearmanr(a, b).statistic) for a, b in pairs)
    tau = statistics.fmean(float(kendalltau(a, b).statistic) for a, b in pairs)
    k = len(columns)
    return r, tau, (k * r / (1 + (k - 1) * r)) ** 0.5


def report(rows: Sequence[Mapping[str, str]]) -> str:
    """Return what was measured as a table."""
    found = list(accuracies(rows).values())
    means = sorted(statistics.fmean(values) for values in found)
    within = statistics.fmean(statistics.variance(values) for values in found) ** 0.5
    r, tau, most = ceiling(list(zip(*found, strict=True)))
    quartiles = [means[round(q * (len(means) - 1))] for q in (0, 0.25, 0.5, 0.75, 1)]
    seconds = statistics.median(float(row["seconds"]) for row in rows)
    lines = [
        "| networks | seeds | accuracy: lowest, quartiles, highest | between networks "
        "| between seeds | Spearman (Kendall) of two seeds | ceiling |",
        "|---|---|---|---|---|---|---|",
        f"| {len(found)} | {len(SEEDS)} | {', '.join(f'{q:.1f}' for q in quartiles)} % "
        f"| {statistics.stdev(means):.1f} | {within:.1f} | {r:.3f} ({tau:.3f}) | {most:.3f} |",
    ]
    options = ", ".join(
        f"{name} {value}" for part in (DATA, SPACE, RECIPE) for name, value in part.items()
    )
    state = sentence(machine("torch", "netloom"))
    return "\n".join(lines) + (
        f"\n\nStandard deviations in points; {seconds:.1f} s a training. {options}; {state}.\n"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if not options.report:
        train_alone(cells(task()[0]))
    text = report(known())
    FILE.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
