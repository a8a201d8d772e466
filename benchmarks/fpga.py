"""FPGA models, as they come from data sheets, against the `fpga` columns of HW-NAS-Bench.

    python benchmarks/fpga.py         # writes benchmarks/results/fpga.json and fpga.md

The columns are exact sums over a table of layers, for a pipeline on a ZC706 at 200 MHz (recalled);
nothing is fitted to them. Beside the models: multiply-adds alone. The error in per cent is that
after one factor for the whole column, the median ratio; `as it is` is the error without it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import kendalltau, spearmanr

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, sentence

from netloom.estimators.tables import load_table
from netloom.hw_models import PartCache, Workload, model_for
from netloom.spaces import SPACES

Vector = npt.NDArray[np.float64]
TABLES = {"nb201": ("nb201", 2000), "fbnet": ("fbnet_latency", None)}  # space -> table, sample
DEVICES = ("zc706_pipeline", "zc706")


def sampled(table: str, size: int | None) -> tuple[list[str], Vector]:
    """Return networks, at random where there are more than `size`, with their milliseconds."""
    data = load_table(table)
    rows = list(range(len(data["arch"])))
    if size is not None:
        rows = random.Random(0).sample(rows, size)
    texts = [str(data["arch"][i]) for i in rows]
    return texts, np.asarray(data["latency_ms_fpga"], float)[rows]


def predictions(workloads: list[Workload]) -> dict[str, Vector]:
    """Return milliseconds by device, and multiply-adds; digits that only differ by noise cut."""
    found = {"MACs": np.array([w.macs for w in workloads], float)}
    for device in DEVICES:
        model = model_for(device)
        costs = [model.cost(w, breakdown=False).latency_ms for w in workloads]
        found[f"`{device}`"] = np.round(costs, 9)
    return found


def figures(predicted: Vector, measured: Vector) -> dict[str, float]:
    """Return rank correlations and mean errors in per cent."""
    scaled = predicted * np.median(measured / predicted)
    return {
        "spearman": float(spearmanr(predicted, measured)[0]),
        "kendall": float(kendalltau(predicted, measured)[0]),
        "scaled_error_percent": float(100 * np.mean(np.abs(scaled / measured - 1))),
        "error_percent": float(100 * np.mean(np.abs(predicted / measured - 1))),
    }


def measure() -> dict[str, dict[str, dict[str, float]]]:
    """Return the figures by space and model."""
    results = {}
    for name, (table, size) in TABLES.items():
        space, cache = SPACES.get(name)(), PartCache()
        texts, measured = sampled(table, size)
        workloads = [cache.compose(space.parts(space.parse(text))) for text in texts]
        results[f"{name}, {len(texts):,} networks"] = {
            model: figures(predicted, measured)
            for model, predicted in predictions(workloads).items()
        }
    return results


def main() -> None:
    """Measure and write both files."""
    results, where = measure(), machine("netloom", "numpy", "scipy")
    lines = [
        "| space | model | Spearman | Kendall | error after one factor | as it is |",
        "|---|---|---|---|---|---|",
    ]
    for space, models in results.items():
        for model, f in models.items():
            raw = "-" if model == "MACs" else f"{f['error_percent']:.0f} %"
            lines.append(
                f"| {space} | {model} | {f['spearman']:.3f} | {f['kendall']:.3f} | "
                f"{f['scaled_error_percent']:.1f} % | {raw} |"
            )
    text = "\n".join([*lines, "", f"{sentence(where)}.", ""])
    (RESULTS / "fpga.md").write_text(text, "utf-8")
    document = {"machine": where, "results": results}
    (RESULTS / "fpga.json").write_text(json.dumps(document, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
