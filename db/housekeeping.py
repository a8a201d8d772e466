"""Garbage collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, select, text

from .claims import any_alive
from .files import ArtifactFiles
from .revisions import count_change
from .tables import ARCHITECTURES, ARTIFACTS, CHECKPOINTS, TRIALS
from .transaction import CHECKPOINT

GRACE_S = 3600.0  # between writing a file and the transaction that names it


@dataclass(frozen=True, slots=True)
class GcReport:
    """What `Store.gc` removed.

    Args:
        files: Files that no artifact named.
        bytes: Their size.
        architectures: Architectures that no trial named.
        checkpoints: Checkpoints that a newer one had replaced.
    """

    files: int
    bytes: int
    architectures: int
    checkpoints: int


def collect_rows(connection: Connection) -> tuple[int, int]:
    """Remove rows that nothing names; return how many architectures and checkpoints went."""
    if connection.dialect.name == "postgresql":  # no run may add a trial of what goes now
        connection.execute(text("LOCK TABLE architectures IN EXCLUSIVE MODE"))
    valid = select(CHECKPOINTS.c.artifact_id)
    checkpoints = connection.execute(
        delete(ARTIFACTS).where(ARTIFACTS.c.kind == CHECKPOINT, ARTIFACTS.c.id.not_in(valid))
    ).rowcount
    of_trial = exists().where(TRIALS.c.architecture_id == ARCHITECTURES.c.id)
    architectures = connection.execute(delete(ARCHITECTURES).where(~of_trial)).rowcount
    if checkpoints or architectures:
        count_change(connection, [0])
    return architectures, checkpoints


def collect_files(connection: Connection, files: ArtifactFiles) -> tuple[int, int]:
    """Remove files that no artifact names; return how many, and their bytes.

    Raises:
        OSError: If one cannot be removed.
    """
    named = set(connection.execute(select(ARTIFACTS.c.sha256).distinct()).scalars())
    grace = GRACE_S if any_alive(connection) else 0.0
    count = size = 0
    for path in files.unnamed(named, older_than_s=grace):
        count, size = count + 1, size + path.stat().st_size
        path.unlink()
    return count, size


def collect_replaced(
    connection: Connection, files: ArtifactFiles, replaced: Mapping[str, float]
) -> None:
    """Remove files that artifacts named until just now, where none names them any more.

    Args:
        connection: In a writing transaction: no other process can name a file meanwhile.
        files: Of the store.
        replaced: Digest -> when this process put the file (seconds since the epoch). One that was
            put again since then is spared: somebody is about to name it.

    Raises:
        OSError: If one cannot be removed.
    """
    chosen = ARTIFACTS.c.sha256.in_(list(replaced))
    named = set(connection.execute(select(ARTIFACTS.c.sha256).where(chosen)).scalars())
    for sha256, put_at in replaced.items():
        if sha256 not in named:
            files.remove(sha256, unless_newer_than=put_at)
