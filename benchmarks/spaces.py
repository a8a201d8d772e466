"""Parameters and MACs of every member of the measured spaces, beside what others published.

    python benchmarks/spaces.py           # writes benchmarks/results/spaces.json and spaces.md

netloom's figures are those of the estimator `complexity`: networks composed of traced parts. For
`nas_bench_macro` the reference is its own table, row by row. `nb201` and `nats_sss` come with no
table of sizes: the reference is arithmetic on the layers that their papers describe.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, sentence

from netloom.estimators import ESTIMATORS
from netloom.spaces import SPACES, Architecture

Size: TypeAlias = tuple[int, int]  # parameters, MACs
TABLES = Path(__file__).parents[1] / "estimators" / "tables"
SIDES = (32, 16, 8)  # of the feature maps of the three stages


def conv(inputs: int, outputs: int, kernel: int, side: int, *, norm: bool = True) -> Size:
    """Return the size of a convolution without bias, with its batch norm if it has one."""
    weights = inputs * outputs * kernel * kernel
    return weights + (2 * outputs if norm else 0), weights * side * side


def total(sizes: Iterable[Size]) -> Size:
    """Return the sum."""
    params, macs = zip(*sizes, strict=True)
    return sum(params), sum(macs)


def reduction(inputs: int, outputs: int, side: int) -> list[Size]:
    """Return a residual block of stride 2: two 3x3, and a 1x1 without norm behind a pooling."""
    first, second = conv(inputs, outputs, 3, side), conv(outputs, outputs, 3, side)
    return [first, second, conv(inputs, outputs, 1, side, norm=False)]


def head(inputs: int, classes: int = 10) -> list[Size]:
    """Return batch norm and classifier."""
    return [(2 * inputs, 0), (inputs * classes + classes, inputs * classes)]


def nb201(architecture: Architecture) -> Size:
    """Return the size by arXiv 2001.00326: 16, 32, 64 channels, five cells per stage."""
    kernels = [int(str(op)[-1]) for op in architecture.values() if str(op).startswith("nor_conv")]
    sizes = [conv(3, 16, 3, SIDES[0]), *reduction(16, 32, SIDES[1])]
    sizes += [*reduction(32, 64, SIDES[2]), *head(64)]
    for channels, side in zip((16, 32, 64), SIDES, strict=True):
        sizes += 5 * [conv(channels, channels, kernel, side) for kernel in kernels]
    return total(sizes)


def nats_sss(architecture: Architecture) -> Size:
    """Return the size by arXiv 2009.00437: its fixed cell between reductions, five widths."""
    w = [int(str(width)) for width in architecture.values()]
    sizes = [conv(3, w[0], 3, SIDES[0]), *nats_cell(w[0], w[0], SIDES[0])]
    sizes += [*reduction(w[0], w[1], SIDES[1]), *nats_cell(w[1], w[2], SIDES[1])]
    sizes += [*reduction(w[2], w[3], SIDES[2]), *nats_cell(w[3], w[4], SIDES[2])]
    return total([*sizes, *head(w[4])])


def nats_cell(inputs: int, outputs: int, side: int) -> list[Size]:
    """Return five 3x3, two of them on the input, and a skip that is a 1x1 where widths differ."""
    skip = [] if inputs == outputs else [conv(inputs, outputs, 1, side)]
    return 2 * [conv(inputs, outputs, 3, side)] + 3 * [conv(outputs, outputs, 3, side)] + skip


def by_formula(space: str, formula: Callable[[Architecture], Size]) -> Iterator[tuple[Any, Size]]:
    """Yield (architecture, size) of every member."""
    for architecture in SPACES.get(space)().enumerate():
        yield architecture, formula(architecture)


def by_table() -> Iterator[tuple[Any, Size]]:
    """Yield (notation, size) of every row of NAS-Bench-Macro."""
    for row in pq.read_table(TABLES / "nas_bench_macro.parquet").to_pylist():
        yield row["arch"], (row["params"], row["flops"])


REFERENCES: dict[str, tuple[str, Callable[[], Iterator[tuple[Any, Size]]]]] = {
    "nas_bench_macro": ("its table, row by row", by_table),
    "nb201": ("arithmetic on its layers", lambda: by_formula("nb201", nb201)),
    "nats_sss": ("arithmetic on its layers", lambda: by_formula("nats_sss", nats_sss)),
}


def compare(name: str) -> dict[str, Any]:
    """Return how many members have the parameters and the MACs of the reference."""
    space = SPACES.get(name)()
    what, rows = REFERENCES[name]
    given = [(space.parse(text), size) for text, size in rows()]
    architectures = [architecture for architecture, _ in given]
    start = time.perf_counter()
    found = ESTIMATORS.get("complexity")(space).evaluate_many(
        architectures, seeds=[0] * len(architectures)
    )
    seconds = time.perf_counter() - start
    sizes = []
    for values in found:
        if isinstance(values, Exception):
            raise values
        sizes.append((int(values["params"]), int(values["macs"])))
    pairs = [(ours, theirs) for ours, (_, theirs) in zip(sizes, given, strict=True)]
    return {
        "reference": what,
        "members": space.size,
        "compared": len(set(architectures)),
        "params_equal": sum(ours[0] == theirs[0] for ours, theirs in pairs),
        "macs_equal": sum(ours[1] == theirs[1] for ours, theirs in pairs),
        "params": [f(size[0] for size in sizes) for f in (min, max)],
        "macs": [f(size[1] for size in sizes) for f in (min, max)],
        "seconds": round(seconds, 1),
    }


def table(report: dict[str, Any]) -> str:
    """Return the results as a Markdown table."""
    rows = [
        "| space | members | compared with | parameters equal | MACs equal | parameters | MACs "
        "| all counted in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["spaces"].items():
        ranges = [" to ".join(f"{v:,}" for v in row[key]) for key in ("params", "macs")]
        rows.append(
            f"| `{name}` | {row['members']:,} | {row['reference']} | {row['params_equal']:,} "
            f"| {row['macs_equal']:,} | {ranges[0]} | {ranges[1]} | {row['seconds']} s |"
        )
    return "\n".join(rows) + f"\n\n{sentence(report['machine'])}.\n"


def main() -> None:
    """Compare, print and write; exit 1 if one member differs."""
    report = {
        "machine": machine("netloom", "torch"),
        "spaces": {name: compare(name) for name in REFERENCES},
    }
    (RESULTS / "spaces.json").write_text(json.dumps(report, indent=2) + "\n")
    (RESULTS / "spaces.md").write_text(table(report))
    print(table(report))
    counts = ("compared", "params_equal", "macs_equal")
    if any(row[c] != row["members"] for row in report["spaces"].values() for c in counts):
        raise SystemExit("some members differ from the reference, or were not compared")


if __name__ == "__main__":
    main()
