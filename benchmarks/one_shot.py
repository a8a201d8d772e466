"""Searching by gradients: the cost of an iteration of each method, and the memory of a pass.

    python benchmarks/one_shot.py                 # writes benchmarks/results/one_shot.json and .md
    python benchmarks/one_shot.py --parts memory  # or times, widths, nni; the others keep theirs

The DARTS search network with 8 channels, 5 cells and batches of 8 images of 32x32, one thread. What
is compared alternates; medians with their 95 % intervals are given. Time is what the process itself
spent, so that other people's processes count less. Without NNI its part is left out, and the table
says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.module import register_module_forward_hook

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, ratio, sentence

from netloom.estimators.data.shapes import Shapes
from netloom.search import Objective
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts
from netloom.search.strategies.rarts import Rarts
from netloom.search.testing import MemoryContext
from netloom.spaces import SPACES

FILE = RESULTS / "one_shot.json"
CHANNELS, CELLS, BATCH, SIDE, ROUNDS = 8, 5, 8, 32, 15
METHODS: dict[str, Callable[..., Any]] = {
    "darts, first order": lambda **o: Darts(order=1, **o),
    "darts, second order": lambda **o: Darts(order=2, **o),
    "rarts, fused": lambda **o: Rarts(mode="fused", **o),
    "rarts, strict": lambda **o: Rarts(mode="strict", **o),
    "pc_darts, K=4": lambda **o: PcDarts(partial=4, warmup_epochs=0, **o),
}
SEPARATELY = ", one operation at a time"
RATIOS: dict[
    tuple[str, str], float | None
] = {  # (numerator, denominator) -> what the authors' code gave (RARTS: its equations)
    ("darts, second order", "darts, first order"): 2.3,
    ("rarts, fused", "darts, second order"): 0.45,
    ("rarts, strict", "darts, second order"): 0.7,
    ("pc_darts, K=4", "darts, first order"): 0.5,
    (f"pc_darts, K=4{SEPARATELY}", f"darts, first order{SEPARATELY}"): 0.5,
    (f"darts, first order{SEPARATELY}", "darts, first order"): None,
}
PAIR = ("darts, first order", "pc_darts, K=4")
MEMORY = 0.32  # activations of PC-DARTS / DARTS, of the authors' code
NNI = 2.0  # how many times faster than NNI a step should be


def trainer(method: str, channels: int = CHANNELS, cells: int = CELLS) -> Any:
    """Return a search that stands before its first step."""
    data = Shapes(resolution=SIDE, channels=3, examples=1000)
    context = MemoryContext(
        SPACES.get("darts")(**data.space_options),
        [Objective("valid_accuracy", "maximize")],
        data=data,
    )
    options = {"channels": channels, "layers": cells}
    return METHODS[method](batch_size=BATCH, supernet=options).trainer(context, 0, "search")


def seconds(step: Callable[[], Any]) -> float:
    """Return what the process spends on one call; nobody pays for another's garbage."""
    gc.collect()
    start = time.process_time()
    step()
    return time.process_time() - start


@contextmanager
def one_by_one() -> Iterator[None]:
    """Let every operation of every edge run by itself, as it does where layers have hooks."""
    hook = register_module_forward_hook(lambda module, inputs, output: None)
    try:
        yield
    finally:
        hook.remove()


def separately(step: Callable[[], None]) -> Callable[[], None]:
    """Return a step that runs the operations of its edges one by one."""

    def taken() -> None:
        with one_by_one():
            step()

    return taken


# ---------------------------------------------------------------------- parts
def times(rounds: int) -> dict[str, Any]:
    """Return the seconds of full iterations: both batches drawn, every step taken."""
    steps = {method: trainer(method)._take_step for method in METHODS}
    for method in PAIR:
        steps[f"{method}{SEPARATELY}"] = separately(trainer(method)._take_step)
    for step in steps.values():
        step()
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            found[name].append(round(seconds(step), 4))
    return {"seconds": found}


def widths(rounds: int) -> dict[str, Any]:
    """Return the seconds of DARTS and PC-DARTS in turn, for networks of three cells."""
    found: dict[str, list[list[float]]] = {}
    for channels in (8, 16, 32):
        steps = [trainer(method, channels, 3)._take_step for method in PAIR]
        for step in steps:
            step()
        found[str(channels)] = [[round(seconds(s), 4) for s in steps] for _ in range(rounds)]
    return {"seconds": found}


def memory(rounds: int) -> dict[str, Any]:
    """Return the bytes that a forward pass keeps for its backward pass (the same in each round)."""
    found: dict[str, dict[str, int]] = {}
    for channels, cells in ((CHANNELS, CELLS), (16, 8)):
        row = {}
        for method in PAIR:
            search = trainer(method, channels, cells)
            row[f"{method}, together"] = kept(search)
            with one_by_one():
                row[f"{method}, one by one"] = kept(search)
        found[f"{channels} channels, {cells} cells"] = row
    return {"bytes": found}


