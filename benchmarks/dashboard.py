"""How long the dashboard's pages take on a large store, and whether its memory stays flat.

    python benchmarks/dashboard.py                          # five minutes
    python benchmarks/dashboard.py --store FILE.db          # keeps the store, or takes one

Writes results/dashboard.json and dashboard.md. Makes a store with 1,000 experiments, one of them
with 100,000 trials and a random baseline of as many; starts `netloom dashboard` on it, asks what a
browser asks (every callback of every page, one after the other), then lets a search add trials and
follows it. The server's own time is what an idle core would take.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import dashboard_store
from dashboard_server import Server, served
from dashboard_store import LARGE, made
from dashboard_visit import ROWS, Answer, Visit
from machine import RESULTS, machine, sentence

from netloom.db import Store

LIMIT_S = 2.0
REFRESHES, WARM = 30, 10  # of a live page; the first ones fill caches
BATCH = 20  # trials that come between two refreshes
COLUMNS = ("Page", "requests", "slowest", "its own time", "of which slowest", "MB sent")


def pages(visit: Visit, server: Server) -> Iterator[dict[str, Any]]:
    """Ask for every page as a person would come along."""
    exp = f"/exp/{LARGE}"
    sort, text = [{"colId": "m0", "sort": "desc"}], {"filterType": "text", "type": "contains"}
    steps: dict[str, Callable[[], list[Answer]]] = {
        "experiments": lambda: visit.open("/"),
        "front, first visit": lambda: visit.open(exp),
        "front, again": lambda: visit.open(exp),
        "front, another axis": lambda: visit.change("x-axis", "value", "params"),
        "trials, sorted": lambda: rows(visit, sortModel=sort),
        "trials, filtered": lambda: rows(
            visit, filterModel={"notation": {**text, "filter": "5x3"}}
        ),
        "trials, the last page": lambda: rows(visit, startRow=99_900, endRow=100_000),
        "decisions": lambda: visit.open(f"{exp}/decisions"),
        "architecture": lambda: visit.open(f"{exp}/trial/50000"),
        "compare, two": lambda: visit.open("/compare", f"?e={LARGE}&e={LARGE}-random"),
    }
    for name, step in steps.items():
        yield {"page": name, **measured(step, server)}
        print(name, "done", file=sys.stderr)


def rows(visit: Visit, **request: Any) -> list[Answer]:
    """Ask for rows of the table of trials."""
    return visit.change("trials", "getRowsRequest", {**ROWS, **request})


def measured(step: Callable[[], list[Answer]], server: Server) -> dict[str, Any]:
    """Return what a step took, by the clock and of the server's own time."""
    answers = step()
    slowest = max(answers, key=lambda answer: answer.cpu_s)
    return {
        "requests": len(answers),
        "slowest_s": round(max(answer.seconds for answer in answers), 3),
        "cpu_s": round(sum(answer.cpu_s for answer in answers), 2),
        "slowest_cpu_s": round(slowest.cpu_s, 2),
        "slowest": slowest.name[:80],
        "mb": round(sum(answer.size for answer in answers) / 1e6, 2),
        "memory_mb": round(server.memory_mb()),
    }


def live(store: Store, visit: Visit, server: Server) -> dict[str, Any]:
    """Follow a search that adds trials; return what a refresh took, and the memory over time."""
    record = store.experiment(LARGE)
    count = sum(record.counts.values())
    store.update_experiment(record.id, status="running")
    memory, refreshes = [], []
    with store.claim(record.id):
        visit.open(f"/exp/{LARGE}")
        for number in range(REFRESHES):
            first = count + number * BATCH
            dashboard_store.add(store, record.id, dashboard_store.drawn(0, BATCH, first=first))
            refreshes.append(measured(lambda: visit.change("tick", "n_intervals", 1), server))
            memory.append(round(server.memory_mb()))
    store.update_experiment(record.id, status="done")
    slowest = max(refreshes[WARM:], key=lambda each: float(each["slowest_cpu_s"]))
    return {**slowest, "memory_mb": memory, "peak_mb": round(server.memory_mb("VmHWM"))}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "| --- " * len(COLUMNS) + "|"]
    for row in [*results["pages"], {"page": "front, one live refresh", **results["live"]}]:
        values = (
            f"{row['slowest_s']:.2f} s",
            f"{row['cpu_s']:.2f} s",
            f"{row['slowest_cpu_s']:.2f} s",
        )
        lines.append(
            f"| {row['page']} | {row['requests']} | {' | '.join(values)} | {row['mb']:.2f} |"
        )
    memory = results["live"]["memory_mb"]
    lines += [
        "",
        f"Memory of the server over {len(memory)} live refreshes of {BATCH} new trials each: "
        f"{memory[0]} MB after the first, {memory[WARM]} MB after {WARM + 1}, {memory[-1]} MB "
        f"after the last; at its peak {results['live']['peak_mb']} MB.",
        "",
        f"{sentence(results['machine'])}.",
    ]
    return "\n".join(lines) + "\n"


def measure(path: Path) -> dict[str, Any]:
    """Return all results on the store at `path`."""
    seconds, url = made(path), f"sqlite:///{path}"
    with served(url) as server:
        visit = Visit(server.url, server.cpu_s)
        found = list(pages(visit, server))
        with Store(url) as store:
            alive = live(store, visit, server)
    where = machine("netloom", "dash", "plotly", "SQLAlchemy")
    return {"machine": where, "store_s": seconds, "pages": found, "live": alive}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, help="file of the store (default: a temporary one)")
    given = parser.parse_args().store
    with tempfile.TemporaryDirectory() as folder:
        results = measure((given or Path(folder, "large.db")).absolute())
    RESULTS.joinpath("dashboard.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    RESULTS.joinpath("dashboard.md").write_text(table(results), "utf-8")
    slow = [row for row in results["pages"] if row["slowest_cpu_s"] > LIMIT_S]
    print(table(results), *(f"slower than {LIMIT_S:g} s: {row}" for row in slow), sep="\n")


if __name__ == "__main__":
    main()
