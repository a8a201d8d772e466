"""`netloom.hw_models.trace` beside fvcore and torchinfo: time, and whether the counts agree.

    python benchmarks/trace.py            # writes benchmarks/results/trace.json and trace.md

One process, one thread, alternating runs without garbage collection; medians. Needs
`pip install "netloom[bench]"`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torchinfo
from fvcore.nn import FlopCountAnalysis

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, sentence
from networks import NETWORKS

from netloom.hw_models import Workload, trace

CONVOLUTIONS = {"conv", "pointwise_conv", "depthwise_conv", "grouped_conv"}


def by_fvcore(network: torch.nn.Module, x: torch.Tensor) -> dict[str, int]:
    """Return fvcore's counts per operator."""
    return {k: int(v) for k, v in FlopCountAnalysis(network, x).by_operator().items()}


def by_torchinfo(network: torch.nn.Module, x: torch.Tensor) -> dict[str, int]:
    """Return torchinfo's counts per class of module, and its parameters."""
    summary = torchinfo.summary(network, input_data=x, verbose=0)
    counts = {"params": summary.total_params}
    for layer in summary.summary_list:
        if layer.is_leaf_layer:
            counts[layer.class_name] = counts.get(layer.class_name, 0) + layer.macs
    return counts


def seconds(function: Callable[[], Any]) -> float:
    """Return how long one call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def biases(workload: Workload) -> int:
    """Return the additions of convolution biases, which torchinfo counts as MACs."""
    total = 0
    for layer in workload.layers:
        if layer.kind in CONVOLUTIONS:
            output = layer.output_shapes[0]
            positions = output[0] * int(torch.Size(output[2:]).numel())
            total += layer.params * positions - layer.macs
    return total


def compare(workload: Workload, fvcore: dict[str, int], info: dict[str, int]) -> dict[str, Any]:
    """Return our counts beside theirs where the rules are the same, and what they leave out."""
    kinds: dict[str, int] = {}
    for layer in workload.layers:
        kinds[layer.kind] = kinds.get(layer.kind, 0) + layer.macs
    conv = sum(kinds.get(kind, 0) for kind in CONVOLUTIONS)
    agrees = {
        "convolution": conv == fvcore.get("conv", 0),
        "linear": kinds.get("linear", 0) == fvcore.get("linear", 0),
    }
    if "attention" in kinds:
        agrees["attention"] = kinds["attention"] == fvcore.get("scaled_dot_product_attention", 0)
    return {
        "macs": workload.macs,
        "params": workload.params,
        "convolution_macs": conv,
        "linear_macs": kinds.get("linear", 0),
        "attention_macs": kinds.get("attention", 0),
        "fvcore_total": sum(fvcore.values()),
        "fvcore_agrees": agrees,
        "torchinfo_total": sum(v for k, v in info.items() if k != "params"),
        "torchinfo_agrees": {
            "params": workload.params == info["params"],
            "convolution and its biases": conv + biases(workload) == info.get("Conv2d", 0),
        },
    }


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Return medians over alternating runs, their ratios, and the comparison of the counts."""
    network, x = NETWORKS[name]().eval(), torch.zeros(1, 3, 224, 224)
    runs: dict[str, Callable[[], Any]] = {
        "netloom": lambda: trace(network, x),
        "fvcore": lambda: by_fvcore(network, x),
        "torchinfo": lambda: by_torchinfo(network, x),
    }
    results = {tool: run() for tool, run in runs.items()}  # also warms each tool up
    times: dict[str, list[float]] = {tool: [] for tool in runs}
    for _ in range(rounds):
        gc.collect()
        gc.disable()  # as timeit does: to collect before each run would empty the caches for it
        for tool, run in runs.items():
            times[tool].append(seconds(run))
        gc.enable()
    ratios = {
        tool: [b / a for a, b in zip(times["netloom"], times[tool], strict=True)]
        for tool in ("fvcore", "torchinfo")
    }
    return {
        "milliseconds": {t: round(1e3 * statistics.median(v), 2) for t, v in times.items()},
        "times_slower_than_netloom": {t: round(statistics.median(v), 1) for t, v in ratios.items()},
        **compare(results["netloom"], results["fvcore"], results["torchinfo"]),
    }


def table(report: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    rows = [
        "| network | params | MACs | trace | fvcore | torchinfo | agrees with fvcore "
        "| with torchinfo |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["networks"].items():
        ms, times = row["milliseconds"], row["times_slower_than_netloom"]
        agree = [
            ", ".join(f"{what} {'yes' if yes else 'no'}" for what, yes in row[key].items())
            for key in ("fvcore_agrees", "torchinfo_agrees")
        ]
        rows.append(
            f"| {name} | {row['params']:,} | {row['macs']:,} | {ms['netloom']} ms "
            f"| {ms['fvcore']} ms ({times['fvcore']}x) "
            f"| {ms['torchinfo']} ms ({times['torchinfo']}x) | {agree[0]} | {agree[1]} |"
        )
    return "\n".join(rows) + (
        f"\n\nMedian of {report['rounds']} alternating runs in one process, one thread, garbage "
        "collected between the rounds; "
        f"{sentence(report['machine'])}.\n\n"
        "fvcore has no rule for the fused attention product and adds norms and adaptive pools to "
        "its total; torchinfo runs the network, counts biases, leaves out functions that are no "
        "modules, and counts a linear layer over many tokens once.\n"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    report = {
        "machine": machine("torch", "fvcore", "torchinfo", "netloom"),
        "rounds": options.rounds,
        "networks": {name: measure(name, options.rounds) for name in NETWORKS},
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "trace.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.output / "trace.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
