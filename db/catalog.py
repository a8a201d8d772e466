"""What never changes once it is committed: an experiment's row id, space and metric sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ..errors import StoreError, did_you_mean
from .tables import EXPERIMENTS, SOURCES


@dataclass(frozen=True, slots=True)
class Entry:
    """An experiment as the other tables point at it.

    Args:
        id: Row id.
        space_id: Row id of its space.
        sources: Row ids of its metrics, by name.
    """

    id: int
    space_id: int
    sources: Mapping[str, int]


class Catalog:
    """Looks experiments up once.

    Row ids are never given out twice, so an entry of an experiment that another process deleted
    leads to a refused write, not to a wrong one.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def entry(self, connection: Connection, uid: str) -> Entry:
        """Return the entry of an experiment.

        Raises:
            StoreError: If there is no such experiment.
        """
        if found := self._entries.get(uid):
            return found
        row = connection.execute(
            select(EXPERIMENTS.c.id, EXPERIMENTS.c.space_id).where(EXPERIMENTS.c.uid == uid)
        ).one_or_none()
        if row is None:
            raise StoreError(
                f"an experiment must exist before it is used, got the id {uid!r}; it was deleted, "
                "or belongs to another store (`netloom list` shows this one's)"
            )
        sources = connection.execute(
            select(SOURCES.c.name, SOURCES.c.id).where(SOURCES.c.experiment_id == row.id)
        )
        entry = Entry(row.id, row.space_id, {row.name: row.id for row in sources})
        self._entries[uid] = entry
        return entry

    def forget(self, uid: str) -> None:
        """Drop an experiment that was deleted."""
        self._entries.pop(uid, None)


def source_of(entry: Entry, name: str) -> int:
    """Return the row id of a metric.

    Raises:
        StoreError: If the experiment was created without it.
    """
    try:
        return entry.sources[name]
    except KeyError:
        raise StoreError(
            f"an experiment's metrics are declared when it is created, got {name!r}"
            f"{did_you_mean(name, entry.sources)}"
        ) from None
