"""Latency models of GPUs, CPUs and simulated accelerators against measurements made by others.

    python benchmarks/hardware.py         # writes benchmarks/results/hardware.json and hardware.md
    python benchmarks/hardware.py devices     # writes the fitted files of hw_models/devices

Measurements: the tables of the package (`estimators/tables`). Three questions: what data sheets
alone say (zero-shot), what 10 measured networks add, and what 100 do. Networks that are fitted are
drawn at random, all others are the test. On `nb201` only cells with a way from input to output
count, as in the literature. Beside netloom, on the same draws: a line through MACs, a line through
parameters, and a plain table of operations (a constant and a cost for each operation of the space,
least squares; on `nb201` also with the operations that reach the output only).
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))
from machine import RESULTS, machine, sentence

from netloom.estimators.complexity import Workloads
from netloom.estimators.tables import load_table
from netloom.hw_models import load_device, model_for
from netloom.hw_models.calibrate import Measurement, as_fit, calibrate, describe, write_device
from netloom.hw_models.design import Design
from netloom.hw_models.fitting import Fitter
from netloom.hw_models.scores import noise_ceiling, validation
from netloom.spaces import SPACES, Space

Vector = npt.NDArray[np.float64]
SEEDS, DRAWS = 5, 50
DEVICE_FILES = Path(__file__).parents[1] / "hw_models" / "devices"
HELP = ("gold_6226", "raspi4", "eyeriss", "fpga")
DEVICES = {  # column without its batch -> the data sheet that calibration starts from
    "1080ti": "gtx1080ti",
    "2080ti": "rtx2080ti",
    "v100": "v100",
    "gold_6226": "xeon_gold_6226",
    "raspi4": "raspberry_pi_4",
    "pixel3": "pixel_3_cpu",
    "eyeriss": "cpu_generic",  # no data sheet is used of these two, but for kinds never measured
    "fpga": "cpu_generic",
}
FIGURES = ("spearman", "kendall", "mape_percent", "within_5_percent", "within_10_percent")


class Bench(NamedTuple):
    """One space with its measured networks.

    Args:
        name: Of the space.
        designs: By batch size.
        columns: Device -> milliseconds.
        baselines: Name -> (networks, features).
        groups: Equal texts for networks that must take equally long.
        helped: The rows on which HELP (arXiv 2106.08630) tests; none for other spaces.
    """

    name: str
    designs: Mapping[int, Design]
    columns: Mapping[str, Vector]
    baselines: Mapping[str, Vector]
    groups: Sequence[str]
    helped: npt.NDArray[np.intp]


def split(column: str) -> tuple[str, int]:
    """Return the device and the batch size of a column (`1080ti_256`)."""
    device, _, batch = column.rpartition("_")
    return (device, int(batch)) if device in DEVICES else (column, 1)


def load(space: Space, table: str) -> Bench:
    """Return the measured networks of a space."""
    data = load_table(table)
    columns = {name[11:]: v for name, v in data.items() if name.startswith("latency_ms_")}
    if space.name == "ofa_mbv3":
        texts = [ofa(row) for row in zip(*(data[k].tolist() for k in OFA), strict=True)]
    else:
        texts = data["arch"].tolist()
    architectures = [space.parse(text) for text in texts]
    groups, helped = [""] * len(texts), np.empty(0, np.intp)
    if space.name == "nb201":
        kept = [i for i, a in enumerate(architectures) if connected(a)]
        architectures = [architectures[i] for i in kept]
        columns = {name: values[kept] for name, values in columns.items()}
        groups = [space.canonical(a) for a in architectures]
        index = data["index"][kept]
        helped = np.flatnonzero((index >= 900) & (index < 1900))
    workloads = Workloads(space)
    found = [workloads.of(a) for a in architectures]
    batches = sorted({split(column)[1] for column in columns})
    baselines = {
        "MACs": np.array([[w.macs] for w in found], float),
        "parameters": np.array([[w.params] for w in found], float),
        **{name: np.array(rows, float) for name, rows in tables(space, architectures).items()},
    }
    designs = {batch: Design.of(found, batch) for batch in batches}
    return Bench(space.name, designs, columns, baselines, groups, helped)


OFA = ("kernel_sizes", "expand_ratios", "depths", "resolution")


def ofa(row: Sequence[Any]) -> dict[str, Any]:
    """Return the notation of a row of the OFA table."""
    kernels, ratios, depths, resolution = row
    lists = [[int(word) for word in text.split()] for text in (kernels, ratios, depths)]
    return dict(zip(("ks", "e", "d", "r"), (*lists, int(resolution)), strict=True))


def connected(a: Mapping[str, Any]) -> bool:
    """Return whether a path without `none` leads from the input of a cell to its output."""
    reached = {0}
    for edge, operation in a.items():
        node, source = nodes(edge)
        if source in reached and operation != "none":
            reached.add(node)
    return 3 in reached


def nodes(edge: str) -> tuple[int, int]:
    """Return the nodes of an edge of `nb201` (`node2.from1`): where it leads, where it starts."""
    node, _, source = edge.partition(".")
    return int(node[4:]), int(source[4:])


def tables(space: Space, architectures: Sequence[Mapping[str, Any]]) -> dict[str, list[list[int]]]:
    """Return how often each operation of the space is in each network."""
    if space.name == "nb201":
        ways = {"table": lambda a: list(a.values()), "table, live": live}
    elif space.name == "fbnet":
        ways = {"table": lambda a: list(a.values())}
    else:
        ways = {"table": blocks}
    found = {}
    for name, operations in ways.items():
        counts = [Counter(operations(a)) for a in architectures]
        known = sorted({operation for count in counts for operation in count})
        found[name] = [[count[operation] for operation in known] for count in counts]
    return found


def live(a: Mapping[str, Any]) -> list[str]:
    """Return the operations of a cell that reach its output."""
    wanted, found = {3}, []
    for edge, operation in reversed(list(a.items())):
        node, source = nodes(edge)
        if node in wanted:
            found.append(operation)
            if operation != "none":
                wanted.add(source)
    return found


def blocks(a: Mapping[str, Any]) -> list[str]:
    """Return kernel and ratio of each block of an OFA network."""
    names = [name for name in a if name.endswith(".kernel")]
    return [f"{a[name]} {a[name.removesuffix('kernel') + 'expand']}" for name in names]


def line(features: Vector, values: Vector, rows: npt.NDArray[np.bool_]) -> Vector:
    """Return the predictions of all by least squares on some rows."""
    table = np.column_stack([np.ones(len(values)), features])
    scaled = table / table.max(axis=0)
    weights: Vector = np.linalg.lstsq(scaled[rows], values[rows], rcond=None)[0]
    return scaled @ weights


def drawn(total: int, count: int, seed: int) -> npt.NDArray[np.bool_]:
    """Return a mask of `count` random rows."""
    rows = np.zeros(total, bool)
    rows[np.random.default_rng(seed).permutation(total)[:count]] = True
    return rows


def figures(predicted: Vector, measured: Vector) -> dict[str, float]:
    """Return the scores of predictions on networks that were not fitted."""
    found = validation(predicted, measured, source="held-out rows of the table")
    return {name: getattr(found, name) or 0.0 for name in FIGURES}


def fitter(bench: Bench, column: str, seed: int) -> Fitter:
    """Return what `calibrate` fits and chooses with, on a column."""
    device, batch = split(column)
    model: Any = model_for(DEVICES[device])
    names = [group or str(i) for i, group in enumerate(bench.groups)]
    return Fitter(
        bench.designs[batch],
        bench.columns[column] * 1e3,
        names,
        lambda work: 1e3 * model.kernel_time(work, batch, "float32").ms,
        seed,
    )


def calibrated(
    bench: Bench, column: str, rows: npt.NDArray[np.bool_], seed: int
) -> tuple[Vector, str]:
    """Return milliseconds of all networks by a model fitted to some, and what was chosen."""
    used = fitter(bench, column, seed)
    fitted = used.fit(used.choose(rows), rows)
    everything = np.ones(len(rows), bool)
    design = used.design
    fit = as_fit(fitted, design, dtype="float32", n=int(rows.sum()), source="rows of the table")
    return fitted.predict_us(design, everything) / 1e3, describe(fit)


def mean(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each figure."""
    return {name: round(fmean(row[name] for row in rows), 4) for name in rows[0]}


