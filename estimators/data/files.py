"""Where data sets that lie on disk are looked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from ...errors import MissingDependency, SpecError


def absolute_path(path: str) -> str:
    """Return the place that a path means here and now.

    A stored spec holds it so: a search is resumed from other folders too.
    """
    return str(Path(path).expanduser().absolute())


def data_root(root: str | None) -> Path:
    """Return the absolute folder of the data: `root`, else $NETLOOM_DATA, else ./data.

    It is made absolute at once: a worker process runs in another folder.
    """
    return Path(root or os.environ.get("NETLOOM_DATA") or "data").expanduser().absolute()


def present(path: Path, *, what: str, remedy: str, folder: bool = False) -> Path:
    """Return `path`.

    Raises:
        MissingDependency: If nothing is there.
        SpecError: If it is a folder and not a file, or the other way round.
    """
    if not path.exists():
        raise MissingDependency(f"{what} is not at {path}; {remedy}")
    if path.is_dir() != folder:
        found = "a folder" if path.is_dir() else "a file"
        raise SpecError(f"{what} must not be {found}, got {path}; {remedy}")
    return path


def split_folders(root: str, *, label: str, remedy: str) -> tuple[Path, Path | None, Path | None]:
    """Return the folders of the training, validation and test split; None: cut out of the first.

    Args:
        root: The folder: with `train` and `test`, and perhaps `valid` or `val`, in it, it holds
            these; else it is the first.
        label: Of the data set, for messages.
        remedy: What to do where it is missing.

    Raises:
        MissingDependency: If nothing is there.
        SpecError: If it is no folder, or has `train` and no `test`.
    """
    whole = present(Path(root), what=f"data set {label}: the folder", remedy=remedy, folder=True)
    train, test = whole / "train", whole / "test"
    if not train.is_dir():
        return whole, None, None
    if not test.is_dir():
        raise SpecError(f"{label}: beside {train} there must be {test}; it is missing")
    valid = next((whole / n for n in ("valid", "val") if (whole / n).is_dir()), None)
    return train, valid, test


def content_digest(files: Iterable[tuple[str, Path]]) -> str:
    """Return a digest of the names and the bytes of files; where they lie does not matter.

    Args:
        files: (name, place) of each, in an order of their own.
    """
    total = hashlib.sha256()
    for name, path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{len(name)} {name} {content}\n".encode())
    return total.hexdigest()
