"""How good the search strategies are beside Optuna, pymoo and NNI, on measured tables.

    python benchmarks/search_quality.py run --task regret hypervolume --seeds 40
    python benchmarks/search_quality.py run --task tune-regret-sss ... --methods local_search ...
    python benchmarks/search_quality.py report     # writes the tables, results/search_*.md

`run` adds to `results/search_quality.jsonl`, one line per (task, method, seed), and skips what is
there: it can be stopped and continued. A method is a strategy of netloom, with options if wanted
(`local_search?order=random`), or a peer of `search_peers.py`. One evaluation is one distinct
architecture, for everybody; peers may repeat themselves for free. Needs `netloom[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import search_peers
import search_report
from machine import RESULTS
from search_tasks import TASKS, ground, scores

from netloom.options import build
from netloom.search import STRATEGIES
from netloom.search.testing import MemoryContext

OURS = (
    *("random", "regularized_evolution", "nsga2", "tpe"),
    *("local_search?order=random", "local_search?restarts=0", "local_search"),
)


def strategy(method: str) -> Any:
    """Return the strategy that `name?option=value&option=value` describes."""
    name, _, text = method.partition("?")
    options = dict(pair.split("=") for pair in text.split("&") if pair)
    values = {key: _value(value) for key, value in options.items()}
    return build(STRATEGIES.get(name), values)


def search(method: str, task: str, seed: int) -> tuple[list[int], int]:
    """Return (rows in the order of their evaluation, number of suggestions)."""
    if method in search_peers.PEERS:
        return search_peers.search(method, task, seed)
    table = ground(task)
    context = MemoryContext(table.space, TASKS[task].objectives, seed=seed)
    searcher = strategy(method)
    searcher.prepare(context)
    results = context.run(searcher, lambda a: table.metrics[a.key], max(TASKS[task].marks))
    return [table.rows[r.architecture.key] for r in results], len(results)


def run(tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int], path: Path) -> None:
    """Measure what `path` does not hold yet, seed by seed, so that all methods grow together."""
    done = {(r["task"], r["method"], r["seed"]) for r in read(path)}
    for task in tasks:
        for seed in seeds:
            for method in methods or _methods(task):
                if (task, method, seed) in done:
                    continue
                start = time.process_time()
                rows, suggested = search(method, task, seed)
                line = {
                    "task": task,
                    "method": method,
                    "seed": seed,
                    "scores": [[round(v, 6) for v in line] for line in scores(task, rows)],
                    "evaluated": len(rows),
                    "suggested": suggested,
                    "cpu_s": round(time.process_time() - start, 2),
                }
                with path.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(json.dumps(line), flush=True)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a results file."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def _methods(task: str) -> list[str]:
    single = len(TASKS[task].objectives) == 1
    ours = [m for m in OURS if single or m != "regularized_evolution"]
    peers = [p for p in search_peers.PEERS if single or p not in search_peers.SINGLE]
    there = [p for p in peers if find_spec(p.split()[0].lower())]
    if missing := sorted(set(peers) - set(there)):
        print(f"not run, not installed: {', '.join(missing)}", file=sys.stderr)
    return ours + there


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    running.add_argument("--task", nargs="+", default=["regret", "hypervolume"], choices=TASKS)
    running.add_argument("--methods", nargs="+", default=[])
    running.add_argument("--seeds", type=int, default=40)
    running.add_argument("--out", type=Path, default=RESULTS / "search_quality.jsonl")
    reporting = commands.add_parser("report")
    reporting.add_argument("--results", type=Path, default=RESULTS / "search_quality.jsonl")
    reporting.add_argument("--tuning", type=Path, default=RESULTS / "search_tuning.jsonl")
    args = parser.parse_args()
    if args.command == "run":
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        run(args.task, args.methods, range(args.seeds), args.out)
    else:
        tables = search_report.report(list(read(args.results)), list(read(args.tuning)))
        for name, text in tables.items():
            (RESULTS / f"{name}.md").write_text(text)
            print(text)


if __name__ == "__main__":
    main()