def with_hundred(bench: Bench) -> dict[str, Any]:
    """Return the figures of every column with 100 measured networks."""
    report: dict[str, Any] = {}
    for column, values in bench.columns.items():
        found: dict[str, list[dict[str, float]]] = {}
        models: Counter[str] = Counter()
        for seed in range(SEEDS):
            rows = drawn(len(values), 100, seed)
            for name, features in bench.baselines.items():
                predicted = line(features, values, rows)
                found.setdefault(name, []).append(figures(predicted[~rows], values[~rows]))
            predicted, model = calibrated(bench, column, rows, seed)
            found.setdefault("netloom", []).append(figures(predicted[~rows], values[~rows]))
            models[model] += 1
        ceiling = noise_ceiling(values, bench.groups)
        report[column] = {
            "figures": {name: mean(rows) for name, rows in found.items()},
            "models": dict(models.most_common()),
            "noise_ceiling": None if ceiling is None else round(ceiling, 4),
        }
        print(bench.name, column, report[column]["figures"]["netloom"], flush=True)
    return report


def with_ten(bench: Bench, trimmed: bool) -> dict[str, Any]:
    """Return the figures with 10 measured networks.

    Args:
        bench: Of `nb201`.
        trimmed: Whether networks are those of HELP's test: 1,000 of the table, without the tenths
            that are fastest and slowest on the device.
    """
    report: dict[str, Any] = {}
    for column in HELP:
        values = bench.columns[column]
        where = np.arange(len(values))
        if trimmed:
            where = bench.helped
            low, high = np.quantile(values[where], [0.1, 0.9])
            where = where[(values[where] >= low) & (values[where] <= high)]
        ours, plain = [], []
        for seed in range(DRAWS):
            rows = np.zeros(len(values), bool)
            rows[where[drawn(len(where), 10, seed)]] = True
            test = where[~rows[where]]
            predicted, _ = calibrated(bench, column, rows, seed)
            ours.append(figures(predicted[test], values[test]))
            predicted = line(bench.baselines["table"], values, rows)
            plain.append(figures(predicted[test], values[test]))
        report[column] = {"netloom": mean(ours), "table": mean(plain)}
        print("ten", trimmed, column, report[column]["netloom"], flush=True)
    return report


