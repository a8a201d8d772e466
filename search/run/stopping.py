"""Why a run should end now: Ctrl-C, `netloom stop`, the end of its time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_POLL_S = 0.5  # a stop request is a query: ask at most this often
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Says whether, and why, the run is to end.

    As a context manager it takes over Ctrl-C and SIGTERM (in the main thread): the first one asks
    for a clean end, a second one raises `KeyboardInterrupt` at once.

    Args:
        requested: Whether somebody asked the run to stop (asks the store).
        deadline: `time.monotonic()` value at which the time budget ends.
        on_interrupt: Called at the first Ctrl-C.
    """

    def __init__(
        self,
        requested: Callable[[], bool] = lambda: False,
        *,
        deadline: float | None = None,
        on_interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self._requested, self._deadline, self._on_interrupt = requested, deadline, on_interrupt
        self._next_poll = 0.0
        self._reason: str | None = None
        self._previous: dict[int, Any] = {}

    @property
    def reason(self) -> str | None:
        """`interrupted`, `stopped`, `time`, or None: go on."""
        if self._reason is None:
            now = time.monotonic()
            if self._deadline is not None and now >= self._deadline:
                self._reason = "time"
            elif now >= self._next_poll:
                self._next_poll = now + _POLL_S
                if self._requested():
                    self._reason = "stopped"
        return self._reason

    def __bool__(self) -> bool:
        return self.reason is not None

    @property
    def cut_short(self) -> bool:
        """Whether somebody, not the budget, ends the run."""
        return self._reason in ("interrupted", "stopped")

    def extend(self) -> None:
        """Forget the deadline: the search is over, what is left to do takes its time."""
        self._deadline = None
        if self._reason == "time":
            self._reason = None

    def interrupt(self) -> None:
        """Ask for a clean end, as the first Ctrl-C does."""
        self._reason = "interrupted"

    def __enter__(self) -> StopSignal:
        self._take_over()
        return self

    def again(self) -> None:
        """Take the signals over once more: Ray sets a handler of its own when it starts."""
        self._take_over()

    def _take_over(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                found = signal.signal(number, self._handle)
                self._previous.setdefault(number, found)  # given back is what was there first

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._reason == "interrupted":
            raise KeyboardInterrupt
        self.interrupt()
        self._on_interrupt()
