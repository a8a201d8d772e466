"""What a page shows is in its URL: two axes and a trial."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode

MAX_NUMBER = 2**31


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen axes and trial; None where the default or nothing is chosen."""

    x: str | None = None
    y: str | None = None
    trial: int | None = None

    @classmethod
    def parse(cls, search: str | None) -> Choice:
        """Read the part of a URL behind `?`; what is not understood is left out."""
        found = parse_qs((search or "").removeprefix("?"), max_num_fields=20)
        text = found.get("trial", [""])[-1]
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None
        if number is not None and number >= MAX_NUMBER:
            number = None
        return cls(found.get("x", [None])[-1], found.get("y", [None])[-1], number)

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
        pairs = {name: value for name, value in self.data.items() if value is not None}
        return f"?{urlencode(pairs)}" if pairs else ""
