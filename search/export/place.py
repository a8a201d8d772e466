"""Where a bundle goes: a folder that is filled beside its place, and moved there whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import OutputError, SpecError

JSON_FILE = "architecture.json"
CARD_FILE = "README.md"
_OWN = (  # what --force may replace
    CARD_FILE,
    JSON_FILE,
    "load.py",
    "weights.safetensors",
    "constants.safetensors",
    "network.pt2",
    "network.onnx",
    "network.onnx.data",
    "network.int8.onnx",
    "__pycache__",
)
_WORK = ".netloom-export-"  # then the host, and the process that writes there
_STALE_S = 86_400.0  # what another host has left alone for so long is nobody's


def checked_folder(folder: str | Path, *, force: bool) -> Path:
    """Return the path of a folder that may be written.

    Raises:
        SpecError: If it is a file, holds something, or its parent does not exist.
    """
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise SpecError(f"an export is written into a folder, got the file {str(folder)!r}")
    if not path.exists():
        if not path.parent.is_dir():
            raise SpecError(f"there is no folder {str(path.parent)!r} to make {path.name!r} in")
        return path
    names = sorted(entry.name for entry in path.iterdir() if not _left_over(entry))
    if names and not force:
        raise SpecError(
            f"an export needs a folder that is new or empty, got {str(folder)!r}, which holds "
            f"{names[0]}; name another one, or add --force to replace an export"
        )
    if other := [name for name in names if name not in _owned(path)]:
        raise SpecError(
            f"--force replaces what an export wrote, got {str(folder)!r}, which holds {other[0]}; "
            "name another folder"
        )
    return path


def _owned(target: Path) -> set[str]:
    """Return what an export may have written: its files, and the folders of its networks."""
    try:
        values = json.loads((target / JSON_FILE).read_text("utf-8"))
        named = {str(factor.get("folder")) for factor in values["factors"].values()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):  # it had one network
        named = set()
    return {*_OWN, *(name for name in named if _only_ours(target / name))}


def _only_ours(folder: Path) -> bool:
    return folder.is_dir() and all(path.name in _OWN for path in folder.iterdir())


def _left_over(path: Path) -> bool:
    """Whether it is the working folder of an export that was killed."""
    from ...db.claims import process_alive

    found = re.fullmatch(rf"{re.escape(_WORK)}(.+)-(\d{{1,9}})", path.name)
    if found is None or not path.is_dir():
        return False
    if found[1] != socket.gethostname():  # its processes cannot be seen from here
        return time.time() - path.stat().st_mtime > _STALE_S
    # this process has made none yet: numbers come again, in containers soon
    return int(found[2]) == os.getpid() or not process_alive(int(found[2]))


@contextmanager
def appearing(target: Path, say: Callable[[str], None]) -> Iterator[Path]:
    """Give a folder to write into; its files are moved to their place when the block ends well.

    Args:
        target: Where to; new, or with nothing in it that may not be replaced.
        say: Called with what else was done: what a killed export had left is removed.

    Raises:
        OutputError: If they cannot be written.
    """
    there = target.is_dir()
    try:
        for folder in (target, target.parent) if there else (target.parent,):
            _clean(folder, say)
        beside = target if there else target.parent
        work = beside / f"{_WORK}{socket.gethostname()}-{os.getpid()}"
        work.mkdir()
        try:
            yield work
            if there:
                _replace(target, work)
            else:
                work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}; name another folder"
        ) from error


def _clean(folder: Path, say: Callable[[str], None]) -> None:
    """Remove what exports that were killed have left in a folder."""
    for left in [path for path in folder.glob(f"{_WORK}*") if _left_over(path)]:
        try:
            shutil.rmtree(left)
        except OSError as error:  # another user's, it may be: this export does not need it
            say(f"{left} was left by an export that was killed: {error.strerror or error}")
        else:
            say(f"removed {left}, left by an export that was killed")


def _replace(target: Path, work: Path) -> None:
    """Move a bundle into a folder instead of an earlier one; the card goes first and comes last.

    A folder without a card is one whose export was killed here: --force goes over it again.
    """
    written, before = {path.name for path in work.iterdir()}, _owned(target)
    _remove(target / CARD_FILE)
    # the list of folders first: what is named there may be replaced
    for name in sorted(written - {CARD_FILE}, key=lambda name: (name != JSON_FILE, name)):
        if (work / name).is_dir():
            _remove(target / name)
        os.replace(work / name, target / name)
    for name in before - written:
        _remove(target / name)
    if CARD_FILE in written:
        os.replace(work / CARD_FILE, target / CARD_FILE)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
