"""Batches of cheap evaluations in persistent Ray actors: 10^2-10^3 times less per trial than Tune.

Imported only when Ray is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError

from ....spaces import Architecture
from ..evaluation import Evaluation, Panel
from .cluster import Cluster
from .payload import Payload, pack

if TYPE_CHECKING:
    from ..plan import Plan
    from ..session import Session

_Chunk = tuple[int, list[Architecture], list[Sequence[int]]]  # position of the first, and the rest


class PanelActor:
    """Holds the estimators in a worker."""

    def __init__(self, payload: Payload) -> None:
        self._panel: Panel = payload.load()

    def screen(
        self, architectures: list[Architecture], seeds: list[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators."""
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

    @property
    def workers(self) -> int:
        """Evaluations at a time."""
        return self._cluster.workers

    def __enter__(self) -> RayActorsEngine:
        self._cluster.__enter__()
        try:
            resources = self._cluster.resources
            self._payload = ray.put(pack(self.panel, self._plan))
            self._class = ray.remote(PanelActor).options(
                num_cpus=resources["cpu"], num_gpus=resources.get("gpu", 0)
            )
            self._actors = [self._class.remote(self._payload) for _ in range(self.workers)]
        except BaseException:
            self._cluster.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for actor in self._actors:
            ray.kill(actor)
        self._actors = []
        self._cluster.__exit__(*exception)

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators, spread over the actors."""
        size = math.ceil(len(architectures) / self.workers)
        found: list[Evaluation | None] = [None] * len(architectures)
        chunks: list[_Chunk] = [
            (i, list(architectures[i : i + size]), list(seeds[i : i + size]))
            for i in range(0, len(architectures), size)
        ]
        for attempt in range(1 + self._plan.runner.retries):
            lost = self._round(chunks, found)
            if not lost:
                break
            last = attempt == self._plan.runner.retries - 1
            chunks = _singly(lost) if last else lost
        for i, _, _ in _singly([c for c in chunks if found[c[0]] is None]):
            found[i] = _worker_lost(1 + self._plan.runner.retries)
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
                except RayActorError:
                    lost.append(chunk)
                    self._actors[slot] = self._class.remote(self._payload)
                else:
                    found[chunk[0] : chunk[0] + len(answers)] = answers
        return lost

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return the function's value of each item, computed by the actors."""
        payload = ray.put(pack(function, self._plan))
        calls = [
            self._actors[i % self.workers].call.remote(payload, item)
            for i, item in enumerate(items)
        ]
        found: list[Any] = ray.get(calls)
        return found

    def run(self, session: Session) -> None:
        """Let the session go on to its end: it asks `screen` for everything."""
        session.take()


def _singly(chunks: Sequence[_Chunk]) -> list[_Chunk]:
    """Return one chunk per architecture: one that kills its worker takes no other with it."""
    return [
        (first + i, [architecture], [seeds[i]])
        for first, architectures, seeds in chunks
        for i, architecture in enumerate(architectures)
    ]


def _worker_lost(times: int) -> Evaluation:
    text = f"WorkerLost: the worker that evaluated it died {times} times"
    return Evaluation("failed", error=text, traceback=f"{text}\n")
