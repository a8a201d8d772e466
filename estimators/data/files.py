"""Where data sets that lie on disk are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import MissingDependency


def data_root(root: str | None) -> Path:
    """Return the absolute folder of the data: `root`, else $NETLOOM_DATA, else ./data.

    It is made absolute at once: a worker process runs in another folder.
    """
    return Path(root or os.environ.get("NETLOOM_DATA") or "data").expanduser().absolute()


def present(path: Path, *, what: str, remedy: str) -> Path:
    """Return `path`.

    Raises:
        MissingDependency: If nothing is there.
    """
    if not path.exists():
        raise MissingDependency(f"{what} is not at {path}; {remedy}")
    return path
