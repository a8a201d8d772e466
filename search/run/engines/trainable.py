"""A Tune trial, as it runs in a worker; the actor is reused from trial to trial."""

from __future__ import annotations

import contextlib
import io
import queue
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ray import tune

from ....errors import StopTrial
from ....spaces import Architecture
from ..evaluation import Evaluation, Panel
from .payload import Payload

OUTCOME, REPORT, SCORE, STEP, WORK = "outcome", "report", "score", "step", "work"
_JOIN_S = 30.0


@dataclass(frozen=True)
class Work:
    """What a trial is to evaluate."""

    number: int
    architecture: Architecture
    seeds: tuple[int, ...]
    budget: float | None
    answered: frozenset[int]
    score: str | None  # metric that the scheduler compares
    steps: float | None  # of a whole trial: after the last one there is nothing left to stop

    def __repr__(self) -> str:  # Tune makes names of it
        return f"trial-{self.number}"


@dataclass(frozen=True)
class Report:
    """A point of the curve of a trial; no metrics: an epoch of a later repeat."""

    step: int
    metrics: Mapping[str, float]


class TrialActor(tune.Trainable):  # type: ignore[misc]  # Ray is untyped here
    """Evaluates one architecture; each report of the estimator is one Tune step."""

    _score: float | None  # the last one reported, and its step
    _step: int

    def setup(self, config: dict[str, Any], payload: Payload | None = None) -> None:
        """Load the estimators."""
        if payload is None:
            raise ValueError("a trial actor needs the estimators, got no payload")
        self._payload = payload
        self._thread: threading.Thread | None = None
        self._panel: Panel | None = None
        self._broken = Evaluation()
        try:
            self._panel = payload.load()
        except Exception as error:  # every trial would fail the same way: the run must end
            self._broken.fail(error)
        self._begin(config[WORK])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self._cancel(wait=True)
        self._payload.enter()
        self._begin(new_config[WORK])
        return True

    def step(self) -> dict[str, Any]:
        """Return the next report, or the outcome."""
        panel = self._panel
        if panel is None:
            return {"done": True, OUTCOME: self._broken, "broken": True}
        if not any(e.reports for e in panel.costly):
            return {"done": True, OUTCOME: self._evaluate(panel, None)}
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(panel,), daemon=True)
            self._thread.start()
        else:
            self._go_on.release()
        item = self._items.get()
        if isinstance(item, Evaluation):
            return self._scored({"done": True, OUTCOME: item})
        score = self._work.score
        if score is not None and score in item.metrics:
            self._score, self._step = float(item.metrics[score]), item.step
        result = {REPORT: item, "done": False}
        last = self._work.steps is not None and item.step >= self._work.steps
        return result if last else self._scored(result)

    def cleanup(self) -> None:
        """Let a running evaluation end at its next report."""
        self._cancel(wait=False)

    def _scored(self, result: dict[str, Any]) -> dict[str, Any]:
        if self._score is None:
            return result
        return {**result, SCORE: self._score, STEP: self._step}

    def _begin(self, work: Work) -> None:
        self._work, self._thread = work, None
        self._items: queue.SimpleQueue[Evaluation | Report] = queue.SimpleQueue()
        self._go_on, self._cancelled = threading.Semaphore(0), threading.Event()
        self._score, self._step = None, 0

    def _run(self, panel: Panel) -> None:
        items, go_on, cancelled = self._items, self._go_on, self._cancelled

        def report(step: int, metrics: Mapping[str, float]) -> None:
            items.put(Report(step, {k: float(v) for k, v in metrics.items()}))
            go_on.acquire()
            if cancelled.is_set():
                raise StopTrial("ended by the scheduler")

        items.put(self._evaluate(panel, report))

    def _evaluate(self, panel: Panel, report: Any) -> Evaluation:
        work = self._work
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            found = panel.evaluate(
                work.architecture,
                work.seeds,
                budget=work.budget,
                report=report,
                answered=work.answered,
            )
        found.log(printed.getvalue())
        return found

    def _cancel(self, *, wait: bool) -> None:
        thread = self._thread
        if thread is not None and thread.is_alive():
            self._cancelled.set()
            self._go_on.release()
            if wait:
                thread.join(_JOIN_S)
