"""What the list of experiments shows is in its URL: words, tags, the archive, an order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..db.records import ARCHIVED
from .choice import order_of, parted, query, search_of
from .rows import ExperimentRow


@dataclass(frozen=True, slots=True)
class ListChoice:
    """What is chosen of the list; None where the default is.

    Args:
        q: Words that a line must hold, all of them.
        tag: Tags that an experiment must carry, with commas between them.
        status: Statuses, one of which it must have, with commas between them.
        archived: `1`: archived experiments too.
        baselines: `1`: random baselines too.
        sort: Column and direction: `best:desc`.
    """

    q: str | None = None
    tag: str | None = None
    status: str | None = None
    archived: str | None = None
    baselines: str | None = None
    sort: str | None = None

    @classmethod
    def parse(cls, search: str | None) -> ListChoice:
        """Read the part of a URL behind `?`; what is not understood is left out."""
        texts = query(search)
        ticks = {name: "1" if texts.get(name) == "1" else None for name in TICKS}
        return cls(
            texts.get("q"), texts.get("tag"), texts.get("status"), sort=texts.get("sort"), **ticks
        )

    @property
    def data(self) -> dict[str, Any]:
        """JSON values; the constructor takes them back."""
        return asdict(self)

    @property
    def search(self) -> str:
        """The part of a URL from `?` on; empty when everything is default."""
        return search_of({name: value for name, value in self.data.items() if value})

    @property
    def order(self) -> list[dict[str, str]]:
        """The order of the list, as its grid writes it."""
        return order_of(self.sort)

    def fits(self, row: ExperimentRow) -> bool:
        """Return whether a line is shown."""
        if not set(parted(self.tag)) <= set(row.tags):
            return False
        if self.status and row.status not in parted(self.status):
            return False
        text = " ".join(
            [row.name, row.id, row.status, row.space, row.strategy, row.goal, row.group or ""]
        )
        text = " ".join([text, *row.tags]).lower()
        return all(word in text for word in (self.q or "").lower().split())


TICKS = ("archived", "baselines")
STATUSES = ("running", "done", "interrupted", "infeasible", "failed")


def tags_of(rows: Iterable[ExperimentRow]) -> list[str]:
    """Return the tags of some experiments, sorted; the one of the archive has a tick of its own."""
    return sorted({tag for row in rows for tag in row.tags} - {ARCHIVED})
