"""Workers that die: how Ray says so, and how Tune is told in words that it knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError, WorkerCrashedError
from ray.tune.execution import tune_controller

from ....errors import EvaluationError
from ..evaluation import lost_text, one_line

LOST = (RayActorError, OutOfMemoryError, WorkerCrashedError)
_MEMORY = "killed for want of memory"


class ActorManager(RayActorManager):  # type: ignore[misc]  # Ray is untyped here
    """Tune's keeper of actors, for one more way to die.

    Ray answers for an actor that it killed when memory ran short with an `OutOfMemoryError`, which
    is no `RayActorError`; Tune's own keeper knows only those, and ends the whole run at the other.
    """

    def _actor_start_failed(self, tracked_actor: Any, exception: Exception) -> None:
        super()._actor_start_failed(tracked_actor, _as_death(exception))

    def _actor_task_failed(self, tracked_actor_task: Any, exception: Exception) -> None:
        super()._actor_task_failed(tracked_actor_task, _as_death(exception))


def _as_death(exception: Exception) -> Exception:
    if not isinstance(exception, OutOfMemoryError):
        return exception
    death: Exception = RayActorError(error_msg=f"{_MEMORY}: {exception}")
    return death


@contextmanager
def memory_counts_as_loss() -> Iterator[None]:
    """Let Tune treat a worker killed for memory as any other that died."""
    original = tune_controller.RayActorManager
    tune_controller.RayActorManager = ActorManager
    try:
        yield
    finally:
        tune_controller.RayActorManager = original


def describe(error: Exception, times: int) -> str:
    """Return the one line of a trial that failed outside its estimators.

    Args:
        error: Why, the last time.
        times: How often it was tried.
    """
    if not isinstance(error, LOST):
        return one_line(error)
    memory = isinstance(error, OutOfMemoryError) or str(error).startswith(_MEMORY)
    return lost_text(times, _MEMORY if memory else "")


def results_of(calls: Sequence[Any]) -> list[Any]:
    """Return what pieces of work gave.

    Raises:
        EvaluationError: If a worker was lost for good.
    """
    try:
        found: list[Any] = ray.get(list(calls))
    except LOST as error:
        memory = f", {_MEMORY}" if isinstance(error, OutOfMemoryError) else ""
        raise EvaluationError(f"WorkerLost: a worker died at its piece of work{memory}") from error
    return found


def failure(trial: Any) -> tuple[Exception, str]:
    """Return why a Tune trial failed, and the text that Tune kept of it."""
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    if trial.pickled_error_file:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        if isinstance(error, Exception):
            return error, text.strip()
    return EvaluationError("the trial failed outside its estimators"), text.strip()