def kept(search: Any) -> int:
    """Return the bytes of the distinct tensors that are kept, parameters left out."""
    own = {p.untyped_storage().data_ptr() for p in search.supernet.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    search.mix()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = search.loss(search.halves.train(0, 0))  # alive, so that no address is used again
    assert loss.requires_grad
    return sum(sizes.values())


def nni(rounds: int) -> dict[str, Any] | None:
    """Return the seconds of our first-order iterations and of NNI's, in turn; None without NNI."""
    try:
        from one_shot_nni import search_beside
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("nni", "pytorch_lightning"):
            raise
        return None
    step = trainer("darts, first order")._take_step
    step()
    ours: list[float] = []
    theirs = search_beside(
        lambda: ours.append(round(seconds(step), 4)),
        Shapes(resolution=SIDE, channels=3, examples=1000),
        batch=BATCH,
        channels=CHANNELS,
        cells=CELLS,
        steps=rounds + 1,
    )
    return {"ours": ours[1:], "theirs": [round(value, 4) for value in theirs[1:]]}


PARTS: dict[str, Callable[[int], dict[str, Any] | None]] = {
    "times": times,
    "widths": widths,
    "memory": memory,
    "nni": nni,
}


# ---------------------------------------------------------------------- tables
def times_table(part: dict[str, Any]) -> list[str]:
    """Return the medians, and the ratios of runs of one round."""
    found = part["seconds"]
    lines = ["| one iteration | median |", "|---|---|"]
    lines += [f"| {name} | {statistics.median(values):.2f} s |" for name, values in found.items()]
    lines += ["", "| ratio | measured (95 %) | authors' code |", "|---|---|---|"]
    for (over, under), reference in RATIOS.items():
        shown = "-" if reference is None else f"{reference}"
        lines.append(f"| {over} / {under} | {ratio(found[over], found[under])} | {shown} |")
    return [
        *lines,
        _foot(part, f"Medians of {len(next(iter(found.values())))} alternating rounds, own time"),
    ]


def widths_table(part: dict[str, Any]) -> list[str]:
    """Return the ratio of PC-DARTS and DARTS for each width."""
    lines = ["| channels | `darts` | `pc_darts`, K=4 | ratio (95 %) |", "|---|---|---|---|"]
    for channels, rows in part["seconds"].items():
        whole, partial = (list(column) for column in zip(*rows, strict=True))
        lines.append(
            f"| {channels} | {statistics.median(whole):.2f} s | {statistics.median(partial):.2f} s "
            f"| {ratio(partial, whole)} |"
        )
    rounds = len(part["seconds"]["8"])
    return [*lines, _foot(part, f"Three cells; medians of {rounds} alternating rounds, own time")]


def memory_table(part: dict[str, Any]) -> list[str]:
    """Return the activations of both methods, and their ratio."""
    lines = ["| network | edges | `darts` | `pc_darts`, K=4 | ratio | authors' code |"]
    lines.append("|---|---|---|---|---|---|")
    for network, row in part["bytes"].items():
        for way in ("together", "one by one"):
            whole, partial = (row[f"{method}, {way}"] for method in PAIR)
            lines.append(
                f"| {network} | {way} | {whole / 2**20:.0f} MiB | {partial / 2**20:.0f} MiB "
                f"| {partial / whole:.2f} | {MEMORY} |"
            )
    return [*lines, _foot(part, "Distinct tensors kept for the backward pass, without parameters")]


def nni_table(part: dict[str, Any]) -> list[str]:
    """Return both sides, or that one was not there."""
    if part["ours"] is None:
        return [f"NNI was not installed, so that its strategy was not run; {part['machine']}."]
    ours, theirs = part["ours"], part["theirs"]
    return [
        "| one first-order iteration | netloom | NNI 3.0 `DARTS` | NNI / netloom (95 %) | target |",
        "|---|---|---|---|---|",
        f"| {CHANNELS} channels, {CELLS} cells | {statistics.median(ours):.2f} s "
        f"| {statistics.median(theirs):.2f} s | {ratio(theirs, ours)} | {NNI} |",
        _foot(part, f"Medians of {len(ours)} alternating iterations, own time"),
    ]


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], list[str]]]] = {
    "times": ("Time of an iteration", times_table),
    "widths": ("PC-DARTS by the width", widths_table),
    "memory": ("Memory of a pass", memory_table),
    "nni": ("Beside NNI", nni_table),
}


def _foot(part: dict[str, Any], text: str) -> str:
    return f"\n{text}, batch {BATCH}, {SIDE}x{SIDE}, one thread; {sentence(part['machine'])}."


def report(found: dict[str, Any]) -> str:
    """Return all tables."""
    parts = [(title, table(found[n])) for n, (title, table) in TABLES.items() if n in found]
    return "\n".join(f"### {title}\n\n" + "\n".join(lines) + "\n" for title, lines in parts)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in options.parts:
        state = machine("torch", "netloom", *(["nni"] if name == "nni" else []))
        part = PARTS[name](options.rounds)
        found[name] = {"machine": state, **(part or {"ours": None, "theirs": None})}
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(report(found))
    print(report(found))


if __name__ == "__main__":
    main()
