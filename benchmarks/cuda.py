"""What only a GPU shows: super-networks beside their members, and searches by gradients.

    python benchmarks/cuda.py    # writes benchmarks/results/cuda.json and .md; two minutes

The first CUDA device. What is compared alternates; medians with their 95 % intervals are given.
Memory is the allocator's peak over a step, weights and optimiser included.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, ratio, sentence

from netloom.estimators.data.shapes import Shapes
from netloom.search import Objective
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts
from netloom.search.testing import MemoryContext
from netloom.spaces import SPACES

FILE = RESULTS / "cuda.json"
ROUNDS, BATCH = 11, 32
CHANNELS, CELLS, SIDE, IMAGES = 16, 8, 32, 64  # the search network and batch of DARTS
METHODS: dict[str, Callable[[], Any]] = {
    "darts, first order": lambda: Darts(order=1, **_options()),
    "darts, first order, channels_last": lambda: Darts(order=1, channels_last=True, **_options()),
    "darts, first order, amp": lambda: Darts(order=1, amp=True, **_options()),
    "darts, second order": lambda: Darts(order=2, **_options()),
    "pc_darts, K=4": lambda: PcDarts(partial=4, warmup_epochs=0, **_options()),
}
BASE = "darts, first order"


def _options() -> dict[str, Any]:
    return {"batch_size": IMAGES, "supernet": {"channels": CHANNELS, "layers": CELLS}}


def seconds(step: Callable[[], Any]) -> float:
    """Return how long a call and its kernels take."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def forwards() -> dict[str, Any]:
    """Return the ms of each space's super-network and of a member of it, in turn."""
    found = {}
    for name in SPACES.names():
        space = SPACES.get(name)()
        if "supernet" not in space.supports:
            continue
        a = space.sample(Random(1))
        supernet = space.supernet().eval().cuda()
        supernet.activate(a)
        network = supernet.extract(a).eval()
        x = torch.randn(BATCH, *space.example_input(a).shape[1:], device="cuda")
        pairs = []
        with torch.no_grad():
            for _ in range(3):  # kernels are chosen, memory is taken
                supernet(x), network(x)
            for _ in range(ROUNDS):
                pairs.append([seconds(partial(m, x)) for m in (supernet, network)])
        found[name] = {"input": list(x.shape), "ms": [[1e3 * v for v in p] for p in pairs]}
        print(name, file=sys.stderr, flush=True)
    return found


def steps() -> dict[str, Any]:
    """Return the ms of an iteration of each method, in turn, and the peak of its memory."""
    data = Shapes(resolution=SIDE, channels=3, examples=1000)
    taken: dict[str, Callable[[], Any]] = {}
    peaks = {}
    for method, make in METHODS.items():
        context = MemoryContext(
            SPACES.get("darts")(**data.space_options),
            [Objective("valid_accuracy", "maximize")],
            data=data,
            device="cuda",
        )
        gc.collect()
        before = torch.cuda.memory_allocated()
        taken[method] = make().trainer(context, 0, "search")._take_step
        for _ in range(3):
            taken[method]()
        torch.cuda.reset_peak_memory_stats()
        taken[method]()
        peaks[method] = torch.cuda.max_memory_allocated() - before
        print(method, file=sys.stderr, flush=True)
    times: dict[str, list[float]] = {method: [] for method in taken}
    for _ in range(ROUNDS):
        for method, step in taken.items():
            times[method].append(1e3 * seconds(step))
    return {"ms": times, "peak_bytes": peaks}


def table(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["| space | input | super-network | member | ratio (95 %) |", "|---|---|---|---|---|"]
    for name, row in found["forwards"].items():
        own, member = zip(*row["ms"], strict=True)
        shape = " x ".join(map(str, row["input"]))
        lines.append(
            f"| {name} | {shape} | {statistics.median(own):.2f} ms "
            f"| {statistics.median(member):.2f} ms | {ratio(own, member)} |"
        )
    times, peaks = found["steps"]["ms"], found["steps"]["peak_bytes"]
    lines += [
        "",
        f"| iteration | time | over {BASE} (95 %) | peak of memory |",
        "|---|---|---|---|",
    ]
    for method, values in times.items():
        lines.append(
            f"| {method} | {statistics.median(values):.1f} ms | {ratio(values, times[BASE])} "
            f"| {peaks[method] / 2**20:,.0f} MiB |"
        )
    return "\n".join(lines) + (
        f"\n\nMedians of {ROUNDS} alternating runs. Forward of a random member in eval mode; "
        f"iterations of the DARTS search network, {CHANNELS} channels, {CELLS} cells, {IMAGES} "
        f"images of {SIDE}x{SIDE}. {found['device']}; {sentence(found['machine'])}.\n"
    )


def main() -> None:
    """Measure, print and write."""
    if not torch.cuda.is_available():
        raise SystemExit(
            "benchmarks/cuda.py needs a CUDA device; netloom doctor says what there is"
        )
    warnings.simplefilter("ignore")
    found = {
        "device": torch.cuda.get_device_name(),
        "machine": machine("torch"),
        "forwards": forwards(),
        "steps": steps(),
    }
    FILE.write_text(json.dumps(found, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(table(found))
    print(table(found))


if __name__ == "__main__":
    main()
