"""What a run tells while it goes on: progress displays, logs and tests listen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run.

    Kinds, in the order in which one trial meets them:

    - `asked`: the strategy proposed it; nothing is stored yet.
    - `queued`: its row is committed (trials that are not answered at once).
    - `evaluating`: its evaluation starts now.
    - `transaction`: its outcome is written, not yet committed.
    - `committed`: its outcome is durable; `data` holds status, metrics, violation, and the epochs
      spent so far by the whole search.
    - `told`: the strategy knows its outcome, and the state that this led to is durable.

    Of the run: `started` (`name`, `id`, `renamed_from`), `progress` (`text`, `done`, `total`),
    `message` (`text`), `finished` (`reason`).

    Args:
        kind: One of the above.
        number: The trial, where it is about one.
        data: Further values, by kind.
    """

    kind: str
    number: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


Listener: TypeAlias = Callable[[Event], None]


class Emitter:
    """Passes events to listeners; falsy when nobody listens, so that hot loops skip the work."""

    def __init__(self, listeners: Sequence[Listener] = ()) -> None:
        self._listeners = tuple(listeners)

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __call__(self, kind: str, number: int | None = None, **data: Any) -> None:
        """Tell all listeners."""
        if self._listeners:
            event = Event(kind, number, data)
            for listener in self._listeners:
                listener(event)

    def each(self, kind: str, numbers: Iterable[int]) -> None:
        """Tell all listeners the same of several trials, in order."""
        if self._listeners:
            for number in numbers:
                self(kind, number)
