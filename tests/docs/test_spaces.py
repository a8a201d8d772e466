"""Every named space has a page with its options and a picture that the code draws."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from netloom.search.cli import app
from netloom.spaces import SPACES

from .test_docs import options_table

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "spaces"


@pytest.mark.parametrize("name", SPACES.names())
def test_a_space_has_a_page(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text("utf-8")
    assert options_table(SPACES.get(name)) in page
    assert f"](../images/spaces/{name}.svg)" in page
    assert f"]({name}.md)" in (PAGES / "index.md").read_text("utf-8")


@pytest.mark.parametrize("name", SPACES.names())
def test_the_picture_is_what_the_code_draws(name: str, tmp_path: Path) -> None:
    """The page says by which command; it is run into another file."""
    page = (PAGES / f"{name}.md").read_text("utf-8")
    [line] = re.findall(rf"^netloom (spaces {name} .*--draw .*)$", page, re.M)
    *words, target = shlex.split(line)
    assert (words[-1], target) == ("--draw", f"docs/images/spaces/{name}.svg")
    drawn = tmp_path / "drawn.svg"
    result = CliRunner().invoke(app, [*words, str(drawn)])
    assert result.exit_code == 0, result.output
    assert drawn.read_text("utf-8") == (ROOT / target).read_text("utf-8")
