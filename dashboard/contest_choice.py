"""What the page of a comparison shows is in its URL: who, which plane, along what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs

from ..errors import SpecError
from .choice import search_of
from .contest import MAX_RUNS
from .progress import By

PATH = "/compare"
MOST_FIELDS = 2 * MAX_RUNS


@dataclass(frozen=True, slots=True)
class ContestChoice:
    """The chosen experiments and groups, and how they are shown.

    Args:
        refs: Experiments: names, ids or unique prefixes (`e` in the URL).
        groups: Groups (`g`).
        x: Horizontal axis; None for the default.
        y: Vertical axis.
        by: `trials` or `time`.
        apart: Whether every seed competes for itself.
    """

    refs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    x: str | None = None
    y: str | None = None
    by: By = "trials"
    apart: bool = False

    @classmethod
    def parse(cls, search: str | None) -> ContestChoice:
        """Read the part of a URL behind `?`; what is not understood is left out.

        Raises:
            SpecError: If it has more fields than any comparison needs.
        """
        try:
            found = parse_qs((search or "").removeprefix("?"), max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise SpecError(
                f"a comparison is a URL of at most {MOST_FIELDS} fields, got more; choose fewer "
                "experiments, or a group (g=NAME)"
            ) from error
        return cls(
            refs=_once(found.get("e", ())),
            groups=_once(found.get("g", ())),
            x=found.get("x", [None])[-1],
            y=found.get("y", [None])[-1],
            by="time" if found.get("by", [""])[-1] == "time" else "trials",
            apart=found.get("seeds", [""])[-1] == "apart",
        )

    @classmethod
    def load(cls, data: dict[str, Any] | None) -> ContestChoice:
        """Read what `data` gave."""
        known = dict(data or {})
        for name in ("refs", "groups"):
            known[name] = tuple(known.get(name, ()))
        return cls(**known)

    @property
    def data(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @property
    def search(self) -> str:
        """The part of a URL from `?` on."""
        pairs = [("e", ref) for ref in self.refs] + [("g", group) for group in self.groups]
        pairs += [(name, value) for name, value in (("x", self.x), ("y", self.y)) if value]
        pairs += [("by", self.by)] if self.by != "trials" else []
        pairs += [("seeds", "apart")] if self.apart else []
        return search_of(pairs)


def compare_link(refs: Sequence[str] = (), groups: Sequence[str] = ()) -> str:
    """Return the address of a comparison."""
    return PATH + ContestChoice(tuple(refs), tuple(groups)).search


def _once(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name))