def zero_shot(benches: Sequence[Bench]) -> dict[str, Any]:
    """Return the figures of data sheets alone; errors after one factor from 10 networks."""
    report: dict[str, Any] = {}
    for bench in benches:
        for column, values in bench.columns.items():
            device, batch = split(column)
            if DEVICES[device] == "cpu_generic":
                continue
            design = bench.designs[batch]
            model: Any = model_for(DEVICES[device])
            each = design.each(lambda w, m=model, b=batch: m.kernel_time(w, b, "float32").ms)
            predicted = design.every @ each
            rows = []
            for seed in range(SEEDS):
                some = drawn(len(values), 10, seed)
                factor = float(np.median(values[some] / predicted[some]))
                rows.append(figures(factor * predicted[~some], values[~some]))
            plain = figures(predicted, values)
            macs = figures(bench.baselines["MACs"][:, 0], values)
            report[f"{bench.name} {column}"] = {
                "device": DEVICES[device],
                "batch": batch,
                "as_it_is": plain,
                "one_factor": mean(rows),
                "macs_spearman": macs["spearman"],
            }
    return report


def cells(found: Mapping[str, float]) -> str:
    """Return a row's cell: Spearman, Kendall, error, within 5 and 10 %."""
    return (
        f"{found['spearman']:.3f} / {found['kendall']:.3f} / {found['mape_percent']:.1f} / "
        f"{found['within_5_percent']:.0f} / {found['within_10_percent']:.0f}"
    )


def hundred_table(report: Mapping[str, Any]) -> list[str]:
    """Return the table of one space."""
    names = list(next(iter(report.values()))["figures"])
    shown = ["netloom", *(name for name in names if name != "netloom")]
    lines = [f"| column | ceiling | {' | '.join(shown)} |", f"|---|---|{'---|' * len(shown)}"]
    for column, row in report.items():
        ceiling = "" if row["noise_ceiling"] is None else f"{row['noise_ceiling']:.3f}"
        values = " | ".join(cells(row["figures"][name]) for name in shown)
        lines.append(f"| `{column}` | {ceiling} | {values} |")
    return lines


def chosen_table(report: Mapping[str, Any]) -> list[str]:
    """Return what cross-validation chose."""
    lines = ["| space | column | chosen (draws) |", "|---|---|---|"]
    for space, columns in report.items():
        for column, row in columns.items():
            models = "; ".join(f"{text} ({n})" for text, n in row["models"].items())
            lines.append(f"| `{space}` | `{column}` | {models} |")
    return lines


