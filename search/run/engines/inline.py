"""Trials in this process, one after the other; no Ray."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from ....errors import StopTrial
from ....spaces import Architecture
from ..evaluation import Evaluation, Panel, Tee
from ..together import Home, Task
from .processes import run_processes

if TYPE_CHECKING:
    from ..session import Session


class InlineEngine:
    """Evaluates in this process.

    Args:
        panel: The estimators.
    """

    name = "inline"
    workers = 1

    def __init__(self, panel: Panel) -> None:
        self.panel = panel

    def __enter__(self) -> InlineEngine:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators."""
        return self.panel.screen(architectures, seeds)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return the function's value of each item."""
        return [function(item) for item in items]

    def parallel(self, task: Task, workers: int, home: Home) -> Any:
        """Run one piece of work in several processes of this machine."""
        return run_processes(task, workers, home)

    def run(self, session: Session) -> None:
        """Evaluate until the session ends; a reporting trial is cut short when the run is."""
        while (trial := session.take()) is not None:
            session.start(trial)
            cut = False

            def report(step: int, metrics: Mapping[str, float], number: int = trial.number) -> None:
                nonlocal cut
                session.report(number, step, metrics)
                if session.stop:
                    cut = True
                    raise StopTrial("the run is being stopped")

            with redirect_stdout(Tee(sys.stdout)) as printed:
                evaluation = self.panel.evaluate(
                    trial.architecture,
                    trial.seeds,
                    budget=trial.budget,
                    report=report,
                    answered=trial.answered,
                )
            evaluation.log(printed.getvalue())
            if cut:
                session.requeue()
            else:
                session.finish(trial.number, evaluation)
