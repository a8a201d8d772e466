"""Spaces and super-networks: speed of decisions, of building, of extraction, of shared weights.

    python benchmarks/supernets.py              # writes benchmarks/results/supernets.json and .md
    python benchmarks/supernets.py --only peers # what NNI has too, beside it (extra `nni`)

One process, one thread; what is compared alternates, and medians with their 95 % intervals are
given. Without NNI its part is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, median_interval, sentence

from netloom.spaces import SPACES, Architecture, Space
from netloom.spaces.layers import ModuleSupernet, OneOf

BATCH, ROUNDS = 8, 11
SIDES = {
    "ofa_mbv3": 128,
    "ofa_proxyless": 128,
    "ofa_resnet50": 128,
    "mobilenet": 128,
    "fbnetv5": 128,
    "hytra": 128,
}  # else as is


def seconds(function: Callable[[], Any]) -> float:
    """Return how long one call takes; nobody pays for another's garbage."""
    gc.collect()
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternating(first: Callable[[], Any], second: Callable[[], Any]) -> dict[str, Any]:
    """Return the medians of both in ms, and the median of first / second with its interval."""
    first(), second()
    pairs = [(seconds(first), seconds(second)) for _ in range(ROUNDS)]
    median, low, high = median_interval([a / b for a, b in pairs])
    return {
        "ms": [round(1e3 * statistics.median(column), 2) for column in zip(*pairs, strict=True)],
        "ratio": round(median, 3),
        "interval": [round(low, 3), round(high, 3)],
    }


# ---------------------------------------------------------------------- decisions
def microseconds(function: Callable[[int], Any], n: int = 1000) -> float:
    """Return the time of a call, the best of five rounds of `n`."""
    best = min(seconds(lambda: [function(i) for i in range(n)]) for _ in range(5))
    return round(1e6 * best / n, 1)


def decisions(space: Space) -> dict[str, Any]:
    """Return what it costs to sample, mutate, encode and key an architecture."""
    rng = Random(0)
    known = [space.sample(rng) for _ in range(1000)]
    active = sum(map(len, known)) / len(known)
    return {
        "active": round(active, 1),
        "limit_us": round(50 + 1.5 * max(0.0, active - 50), 1),
        "sample": microseconds(lambda i: space.sample(rng)),
        "mutate": microseconds(lambda i: space.mutate(known[i], rng)),
        "encode": microseconds(lambda i: space.encode(known[i])),
        "key": microseconds(lambda i: Architecture(dict(known[i])).key),
    }


# ---------------------------------------------------------------------- networks
def building(space: Space) -> dict[str, Any]:
    """Return the time to build on the meta device, and to extract, in s."""
    a = space.at(space.size - 1)

    def on_meta() -> None:
        with torch.device("meta"):
            space.build(a)

    supernet = space.supernet()
    network = supernet.extract(a)
    return {
        "supernet_params": sum(p.numel() for p in supernet.parameters()),
        "params": sum(p.numel() for p in network.parameters()),
        "meta_build_s": round(statistics.median(seconds(on_meta) for _ in range(5)), 3),
        "extract_s": round(
            statistics.median(seconds(lambda: supernet.extract(a)) for _ in range(5)), 3
        ),
    }


def forward(space: Space, side: int | None) -> dict[str, Any]:
    """Return the forward of the super-network beside that of the extracted network."""
    supernet = space.supernet().eval()
    a = space.sample(Random(1))
    supernet.activate(a)
    network = supernet.extract(a).eval()
    x = batch(space, side)

    def run(module: torch.nn.Module) -> Callable[[], Any]:
        def once() -> Any:
            with torch.no_grad():
                return module(x)

        return once

    return {"input": list(x.shape), **alternating(run(supernet), run(network))}


def batch(space: Space, side: int | None) -> torch.Tensor:
    """Return a batch of images for the space, of another side if wanted."""
    _, channels, *sides = space.example_input(space.at(0)).shape
    sides = [side, side] if side else sides
    return torch.randn(BATCH, channels, *sides)


# ---------------------------------------------------------------------- peers
# AutoFormer-T: the layers of MCUFormer whole, the widths and patches of the former
AUTOFORMER = {
    "factors": 1,
    "patches": [16],
    "resolution": 224,
    "embed_dims": [192, 216, 240],
    "mlp_ratios": [3, 3.5, 4],
}
OPTIONS = {"mcuformer": AUTOFORMER, "mcuformer, rank 0.5": {**AUTOFORMER, "factors": 3}}
OPTIONS["mcuformer, rank 0.5"]["rank_ratios"] = [0.5]


