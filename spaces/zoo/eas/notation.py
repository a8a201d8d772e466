"""Reading the texts of plain networks and DenseNets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ...networks.eas_plan import CONV, FULL, POOL, Entry

_CONV = re.compile(r"conv-(\d{1,9})-(\d{1,9})")
_FULL = re.compile(r"fc-(\d{1,9})")
_RATE = re.compile(r"g(\d{1,9})")


def entries_of(value: str | Sequence[Any]) -> tuple[list[Entry], str]:
    """Return the entries of a plain network, and what is wrong with them, if something is."""
    texts = value.strip().split("_") if isinstance(value, str) else list(value)
    entries: list[Entry] = []
    for place, text in enumerate(texts):
        entry = _entry(text)
        if entry is None:
            return [], f"entry {place} is {text!r}"
        before = entries[-1].kind if entries else None
        if before == FULL and entry.kind != FULL:
            return [], f"linear layers come last, and entry {place}, {text}, stands behind one"
        if entry.kind == FULL and before not in (FULL, POOL):
            return [], f"a pool ends each block, and there is none before entry {place}, {text}"
        entries.append(entry)
    if not entries:
        return [], "there is no entry"
    if entries[-1].kind == CONV:
        return [], "a pool ends each block, and there is none at the end"
    return entries, ""


def _entry(text: Any) -> Entry | None:
    if not isinstance(text, str):
        return None
    if text == POOL:
        return Entry(POOL)
    if found := _CONV.fullmatch(text):
        return Entry(CONV, int(found[1]), int(found[2]))
    if found := _FULL.fullmatch(text):
        return Entry(FULL, int(found[1]))
    return None


def rates_of(value: str | Sequence[Any]) -> tuple[list[list[int]], str]:
    """Return the growth rates of each dense block, and what is wrong, if something is.

    The original joins mini-blocks by `-`, and writes the first convolution and the head as `t` as
    well; both are read.
    """
    texts = re.split("[_-]", value.strip()) if isinstance(value, str) else list(value)
    for place, text in enumerate(texts):
        if text != "t" and not (isinstance(text, str) and _RATE.fullmatch(text)):
            return [], f"entry {place} is {text!r}"
    if texts[:1] == ["t"]:
        texts = texts[1:]
    if texts[-1:] == ["t"]:
        texts = texts[:-1]
    runs = [(kind, list(run)) for kind, run in groupby(texts, key=lambda text: text == "t")]
    if any(kind and len(run) > 1 for kind, run in runs) or not texts or texts[0] == "t":
        return [], "a dense block has at least one mini-block"
    return [[int(text[1:]) for text in run] for kind, run in runs if not kind], ""
