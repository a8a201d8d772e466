"""What a run shows while it goes on: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..objectives import Objective, losses
from .common import note

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ...db.records import ExperimentRecord, TrialRecord
    from ..run.events import Event, Listener

_LINE_EVERY_S = 1.0  # cheap trials come by the thousand: a line each would only slow them down
_PHASE_EVERY_S = 10.0  # steps of a training that precedes the trials
_SPENT = ("done", "pruned", "failed")


@dataclass(frozen=True)
class Goal:
    """What a run is after.

    Args:
        objectives: What is wanted.
        trials: Budget of trials, or None.
        time_s: Seconds that are left of the budget, or None.
        counts: Trials that are stored already (a resumed run).
        done: Number and metrics of the feasible ones among them.
        epochs: Budget of epochs, or None.
    """

    objectives: tuple[Objective, ...]
    trials: int | None = None
    time_s: float | None = None
    counts: Mapping[str, int] | None = None
    done: Sequence[tuple[int, Mapping[str, float]]] = ()
    epochs: int | None = None


@dataclass(frozen=True)
class Phase:
    """Work that precedes the trials.

    Args:
        text: What is done.
        done: How many of its steps.
        total: How many there are.
        first: What `done` was when it was first heard of: a resumed run does not begin with 0.
        began: When that was (monotonic seconds).
    """

    text: str
    done: int
    total: int
    first: int
    began: float

    def at(self, text: str, done: int, total: int) -> Phase:
        """Return it as it is now; another text or total is other work."""
        if (text, total) == (self.text, self.total) and done >= self.first:
            return replace(self, done=done)
        return Phase(text, done, total, done, time.monotonic())

    def left(self) -> float | None:
        """Return about how many seconds it still takes; None: nothing is known yet."""
        if self.done <= self.first:
            return None
        spent = time.monotonic() - self.began
        return spent / (self.done - self.first) * max(0, self.total - self.done)

    def __str__(self) -> str:
        """Return how far it is, and about how long it takes."""
        from ...dashboard.words import seconds_text

        left = self.left()
        about = f", left {seconds_text(left)}" if left else ""
        return f"{self.text} {self.done}/{self.total}{about}"


@contextmanager
def listening(goal: Goal, *, quiet: bool, live: bool) -> Iterator[list[Listener]]:
    """Yield the listeners that show a run.

    Args:
        goal: What the run is after.
        quiet: Show nothing.
        live: Redraw one table instead of writing lines.
    """
    if quiet:
        yield []
        return
    progress = Progress(goal)
    if not live:
        yield [Lines(progress)]
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(get_renderable=progress.table, console=console, refresh_per_second=4) as display:

        def show(event: Event) -> None:
            progress(event)
            if event.kind == "message":
                display.console.print(str(event.data.get("text", "")), markup=False)

        yield [show]


class Progress:
    """Counts, best values and the front, kept up with the events of a run."""

    def __init__(self, goal: Goal) -> None:
        from ..run.standing import Standing

        self.goal = goal
        self.name = ""
        self.phase: Phase | None = None
        self.counts = Counter(goal.counts or {})
        self._resumed = self.spent
        self._standing = Standing(goal.objectives, best=1)
        self._bounds: list[tuple[float, float]] | None = None
        self._open: set[int] = set()
        self._start = time.monotonic()
        self._epochs, self._epochs_first = 0, (0, 0.0)  # the second: with the time of its event
        self._lock = threading.Lock()
        for number, metrics in goal.done:
            self._count(number, metrics)

    def __call__(self, event: Event) -> None:
        """Take one event; safe beside a thread that draws."""
        with self._lock:
            self._take(event)

    @property
    def spent(self) -> int:
        """Trials that the budget counts."""
        return sum(self.counts[status] for status in _SPENT)

    def _take(self, event: Event) -> None:
        kind, number = event.kind, event.number
        if kind == "evaluating" and number is not None:
            self._open.add(number)
        elif kind == "committed" and number is not None:
            self._open.discard(number)
            if event.data.get("fixed"):
                return
            self.counts[str(event.data.get("status", "done"))] += 1
            self._epochs = event.data.get("epochs", 0)
            if not self._epochs_first[0]:
                self._epochs_first = (self._epochs, time.monotonic())
            if event.data.get("status") == "done" and not event.data.get("violation"):
                self._count(number, event.data.get("metrics") or {})
        elif kind == "started":
            self.name = str(event.data.get("name", ""))
        elif kind == "progress":
            text, data = str(event.data.get("text", "")), event.data
            done, total = int(data.get("done", 0)), int(data.get("total", 0))
            known = self.phase or Phase(text, done, total, done, time.monotonic())
            self.phase = known.at(text, done, total)
        elif kind == "asked":
            self.phase = None

    def _count(self, number: int, metrics: Mapping[str, float]) -> None:
        if any(o.metric not in metrics for o in self.goal.objectives):
            return
        self._standing.add(number, metrics)
        point = losses(self.goal.objectives, metrics)
        known = self._bounds or [(value, value) for value in point]
        self._bounds = [(min(a, v), max(b, v)) for (a, b), v in zip(known, point, strict=True)]

    def facts(self) -> dict[str, str]:
        """Return what is worth showing now, as label and text."""
        with self._lock:
            return self._facts()

    def _facts(self) -> dict[str, str]:
        from ...dashboard.words import seconds_text

        total = f"/{self.goal.trials}" if self.goal.trials else ""
        shown = {"trials": f"{self.spent}{total}"}
        if self.goal.epochs and self._epochs:
            shown["epochs"] = f"{self._epochs}/{self.goal.epochs}"
        shown |= {
            s: str(self.counts[s]) for s in ("infeasible", "failed", "pruned") if self.counts[s]
        }
        if self._open:
            shown["running"] = str(len(self._open))
        for metric, (_, value) in self._standing.leaders().items():
            shown[f"best {metric}"] = f"{value:.5g}"
        if len(self.goal.objectives) > 1 and self._standing.front:
            shown["front"] = str(len(self._standing.front))
            shown["dominated"] = f"{100 * self._dominated():.2f} % of the box seen"
        elapsed = time.monotonic() - self._start
        shown["time"] = seconds_text(elapsed)
        if left := self._left(elapsed):
            shown["left"] = seconds_text(left)
        return shown

    def _dominated(self) -> float:
        """Return the share of the box of the values seen (and 10 % around) that is dominated."""
        import numpy as np

        from ...pareto import hypervolume

        bounds = np.array(self._bounds)
        span = np.where(bounds[:, 1] > bounds[:, 0], bounds[:, 1] - bounds[:, 0], 1.0)
        points = (np.array(list(self._standing.front.values())) - bounds[:, 0]) / span
        reference = np.full(len(span), 1.1)
        return float(hypervolume(points, reference) / 1.1 ** len(span))

    def _left(self, elapsed: float) -> float | None:
        left = []
        fresh = self.spent - self._resumed
        if self.goal.trials and fresh:
            left.append(elapsed / fresh * max(0, self.goal.trials - self.spent))
        first, at = self._epochs_first
        if self.goal.epochs and self._epochs > first:
            rate = (time.monotonic() - at) / (self._epochs - first)
            left.append(rate * max(0, self.goal.epochs - self._epochs))
        if self.goal.time_s:
            left.append(max(0.0, self.goal.time_s - elapsed))
        return min(left, default=None)

    def table(self) -> RenderableType:
        """Return the live table, with a bar for work that precedes the trials."""
        from rich import box
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        facts = self.facts()
        table = Table(title=self.name or None, box=box.SIMPLE_HEAD, title_justify="left")
        for label in facts:
            table.add_column(label, overflow="fold")
        table.add_row(*facts.values())
        if (phase := self.phase) is None:
            return table
        bar = ProgressBar(total=phase.total or None, completed=phase.done, width=40)
        return Group(table, bar, Text(str(phase)))


class Lines:
    """Writes one plain line to stderr per trial, at most one a second.

    While something is trained before, one every ten seconds.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._last, self._said = progress, 0.0, ""
        self._phase = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        self._progress(event)
        if event.kind == "message":
            note(str(event.data.get("text", "")))
        elif event.kind == "committed":
            now = time.monotonic()
            if now - self._last >= _LINE_EVERY_S:
                self._last = now
                self._say()
        elif event.kind == "progress":
            now = time.monotonic()
            if now - self._phase >= _PHASE_EVERY_S:
                self._phase = now
                note(f"{self._progress.phase}, time {self._progress.facts()['time']}")
        elif event.kind == "finished":
            self._say()

    def _say(self) -> None:
        line = ", ".join(f"{label} {text}" for label, text in self._progress.facts().items())
        if line != self._said:
            self._said = line
            note(line)


def goal_of(
    record: ExperimentRecord, budget: Mapping[str, Any], done: Sequence[TrialRecord] = ()
) -> Goal:
    """Return the goal of a stored experiment.

    Args:
        record: The experiment.
        budget: Its budget, as a spec writes it.
        done: Its finished trials.
    """
    time_s = budget.get("time")
    return Goal(
        objectives=tuple(Objective(o["metric"], o["direction"]) for o in record.objectives),
        trials=budget.get("trials"),
        time_s=None if time_s is None else max(0.0, time_s - record.elapsed_s),
        counts={s: n for s, n in record.counts.items() if s not in ("queued", "running")},
        done=tuple((t.number, t.metrics) for t in done if t.feasible and t.fixed is None),
        epochs=budget.get("epochs"),
    )
