"""What a page shows is in its URL: axes, colours, what is left out, a region, a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

from .progress import By
from .region import Region

MAX_NUMBER = 2**31
MAX_TEXT = 2000  # of one part of a URL
MAX_FIELDS = 20
AXES = ("x", "y", "z")


@dataclass(frozen=True, slots=True)
class Choice:
    """What is chosen on the page of an experiment; None where the default or nothing is.

    Args:
        x: Horizontal axis.
        y: Vertical axis.
        trial: The network that is taken apart.
        z: Third axis.
        log: Logarithmic ones of the axes, by letter: `x,y`.
        color: What colours the points: `decision:NAME`, `metric:NAME`, `tag:NAME`, `strategy`.
        hide: Kinds of points that are not drawn: `failed,infeasible`.
        select: A region of the plane, as `Region` writes it.
        sort: Column of the trial table and direction: `m0:desc`.
        filter: Filters of the trial table: the grid's own, as JSON.
        by: What the histories are drawn along: `time`, or trials.
    """

    x: str | None = None
    y: str | None = None
    trial: int | None = None
    z: str | None = None
    log: str | None = None
    color: str | None = None
    hide: str | None = None
    select: str | None = None
    sort: str | None = None
    filter: str | None = None
    by: str | None = None

    @classmethod
    def parse(cls, search: str | None) -> Choice:
        """Read the part of a URL behind `?`; what is not understood is left out."""
        texts = query(search)
        region = Region.parse(texts.get("select"))
        return cls(
            texts.get("x"),
            texts.get("y"),
            number_of(texts.get("trial", "")),
            texts.get("z"),
            joined(each for each in AXES if each in parted(texts.get("log"))),
            texts.get("color"),
            texts.get("hide"),
            None if region is None else region.text,
            texts.get("sort"),
            filter_text(_rules(texts.get("filter"))),
            "time" if texts.get("by") == "time" else None,
        )

    @classmethod
    def load(cls, data: dict[str, Any] | None) -> Choice:
        """Read what `data` gave."""
        return cls(**data) if data else cls()

    @property
    def data(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)

    @property
    def search(self) -> str:
        """The part of a URL from `?` on; empty when everything is default."""
        return search_of({name: value for name, value in self.data.items() if value is not None})

    @property
    def logs(self) -> tuple[str, ...]:
        """The axes that are logarithmic, by letter."""
        return parted(self.log)

    @property
    def hidden(self) -> tuple[str, ...]:
        """The kinds of points that are not drawn."""
        return parted(self.hide)

    @property
    def region(self) -> Region | None:
        """The region of the plane that is selected."""
        return Region.parse(self.select)

    @property
    def along(self) -> By:
        """What the histories are drawn along."""
        return "time" if self.by == "time" else "trials"

    @property
    def rules(self) -> dict[str, Any]:
        """The filters of the trial table, by column."""
        return _rules(self.filter)

    @property
    def order(self) -> list[dict[str, str]]:
        """The order of the trial table, as its grid writes it."""
        return order_of(self.sort)


def query(search: str | None, *, blank: bool = False) -> dict[str, str]:
    """Return what the part of a URL behind `?` says, of its first fields; the last one of a name.

    >>> query("?x=params&x=macs&y=")
    {'x': 'macs'}

    Args:
        search: The part of the URL.
        blank: Whether fields without a value count.
    """
    first = "&".join((search or "").removeprefix("?").split("&")[:MAX_FIELDS])
    found = parse_qs(first, keep_blank_values=blank)
    return {name: values[-1][:MAX_TEXT] for name, values in found.items()}


def search_of(pairs: Mapping[str, Any] | Sequence[tuple[str, Any]]) -> str:
    """Return names and values as the part of a URL from `?` on; empty without any.

    >>> search_of({"x": "params", "beside": 3}), search_of([])
    ('?x=params&beside=3', '')
    """
    return f"?{urlencode(pairs)}" if pairs else ""


def number_of(text: str) -> int | None:
    """Return the number of a trial that a URL holds; None where it holds none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else MAX_NUMBER
    return number if number < MAX_NUMBER else None


def order_of(text: str | None) -> list[dict[str, str]]:
    """Return `column:direction` as a grid's `sortModel`; empty where it is not understood."""
    column, _, direction = (text or "").rpartition(":")
    return [{"colId": column, "sort": direction}] if column and direction in _WAYS else []


def order_text(model: Any) -> str | None:
    """Return the first column of a grid's `sortModel` as `column:direction`."""
    first = next(iter(model or ()), None)
    return f"{first['colId']}:{first['sort']}" if first else None


def filter_text(rules: Mapping[str, Any] | None) -> str | None:
    """Return a grid's `filterModel` as text; None for one without a rule, or too long a one."""
    text = json.dumps(rules, separators=(",", ":"), sort_keys=True) if rules else None
    return text if text is not None and len(text) <= MAX_TEXT else None


def joined(parts: Any) -> str | None:
    """Return words with commas between them; None without any."""
    return ",".join(parts) or None


def parted(text: str | None) -> tuple[str, ...]:
    """Return the words between commas."""
    return tuple(part for part in (text or "").split(",") if part)


_WAYS = ("asc", "desc")


def _rules(text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):  # no JSON, or brackets by the thousand
        return {}
    return found if isinstance(found, dict) else {}
