"""Puts the tables of benchmarks/results into docs/benchmarks.md, so that the page shows no others.

    python benchmarks/page.py

What stands between `<!-- results/NAME.md -->` and the next `<!-- end -->` is that file.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, RESULTS = ROOT / "docs" / "benchmarks.md", ROOT / "benchmarks" / "results"
_SLOT = re.compile(r"(<!-- results/([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return the page with every slot filled from its file."""

    def fill(slot: re.Match[str]) -> str:
        return f"{slot[1]}\n{(RESULTS / slot[2]).read_text('utf-8').strip()}\n\n{slot[3]}"

    return _SLOT.sub(fill, text)


def shown(text: str) -> set[str]:
    """Return the names of the files that the page shows."""
    return {name for _, name, _ in _SLOT.findall(text)}


def main() -> None:
    """Write the page."""
    PAGE.write_text(filled(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
