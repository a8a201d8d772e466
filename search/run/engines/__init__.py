"""Where evaluations happen: in this process, in Ray actors, in Ray Tune trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from ....spaces import Architecture
from ..evaluation import Evaluation, Panel
from .cluster import SETTINGS, environment, quiet

if TYPE_CHECKING:
    from ..plan import Plan
    from ..session import Session
    from ..together import Home, Task


class Engine(Protocol):
    """What a run needs of an engine; a context manager that starts and stops its workers."""

    name: str
    panel: Panel

    @property
    def workers(self) -> int:
        """Trials at a time."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators about many architectures."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Run independent pieces of work; results in order."""

    def parallel(self, task: Task, workers: int, home: Home) -> Any:
        """Run one piece of work in several processes that are joined; return the first's result."""

    def run(self, session: Session) -> None:
        """Evaluate until the session ends."""


def make_engine(plan: Plan) -> Engine:
    """Return the engine that the plan asks for; `auto` takes Ray when a trial is not cheap."""
    panel = Panel.of(plan, keep_weights=not plan.cheap)
    wanted = plan.runner.engine
    if wanted == "inline" or (wanted == "auto" and plan.cheap):
        from .inline import InlineEngine

        return InlineEngine(panel)
    with environment(SETTINGS), quiet():
        if plan.cheap:
            from .ray_actors import RayActorsEngine

            return RayActorsEngine(panel, plan)
        from .ray_tune import RayTuneEngine

        return RayTuneEngine(panel, plan)