def page(report: Mapping[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["**Data sheets alone**", ""]
    lines += [
        "| measured | device file | Spearman | of MACs | error of one factor from 10 networks |",
        "|---|---|---|---|---|",
    ]
    for name, row in report["zero_shot"].items():
        error = row["one_factor"]["mape_percent"]
        lines.append(
            f"| `{name}` | `{row['device']}` | {row['as_it_is']['spearman']:.3f} | "
            f"{row['macs_spearman']:.3f} | {error:.1f} % |"
        )
    lines += ["", "**10 measured networks of `nb201`**, 50 draws, Spearman (plain table)", ""]
    lines += [
        f"| networks | {' | '.join(f'`{c}`' for c in HELP)} | mean |",
        "|---|---|---|---|---|---|",
    ]
    for label, key in (("all connected", "ten"), ("those of HELP's test", "ten_trimmed")):
        rows = report[key]
        pairs = [[rows[c][who]["spearman"] for c in HELP] for who in ("netloom", "table")]
        text = " | ".join(f"{a:.3f} ({b:.3f})" for a, b in zip(*pairs, strict=True))
        lines.append(f"| {label} | {text} | **{fmean(pairs[0]):.3f}** ({fmean(pairs[1]):.3f}) |")
    for space, rows in report["hundred"].items():
        lines += ["", f"**100 measured networks of `{space}`**, {SEEDS} draws", ""]
        lines += hundred_table(rows)
    lines += ["", "**What was chosen**", "", *chosen_table(report["hundred"])]
    return "\n".join(lines) + f"\n\n{sentence(report['machine'])}.\n"


FITTED = {  # file -> table, column, what it is
    "v100_ofa": ("ofa_latency", "v100_1", "NVIDIA Tesla V100, eager, batch 1"),
    "v100_ofa_b64": ("ofa_latency", "v100_64", "NVIDIA Tesla V100, eager, batch 64"),
    "rtx2080ti_ofa": ("ofa_latency", "2080ti_1", "NVIDIA GeForce RTX 2080 Ti, eager, batch 1"),
    "gtx1080ti_fbnet": ("fbnet_latency", "1080ti_1", "NVIDIA GeForce GTX 1080 Ti, eager, batch 1"),
    "xeon_gold_6226_fbnet": ("fbnet_latency", "gold_6226", "Intel Xeon Gold 6226, eager, batch 1"),
    "raspberry_pi_4_fbnet": ("fbnet_latency", "raspi4", "Raspberry Pi 4, exported, batch 1"),
    "pixel_3_fbnet": ("fbnet_latency", "pixel3", "Google Pixel 3, exported, batch 1"),
}


def write_fitted(count: int = 200) -> None:
    """Write the device files that are fitted to the first networks of the tables."""
    for name, (table, column, what) in FITTED.items():
        space = SPACES.get("ofa_mbv3" if table == "ofa_latency" else "fbnet")()
        data, workloads = load_table(table), Workloads(space)
        if table == "ofa_latency":
            texts = [ofa(row) for row in zip(*(data[k][:count].tolist() for k in OFA), strict=True)]
        else:
            texts = data["arch"][:count].tolist()
        values = data[f"latency_ms_{column}"][:count].tolist()
        measured = [
            Measurement(workloads.of(space.parse(text)), ms)
            for text, ms in zip(texts, values, strict=True)
        ]
        device, batch = split(column)
        found = calibrate(
            load_device(DEVICES[device]),
            measured,
            batch=batch,
            name=name,
            source=f"the first {count} networks of the table {table}, column {column}: HELP "
            "(arXiv 2106.08630, MIT)",
        )
        title = f"{what}: fitted to {count} networks of the space {space.name}"
        file = DEVICE_FILES / f"{name}.yaml"
        write_device(replace(found.device, title=title), file)
        print(file.name, f"{file.stat().st_size:,} bytes", found.model, found.report, flush=True)


def main() -> None:
    """Measure, print and write."""
    if sys.argv[1:] == ["devices"]:
        write_fitted()
        return
    spaces = {"nb201": "nb201", "fbnet": "fbnet_latency", "ofa_mbv3": "ofa_latency"}
    benches = [load(SPACES.get(name)(), table) for name, table in spaces.items()]
    report = {
        "machine": machine("netloom", "numpy", "scipy", "scikit-learn"),
        "zero_shot": zero_shot(benches),
        "ten": with_ten(benches[0], trimmed=False),
        "ten_trimmed": with_ten(benches[0], trimmed=True),
        "hundred": {bench.name: with_hundred(bench) for bench in benches},
    }
    (RESULTS / "hardware.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / "hardware.md").write_text(page(report))
    print(page(report))


if __name__ == "__main__":
    main()
