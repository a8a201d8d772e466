"""What the machinery costs: start-up, trials stored per second, Ray's overhead per trial.

    python benchmarks/machinery.py                        # all; ten minutes on an idle machine
    python benchmarks/machinery.py --parts startup inline

Writes results/machinery.json and machinery.md; parts that are not run keep their results. Runs
that are compared alternate, medians are reported with the load of the machine: other people's
processes slow both sides, and the time that a process itself spent says what is left of that.
Needs `netloom[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import machinery_inline
import machinery_ray
from machine import RESULTS, load, machine, median_interval, sentence

FILE = RESULTS / "machinery.json"
PACKAGES = {
    "startup": ("netloom", "typer"),
    "inline": ("netloom", "SQLAlchemy", "optuna"),
    "ray": ("netloom", "ray", "SQLAlchemy"),
}
IMPORT = """
import time
s, own = time.perf_counter(), time.process_time()
import netloom
print(time.perf_counter() - s, time.process_time() - own)
"""
TARGETS = {"netloom --help": 0.4, "import netloom": 0.1}  # seconds
RATES = {"batch 32": 1500, "batch 1": 800}  # trials per second


def startup(rounds: int) -> dict[str, Any]:
    """Return seconds: Python alone, the import inside Python, the whole `netloom --help`."""
    python, netloom = sys.executable, str(Path(sys.executable).with_name("netloom"))
    runs: dict[str, Callable[[], tuple[float, float]]] = {
        "python -c pass": lambda: timed([python, "-c", "pass"])[:2],
        "import netloom": lambda: imported(timed([python, "-c", IMPORT])[2]),
        "netloom --help": lambda: timed([netloom, "--help"])[:2],
    }
    for run in runs.values():
        run()  # files are read, bytecode is written
    found: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            seconds, own = run()
            found[name].append({"s": round(seconds, 4), "cpu_s": round(own, 4), "load": load()})
    return {"runs": found}


def timed(command: Sequence[str]) -> tuple[float, float, str]:
    """Return the seconds of a command from start to exit, its own, and what it printed."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, own, done.stdout


def imported(printed: str) -> tuple[float, float]:
    """Return the two numbers that `IMPORT` prints."""
    seconds, own = map(float, printed.split())
    return seconds, own


def inline(rounds: int) -> dict[str, Any]:
    """Return the runs of `machinery_inline`."""
    return {"runs": machinery_inline.measure(rounds)}


def ray(rounds: int) -> dict[str, Any]:
    """Return the pairs of `machinery_ray`."""
    return {"pairs": machinery_ray.measure(rounds)}


PARTS: dict[str, tuple[Callable[[int], dict[str, Any]], int]] = {
    "startup": (startup, 21),
    "inline": (inline, 15),
    "ray": (ray, 11),
}


# ---------------------------------------------------------------------- tables
def startup_table(part: dict[str, Any]) -> str:
    """Return the medians and what was aimed at."""
    rows = ["| | median | 95 % | its own time | target |", "|---|---|---|---|---|"]
    for name, runs in part["runs"].items():
        median, lower, upper = (f"{1000 * v:.0f}" for v in median_interval([r["s"] for r in runs]))
        own = 1000 * statistics.median(r["cpu_s"] for r in runs)
        target = f"{1000 * TARGETS[name]:.0f} ms" if name in TARGETS else "-"
        rows.append(f"| `{name}` | {median} ms | {lower} to {upper} ms | {own:.0f} ms | {target} |")
    runs = part["runs"]["python -c pass"]
    return _foot(rows, part, f"Medians of {len(runs)} rounds{_loads([r['load'] for r in runs])}")


def inline_table(part: dict[str, Any]) -> str:
    """Return medians per kind of run."""
    rows = [
        "| | trials | stored per second | per second of its own time | target "
        "| last thousand / first thousand (95 %), target 1.10 |",
        "|---|---|---|---|---|---|",
    ]
    for name, runs in part["runs"].items():
        wall, own = (statistics.median(r[k] for r in runs) for k in ("per_s", "per_cpu_s"))
        spread = f"{min(r['per_s'] for r in runs):,.0f} to {max(r['per_s'] for r in runs):,.0f}"
        target, trials, growth = "-", machinery_inline.OPTUNA_TRIALS, "-"
        if name in RATES:
            target, trials = f"{RATES[name]:,}", machinery_inline.TRIALS
            median, lower, upper = median_interval([r["last_to_first"] for r in runs])
            growth = f"{median:.2f} ({lower:.2f} to {upper:.2f})"
        rows.append(
            f"| {_LABELS[name]} | {trials:,} | {wall:,.0f} ({spread}) | {own:,.0f} | {target} "
            f"| {growth} |"
        )
    loads = [r["load"] for runs in part["runs"].values() for r in runs]
    rounds = len(part["runs"]["batch 1"])
    return _foot(rows, part, f"Medians (and range) of {rounds} alternating rounds{_loads(loads)}")


def ray_table(part: dict[str, Any]) -> str:
    """Return the time per trial of both sides and the ratio with its interval."""
    pairs = part["pairs"]
    ratio, lower, upper = median_interval([pair["ratio"] for pair in pairs])
    ms = {
        side: 1000 * statistics.median(p[side] for p in pairs) / machinery_ray.TRIALS
        for side in ("ours", "bare")
    }
    rows = [
        "| per trial, Ray engine | per trial, bare Tune | ratio | 95 % | target |",
        "|---|---|---|---|---|",
        f"| {ms['ours']:.0f} ms | {ms['bare']:.0f} ms | {ratio:.2f} | {lower:.2f} to {upper:.2f} "
        "| 1.25 |",
    ]
    text = f"Medians of {len(pairs)} alternating pairs of {machinery_ray.TRIALS} trials"
    return _foot(rows, part, text + _loads([pair["load"] for pair in pairs]))


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "startup": ("Start-up", startup_table),
    "inline": ("Trials stored per second", inline_table),
    "ray": ("Overhead of a trial on Ray", ray_table),
}
_LABELS = {
    "batch 32": "netloom, batches of 32",
    "batch 1": "netloom, one at a time",
    "Optuna": "Optuna, RDB storage",
}


def _loads(loads: Sequence[float]) -> str:
    return f", load {min(loads):.1f} to {max(loads):.1f} as each began"


def _foot(rows: Sequence[str], part: dict[str, Any], text: str) -> str:
    return "\n".join(rows) + f"\n\n{text}; {sentence(part['machine'])}.\n"


def report(found: dict[str, Any]) -> str:
    """Return all tables."""
    parts = [(title, table(found[n])) for n, (title, table) in TABLES.items() if n in found]
    return "\n".join(f"## {title}\n\n{table}" for title, table in parts)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS)
    parser.add_argument("--rounds", type=int, help="of every part; each has its own default")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in options.parts:
        measure, rounds = PARTS[name]
        state = machine(*PACKAGES[name])
        found[name] = {"machine": state, **measure(options.rounds or rounds)}
        FILE.write_text(json.dumps(found, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(report(found))
    print(report(found))


if __name__ == "__main__":
    main()
