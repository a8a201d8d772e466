"""Random architectures that nobody has asked for yet: what every strategy starts from."""

from __future__ import annotations

from collections.abc import Container, Mapping
from itertools import islice
from typing import Any

from ...spaces import Architecture
from ..strategy import Context

# A space samples uniformly, so this many known draws in a row mean that it is almost used up:
# listing the rest then costs about as much as the trials already did.
_MISSES = 64
# Beyond this size only a space that samples unevenly gets here; do not list all of it.
_LISTED = 1 << 20
_REST = 4096


class FreshDraws:
    """Draws without replacement; when the space is nearly used up, picks from the exact rest.

    Args:
        context: Gives the space, the generators and what is known.
        role: Names the generators; two users in one strategy take different roles.
    """

    def __init__(self, context: Context, role: str = "fresh") -> None:
        self._context, self._role = context, role
        self._drawn = 0
        self._listing = False
        self._rest: list[Architecture] | None = None

    def draw(self, taken: Container[Architecture] = ()) -> Architecture | None:
        """Return an architecture that is neither known nor in `taken`; None: there is none left."""
        while not self._listing:
            rng = self._context.rng(self._role, self._drawn)
            self._drawn += 1
            for _ in range(_MISSES):
                architecture = self._context.space.sample(rng)
                if architecture not in taken and not self._context.known(architecture):
                    return architecture
            self._listing = True
        return self._pick(taken)

    def state_dict(self) -> dict[str, Any]:
        """Return the counters (two values)."""
        return {"drawn": self._drawn, "listing": self._listing}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned."""
        self._drawn, self._listing, self._rest = state["drawn"], state["listing"], None

    def _pick(self, taken: Container[Architecture]) -> Architecture | None:
        # Filtered anew on each call: a resumed run, which lists again, then picks the same one.
        listed = self._list() if self._rest is None else self._rest
        rest = [a for a in listed if a not in taken and not self._context.known(a)]
        if self._context.space.size <= _LISTED:
            self._rest = rest
        if not rest:
            return None
        rng = self._context.rng(self._role, self._drawn)
        self._drawn += 1
        return rest[rng.randrange(len(rest))]

    def _list(self) -> list[Architecture]:
        every = self._context.space.enumerate()
        if self._context.space.size <= _LISTED:
            return list(every)
        return list(islice((a for a in every if not self._context.known(a)), _REST))