def peers() -> dict[str, Any]:
    """Return forward + backward of our super-networks beside NNI's of the same spaces.

    The low-rank layers of MCUFormer exist here alone: they run beside NNI's whole ones.
    """
    import nni.nas.hub.pytorch as hub
    from nni.nas.oneshot.pytorch.strategy import DARTS, RandomOneShot

    widths = (16, 16, 24, 40, 80, 112, 160, 960, 1280)
    excite = ("none", "none", "force", "none", "force", "force")
    spaces = {
        "ofa_mbv3": lambda: hub.MobileNetV3Space(
            base_widths=widths,
            width_multipliers=1.0,
            expand_ratios=(3.0, 4.0, 6.0),
            squeeze_excite=excite,
            depth_range=[(2, 4)] * 5,
        ),
        "mobilenet": lambda: hub.ProxylessNAS(),
        "darts": lambda: hub.DARTS(width=16, num_cells=8, dataset="cifar"),
        **dict.fromkeys(OPTIONS, lambda: hub.AutoFormer(drop_path_rate=0.0)),
    }
    sides = {"darts": 32, **dict.fromkeys(OPTIONS, AUTOFORMER["resolution"])}
    found = {}
    for name, make in spaces.items():
        mixed = name == "darts"
        theirs = supernet_of_nni(make, DARTS() if mixed else RandomOneShot())
        ours = supernet_of_ours(name, mixed)
        x = torch.randn(BATCH, 3, *[sides.get(name, 64)] * 2)
        found[name] = {
            "input": list(x.shape),
            "ours": "weighted mixture" if mixed else "the largest path",
            **alternating(step(ours, x), step(theirs, x)),
        }
    return found


def supernet_of_nni(make: Callable[[], Any], strategy: Any) -> torch.nn.Module:
    """Return NNI's super-network with its largest options active."""
    from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule

    space = make()
    memo = {label: choice.values[-1] for label, choice in space.simplify().items()}
    memo |= {label: 3 for label in ("stem_ks", "s0_i0_ks") if label in memo}  # fixed in ours
    module = strategy.mutate_model(space)
    for layer in module.modules():
        if isinstance(layer, BaseSuperNetModule):
            memo.update(layer.resample(memo))
    return module.train()


def supernet_of_ours(name: str, mixed: bool) -> torch.nn.Module:
    """Return our super-network with its largest options active, or all of them mixed."""
    space = SPACES.get(name.partition(",")[0])(**OPTIONS.get(name, {}))
    supernet: ModuleSupernet = space.supernet()
    path = space.parse("k7_e6 " * 21) if name == "mobilenet" else space.at(space.size - 1)
    supernet.activate(path)
    if mixed:
        counts = {
            layer.choice.name: len(layer.candidates)
            for layer in supernet.modules()
            if isinstance(layer, OneOf)
        }
        logits = {key: torch.zeros(n, requires_grad=True) for key, n in counts.items()}
        supernet.mix({key: torch.softmax(value, 0) for key, value in logits.items()})
    return supernet.train()


def step(module: torch.nn.Module, x: torch.Tensor) -> Callable[[], None]:
    """Return a forward and a backward."""

    def once() -> None:
        y = module(x)
        (y[0] if isinstance(y, tuple) else y).sum().backward(retain_graph=True)

    return once


# ---------------------------------------------------------------------- report
def table(report: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| space | active decisions | sample | mutate | encode | key | limit |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in report["decisions"].items():
        times = " | ".join(f"{row[key]} us" for key in ("sample", "mutate", "encode", "key"))
        lines.append(f"| {name} | {row['active']} | {times} | {row['limit_us']} us |")
    lines += [
        "",
        "| space | super-network | largest network | build on meta | extract | its forward "
        "| of a member | ratio (95 %) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["networks"].items():
        run = row["forward"]
        low, high = run["interval"]
        lines.append(
            f"| {name} | {row['supernet_params']:,} | {row['params']:,} | {row['meta_build_s']} s "
            f"| {row['extract_s']} s | {run['ms'][0]} ms | {run['ms'][1]} ms "
            f"| {run['ratio']} ({low} to {high}) |"
        )
    lines += [
        "",
        "| space | run | input | netloom | NNI | ratio (95 %) |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in (report["peers"] or {}).items():
        low, high = run["interval"]
        shape = " x ".join(map(str, run["input"]))
        lines.append(
            f"| {name} | {run['ours']} | {shape} | {run['ms'][0]} ms | {run['ms'][1]} ms "
            f"| {run['ratio']} ({low} to {high}) |"
        )
    if report["peers"] is None:
        lines[-2:] = ["NNI is not installed here, so that its super-networks were not run."]
    return "\n".join(lines) + (
        f"\n\nMedians of {ROUNDS} alternating runs, batch {BATCH}, one thread (decisions: best of "
        "five rounds of 1,000). The forward of a random member in eval mode; beside NNI forward "
        f"and backward in train mode. {sentence(report['machine'])}.\n"
    )


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("decisions", "networks", "peers"))
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = options.output / "supernets.json"
    report = json.loads(path.read_text()) if path.exists() else {"peers": None}
    report["machine"] = machine("torch", "nni", "netloom")
    spaces = {name: SPACES.get(name)() for name in SPACES.names()}
    if options.only in (None, "decisions"):
        report["decisions"] = {name: decisions(space) for name, space in spaces.items()}
    if options.only in (None, "networks"):
        report["networks"] = {
            name: {**building(space), "forward": forward(space, SIDES.get(name))}
            for name, space in spaces.items()
            if "supernet" in space.supports
        }
    if options.only in (None, "peers"):
        try:
            report["peers"] = peers()
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("nni"):
                raise
    options.output.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n")
    (options.output / "supernets.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
