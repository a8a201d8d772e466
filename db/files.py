"""Artifacts: files named by their content, beside the store."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL

from .engine import file_of


def artifact_folder(url: URL) -> Path:
    """Return the folder: `FILE-artifacts`, for PostgreSQL NETLOOM_ARTIFACTS or a local one."""
    if path := file_of(url):
        return path.with_name(f"{path.name}-artifacts")
    return Path(os.environ.get("NETLOOM_ARTIFACTS") or "netloom-artifacts").absolute()


class ArtifactFiles:
    """The files of one store.

    Args:
        folder: Where they are; made when the first file is put.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, sha256: str) -> Path:
        """Return where the file of a digest is."""
        return self.folder / sha256[:2] / sha256

    def put(self, data: bytes) -> tuple[str, int]:
        """Write a file so that it outlives a power cut; return its digest and size in bytes.

        Raises:
            OSError: If it cannot be written.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        target = self.path(sha256)
        try:
            if target.stat().st_size == len(data):
                os.utime(target)  # young again: it stays until the transaction that will name it
                return sha256, len(data)
        except FileNotFoundError:
            pass  # not there yet, or just removed
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        for folder in (target.parent, self.folder, self.folder.parent):
            _sync(folder)
        return sha256, len(data)

    def remove(self, sha256: str, *, unless_newer_than: float) -> None:
        """Remove a file, if it is there and was not put again after a time (since the epoch)."""
        target = self.path(sha256)
        aside = target.with_name(f".old-{sha256}")
        try:
            os.replace(target, aside)  # from here on whoever puts it writes it anew
        except FileNotFoundError:
            return
        if aside.stat().st_mtime > unless_newer_than:
            os.replace(aside, target)
        else:
            aside.unlink()

    def unnamed(self, named: set[str], *, older_than_s: float) -> Iterator[Path]:
        """Yield files that no row names, half-written ones included.

        Args:
            named: The digests that rows name.
            older_than_s: Younger files are spared: a run may be about to name them.
        """
        limit = time.time() - older_than_s
        for path in sorted(self.folder.glob("??/*")):
            if path.name not in named and path.stat().st_mtime <= limit:
                yield path


def _sync(folder: Path) -> None:
    if os.name != "posix":  # other systems cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
