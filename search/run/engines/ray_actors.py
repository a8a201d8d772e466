"""Batches of cheap evaluations in persistent Ray actors: 10^2-10^3 times less per trial than Tune.

Imported only when Ray is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ray

from ....errors import EvaluationError
from ....spaces import Architecture
from ..evaluation import Evaluation, Panel, lost_text, one_line
from ..together import Home, Task
from .cluster import Cluster
from .losses import LOST, results_of
from .payload import Payload, pack

if TYPE_CHECKING:
    from ..plan import Plan
    from ..session import Session

_Chunk = tuple[int, list[Architecture], list[Sequence[int]]]  # position of the first, and the rest


class PanelActor:
    """Holds the estimators in a worker."""

    def __init__(self, payload: Payload) -> None:
        self._panel: Panel | None = None
        try:
            self._panel = payload.load()
        except Exception as error:  # raised here it would look as if the worker had died
            self._broken = one_line(error)

    def screen(
        self, architectures: list[Architecture], seeds: list[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators.

        Raises:
            EvaluationError: If they could not be loaded here: every trial would fail so.
        """
        if self._panel is None:
            raise EvaluationError(f"the workers cannot load the search: {self._broken}")
        return self._panel.screen(architectures, seeds)

    def call(self, payload: Payload, item: Any) -> Any:
        """Return the value of a function."""
        return payload.load()(item)


class RayActorsEngine:
    """Evaluates batches in as many actors as there are workers.

    Args:
        panel: The estimators.
        plan: Resources, address, where modules are.
    """

    name = "ray"

    def __init__(self, panel: Panel, plan: Plan) -> None:
        self.panel, self._plan = panel, plan
        self._cluster = Cluster(plan.runner)
        self._actors: list[Any] = []
        self.workers = 1  # known once there is a Ray

    def __enter__(self) -> RayActorsEngine:
        self._cluster.__enter__()
        try:
            # An actor that finds no room would keep its share of a batch waiting.
            self.workers = max(1, min(self._cluster.workers, self._cluster.room()))
            resources = self._cluster.resources
            self._payload = ray.put(pack(self.panel, self._plan))
            self._class = ray.remote(PanelActor).options(
                num_cpus=resources["cpu"], num_gpus=resources.get("gpu", 0)
            )
            self._start_actors()
        except BaseException:
            self._cluster.__exit__()
            raise
        return self

    def _start_actors(self) -> None:
        self._actors = [self._class.remote(self._payload) for _ in range(self.workers)]

    def _end_actors(self) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []

    def __exit__(self, *exception: object) -> None:
        self._end_actors()
        self._cluster.__exit__(*exception)

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators, spread over the actors."""
        size = math.ceil(len(architectures) / self.workers)
        found: list[Evaluation | None] = [None] * len(architectures)
        lost = self._round(
            [
                (i, list(architectures[i : i + size]), list(seeds[i : i + size]))
                for i in range(0, len(architectures), size)
            ],
            found,
        )
        # From here on alone: one that kills its worker takes no other with it.
        lost, deaths, retries = _singly(lost), 1, self._plan.runner.retries
        while lost and deaths <= (retries if size == 1 else max(1, retries)):
            lost, deaths = self._round(lost, found), deaths + 1
        for i, _, _ in lost:
            text = lost_text(deaths)
            found[i] = Evaluation("failed", error=text, traceback=f"{text}\n")
        return [evaluation for evaluation in found if evaluation is not None]

    def _round(self, chunks: Sequence[_Chunk], found: list[Evaluation | None]) -> list[_Chunk]:
        """Evaluate chunks; return those whose actor died, with new actors in their places."""
        lost = []
        for start in range(0, len(chunks), self.workers):
            part = chunks[start : start + self.workers]
            calls = [
                actor.screen.remote(architectures, seeds)
                for actor, (_, architectures, seeds) in zip(self._actors, part, strict=False)
            ]
            for slot, (call, chunk) in enumerate(zip(calls, part, strict=True)):
                try:
                    answers = ray.get(call)
                except LOST:
                    lost.append(chunk)
                    self._actors[slot] = self._class.remote(self._payload)
                else:
                    found[chunk[0] : chunk[0] + len(answers)] = answers
        return lost

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return the function's value of each item, computed by the actors.

        Raises:
            EvaluationError: If an item kills its worker.
        """
        payload = ray.put(pack(function, self._plan))
        calls = [
            self._actors[i % self.workers].call.remote(payload, item)
            for i, item in enumerate(items)
        ]
        return results_of(calls)

    def parallel(self, task: Task, workers: int, home: Home) -> Any:
        """Run one piece of work in several workers of Ray Train, in the place of the actors."""
        from .ray_train import run_workers

        self._end_actors()
        try:
            return run_workers(task, workers, home, self._cluster, self._plan)
        finally:
            self._start_actors()

    def run(self, session: Session) -> None:
        """Let the session go on to its end: it asks `screen` for everything."""
        session.take()


def _singly(chunks: Sequence[_Chunk]) -> list[_Chunk]:
    """Return one chunk per architecture."""
    return [
        (first + i, [architecture], [seeds[i]])
        for first, architectures, seeds in chunks
        for i, architecture in enumerate(architectures)
    ]
