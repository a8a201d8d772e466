"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from .errors import OutputError


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write `text` to `path` as UTF-8 and return the path; see `write_bytes`."""
    return write_bytes(path, text.encode())


def write_bytes(path: str | os.PathLike[str], data: bytes) -> Path:
    """Write `data` to `path` and return the path.

    A file appears only when it is complete: what stood there before stays where the disk is full.
    Devices and pipes (`/dev/stdout`) are written to, never replaced.

    Raises:
        OutputError: If the path cannot be written.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            target.write_bytes(data)
        else:
            _put(target.resolve(), data)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}; name another file"
        ) from error
    return target


def _put(target: Path, data: bytes) -> None:
    if target.exists() and not os.access(target, os.W_OK):  # renaming would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    start = os.fsdecode(os.fsencode(target.name)[:200])  # names are limited in bytes
    partial = target.with_name(f".{start}.{os.getpid()}")
    try:
        partial.write_bytes(data)
        if target.exists():
            partial.chmod(target.stat().st_mode & 0o7777)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
