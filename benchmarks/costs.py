"""How many architectures per second `evaluate_many` costs on three devices at once.

    python benchmarks/costs.py            # writes benchmarks/results/costs.json and costs.md

One process, one thread; seconds of the processor, which others may share. Every architecture is
new to the estimator; its parts need not be. Beside it the same costs from a network that was built
and traced for itself.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, median_interval, sentence

from netloom.errors import HardwareLimit
from netloom.estimators import Hardware
from netloom.hw_models import model_for
from netloom.hw_models.tracer import trace_built
from netloom.spaces import SPACES, Architecture, Space

# a GPU, an accelerator, a microcontroller under TensorFlow Lite Micro's planner (greedy16), which
# is last: a network that does not fit there has been costed on the others before it is refused
DEVICES = ("titan_rtx", "nvdla_256", "stm32h743")
TARGET = 2000  # architectures per second


def measure(name: str, warm: int, rounds: int, size: int) -> dict[str, Any]:
    """Return rates of fresh architectures after `warm` others, on all devices and on each."""
    space, rng = SPACES.get(name)(), Random(0)
    assert isinstance(space, Space)
    together = Hardware(space, devices=list(DEVICES))
    alone = {device: Hardware(space, devices=[device]) for device in DEVICES}
    start = time.process_time()
    _costed(together, [space.sample(rng) for _ in range(warm)])
    warming = time.process_time() - start
    for estimator in alone.values():
        _costed(estimator, [space.sample(rng) for _ in range(warm)])
    rates: dict[str, list[float]] = {key: [] for key in ("together", *DEVICES)}
    fits = 0
    for _ in range(rounds):
        for key, estimator in {"together": together, **alone}.items():
            fresh = [space.sample(rng) for _ in range(size)]
            start = time.process_time()
            fitting = _costed(estimator, fresh)
            rates[key].append(size / (time.process_time() - start))
            fits += fitting if key == "together" else 0
    return {
        "warm": warm,
        "first_per_second": round(warm / warming),
        "per_second": {key: [round(v) for v in median_interval(r)] for key, r in rates.items()},
        "fit_percent": round(100 * fits / (rounds * size), 1),
        "traced_per_second": round(traced_rate(space, rng), 1),
    }


def _costed(estimator: Hardware, architectures: list[Architecture]) -> int:
    """Cost them; return how many fit on every device.

    Raises:
        Exception: What went wrong, where it is no limit of a device.
    """
    answers = estimator.evaluate_many(architectures, seeds=[0] * len(architectures))
    for answer in answers:
        if isinstance(answer, Exception) and not isinstance(answer, HardwareLimit):
            raise answer
    return sum(not isinstance(answer, Exception) for answer in answers)


def traced_rate(space: Space, rng: Random, members: int = 10) -> float:
    """Return how many architectures per second are costed when each is built and traced."""
    models = [model_for(device) for device in DEVICES]
    times = []
    for _ in range(members):
        architecture = space.sample(rng)
        start = time.process_time()
        workload = trace_built(
            lambda a=architecture: space.build(a), space.example_input(architecture)
        )
        for model in models:
            model.cost(workload, breakdown=False, enforce=False)
        times.append(time.process_time() - start)
    return 1 / statistics.median(times)


def table(report: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    alone = " | ".join(f"`{device}` alone" for device in DEVICES)
    lines = [
        f"| space | three devices at once, per second | target | {alone} | fit on all three "
        "| the first ones | each built and traced |",
        f"|---|---|---|{'---|' * len(DEVICES)}---|---|---|",
    ]
    for name, row in report["spaces"].items():
        middle, low, high = row["per_second"]["together"]
        each = " | ".join(f"{row['per_second'][device][0]:,}" for device in DEVICES)
        lines.append(
            f"| `{name}` | {middle:,} ({low:,} to {high:,}) | {TARGET:,} | {each} "
            f"| {row['fit_percent']} % | {row['first_per_second']:,} | {row['traced_per_second']} |"
        )
    first = next(iter(report["spaces"].values()))["warm"]
    return "\n".join(lines) + (
        f"\n\nMedians (95 % interval of the median) of {report['rounds']} rounds of "
        f"{report['size']} fresh architectures per second of one core, after the first "
        f"{first:,}, in which most parts are traced; {sentence(report['machine'])}.\n"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--warm", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=200)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "machine": machine("torch", "netloom"),
        "rounds": options.rounds,
        "size": options.size,
        "spaces": {
            name: measure(name, options.warm, options.rounds, options.size)
            for name in ("ofa_mbv3", "nb201")
        },
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "costs.json").write_text(json.dumps(report, indent=2) + "\n")
    (options.output / "costs.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
