"""Values that are computed once for all who ask."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

Made = TypeVar("Made")


class _Entry:
    """One value, the state that it is of, and who computes it."""

    def __init__(self) -> None:
        self.turn = threading.Lock()
        self.state: Hashable = None
        self.value: Any = None


class Kept:
    """The values that were asked for last; safe to use from several threads.

    Args:
        size: Values kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()

    def value(self, key: Hashable, make: Callable[[], Made], state: Hashable = "") -> Made:
        """Return the value of `key`, made when there is none of this state; others wait for it.

        Args:
            key: What is asked for.
            make: Computes it; after an error the next who asks computes it again.
            state: What the value depends on (not None): one of another state is replaced.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._size:
                self._entries.popitem(last=False)
        with entry.turn:
            if entry.state != state:
                entry.value, entry.state = make(), state
            return cast(Made, entry.value)
