"""Markdown from texts of the store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from .words import MISSING


def pipes(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Return text that stays in its cell: a bar would begin the next one."""
    return plain(text).replace("|", "\\|") or MISSING


def code(text: str) -> str:
    """Return a cell of code; a bar needs its backslash there too."""
    return span(text).replace("|", "\\|")


def span(text: str) -> str:
    """Return text as code within a line."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def plain(text: str) -> str:
    """Return one line that is read as it stands: without tags, links, pictures and emphasis."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split())).replace("<", "&lt;")


_MARKUP = re.compile(r"[\\`*\[\]~]|(?<!\w)_|_(?!\w)")  # a_b is no emphasis
