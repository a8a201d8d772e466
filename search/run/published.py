"""The names of published networks, as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ...errors import SpecError


def full_name(text: str, published: Iterable[str]) -> str | None:
    """Return the one name that `text` begins, whatever its case and its punctuation.

    `flops-595m` is short for `flops@595M_top1@80.0_finetune@75`.

    Raises:
        SpecError: If it begins several.
    """
    if text in published:
        return text
    words = _words(text)
    found = [name for name in published if words and _words(name)[: len(words)] == words]
    if len(found) > 1:
        raise SpecError(f"{text!r} is short for several networks: {', '.join(found)}; give one")
    return found[0] if found else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z0-9.+]+", name.lower())
