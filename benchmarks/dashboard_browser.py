"""How long a browser takes to show the dashboard's pages on a large store.

    python benchmarks/dashboard_browser.py                    # ten minutes
    python benchmarks/dashboard_browser.py --store FILE.db    # the one of benchmarks/dashboard.py

Writes results/dashboard_browser.json and dashboard_browser.md. Drives a real Chromium on this
machine, without a screen and without a GPU: WebGL is computed on the processor that the server and
the browser share. A page is measured from its address to the moment when what it is for is drawn
and the browser answers again: in a browser that has never been here, with a server that has just
started, and again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))
from dashboard_server import served
from dashboard_store import LARGE, made
from machine import RESULTS, machine, sentence
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Playwright

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox"]
TAUGHT = 3  # visits after which a browser keeps the compiled scripts of a page
AGAIN = 5  # visits whose median is shown
CALM_MS = 4000  # between visits: what comes below the fold is not to disturb the next one
PAGES = {  # address and what must be drawn
    "experiments": ("/", "#experiments .ag-row a"),
    "experiment of 20 trials": ("/exp/search-0000", "#front-graph .legendtext"),
    "front": (f"/exp/{LARGE}", "#front-graph .legendtext"),
    "front, the table below it": (
        f"/exp/{LARGE}",
        "#trials .ag-center-cols-container .ag-row [col-id='m0']",
    ),
    "front, the histories below that": (f"/exp/{LARGE}", "#volume-graph .legendtext"),
    "decisions": (f"/exp/{LARGE}/decisions", "#importance-graph .trace.bars"),
    "architecture": (f"/exp/{LARGE}/trial/50000", "#arch-parts td"),
    "compare, two": (f"/compare?e={LARGE}&e={LARGE}-random", "#contest-fronts .legendtext"),
}


@contextmanager
def opened(play: Playwright, profile: str) -> Iterator[BrowserContext]:
    """Run a browser with what it keeps on disk."""
    context = play.chromium.launch_persistent_context(
        profile,
        executable_path=CHROMIUM,
        args=FLAGS,
        viewport={"width": 1280, "height": 900},
    )
    try:
        yield context
    finally:
        context.close()


def visit(browser: BrowserContext, url: str, shown: str) -> float:
    """Return the seconds from an address to its page."""
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(shown, state="attached", timeout=60_000)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    seconds = time.perf_counter() - start
    page.wait_for_timeout(CALM_MS)
    page.close()
    return seconds


def measure(play: Playwright, store: str, name: str) -> dict[str, Any]:
    """Return what one page took."""
    (path, shown), found = PAGES[name], dict[str, Any](page=name)
    with tempfile.TemporaryDirectory() as profile:
        with served(store) as server:
            url = server.url.rstrip("/") + path
            with opened(play, f"{profile}/other") as browser:
                visit(browser, url, shown)  # the server knows it now
            with opened(play, profile) as browser:
                found["new_browser_s"] = visit(browser, url, shown)
                for _ in range(TAUGHT):
                    visit(browser, url, shown)
            port = int(server.url.rstrip("/").rpartition(":")[2])
        with served(store, port) as server, opened(play, profile) as browser:
            found["fresh_server_s"] = visit(browser, url, shown)
            times = [visit(browser, url, shown) for _ in range(AGAIN)]
            found["again_s"] = statistics.median(times)
    print(name, "done", file=sys.stderr)
    return {key: round(value, 2) if key.endswith("_s") else value for key, value in found.items()}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["| Shown | again | fresh server | new browser |", "| --- | --- | --- | --- |"]
    for row in results["pages"]:
        values = (f"{row[key]:.1f} s" for key in ("again_s", "fresh_server_s", "new_browser_s"))
        lines.append(f"| {row['page']} | {' | '.join(values)} |")
    return "\n".join([*lines, "", f"{results['browser']}; {sentence(results['machine'])}.", ""])


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", type=Path, help="file of the store (default: a temporary one)")
    given = parser.parse_args().store
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        path = (given or Path(folder, "large.db")).absolute()
        made(path)
        with play.chromium.launch(executable_path=CHROMIUM, args=FLAGS) as browser:
            version = browser.version
        pages = [measure(play, f"sqlite:///{path}", name) for name in PAGES]
    results = {"machine": machine("netloom", "dash", "plotly"), "browser": f"Chromium {version}"}
    results["pages"] = pages
    text = json.dumps(results, indent=1) + "\n"
    RESULTS.joinpath("dashboard_browser.json").write_text(text, "utf-8")
    RESULTS.joinpath("dashboard_browser.md").write_text(table(results), "utf-8")
    print(table(results))


if __name__ == "__main__":
    main()
