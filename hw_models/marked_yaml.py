"""YAML text into plain values that remember where they stood, for messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import yaml

from ..errors import SpecError
from ..options import Path, Problem, SpecProblems


def read_marked(text: str, file: str) -> tuple[Any, Callable[[Path], str]]:
    """Return the value of a YAML document, and a function from paths in it to `file:line`.

    Raises:
        SpecError: If the text is not YAML, or a key stands twice in one mapping.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        what = getattr(error, "problem", None) or str(error)
        raise SpecError(f"{where}: the file must be YAML: {what}") from error
    lines: dict[Path, int] = {}
    repeated = [
        Problem(path, "stands twice in one mapping; keep one", f"{file}:{line}")
        for path, line, again in (_places(root, ()) if root is not None else ())
        if lines.setdefault(path, line) and again
    ]
    if repeated:
        raise SpecProblems(repeated)

    def place(path: Path) -> str:
        known = path
        while known and known not in lines:
            known = known[:-1]
        return f"{file}:{lines.get(known, 1)}"

    return value, place


def _places(node: Any, path: Path) -> Iterator[tuple[Path, int, bool]]:
    """Yield (path, line counted from 1, whether the path came before) of every key and item."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1, key.value in seen
            seen.add(key.value)
            yield from _places(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            here = (*path, position)
            yield here, item.start_mark.line + 1, False
            yield from _places(item, here)
