"""Markdown from texts of the store."""

from __future__ import annotations

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
    return f"`{' '.join(text.split()).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def plain(text: str) -> str:
    """Return one line without tags: Markdown passes HTML on."""
    return " ".join(text.split()).replace("<", "&lt;")
