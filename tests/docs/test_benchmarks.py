"""The page of benchmarks shows what was measured, and says how to measure it again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import page

ROOT = Path(__file__).parents[2]
TEXT = page.PAGE.read_text("utf-8")


def test_the_tables_are_those_of_the_results():
    assert page.filled(TEXT) == TEXT, "run python benchmarks/page.py"


def test_every_table_is_shown():
    assert page.shown(TEXT) == {path.name for path in page.RESULTS.glob("*.md")}


def test_every_benchmark_is_named_with_its_command_and_run_by_make():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for path in (ROOT / "benchmarks").glob("*.py"):
        if "results/" in (path.read_text("utf-8").partition('"""')[2].partition('"""')[0]):
            assert f"python benchmarks/{path.name}" in TEXT, path.name
            assert f"python benchmarks/{path.name}" in makefile, path.name


def test_the_page_of_fpgas_shows_what_was_measured():
    text = (ROOT / "docs" / "hardware" / "fpga.md").read_text("utf-8")
    measured = json.loads((page.RESULTS / "fpga.json").read_text("utf-8"))["results"]
    for models in measured.values():
        for model, f in models.items():
            figures = f"{f['spearman']:.3f} | {f['scaled_error_percent']:.1f} %"
            assert f"| {model} | {figures} |" in text, (model, figures)
