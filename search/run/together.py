"""One piece of training in several processes: what each is given, and what the first sends home.

The processes are an engine's: `processes` on this machine, Ray Train under Ray. In each of them
torch's process group is there, and a context whose curves, checkpoints, notes and progress are
messages to the process that runs the search. Only the first process sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...errors import EvaluationError, NetloomError
from ...spaces import Architecture, DecisionSpace
from ..objectives import Constraint, Objective
from ..strategy import Context
from ..testing import MemoryContext
from .evaluation import one_line
from .tensors import pack_tensors, unpack_tensors

Message: TypeAlias = tuple[str, tuple[Any, ...]]  # the name of a method of a context, its values
_SHOW_S = 0.2  # between two messages of progress


@dataclass(frozen=True)
class Task:
    """What a process needs to know.

    Args:
        function: What it does.
        space: Of the search, like everything below.
        objectives: What is wanted.
        constraints: What is demanded.
        seed: The experiment's.
        data: The data set.
        device: `cuda` or `cpu`.
        costs: What `Context.costs` gives; None: nothing.
    """

    function: Callable[[Context], Any]
    space: DecisionSpace
    objectives: Sequence[Objective]
    constraints: Sequence[Constraint]
    seed: int
    data: Any
    device: str
    costs: Callable[[Architecture], dict[str, float]] | None = None

    @classmethod
    def of(
        cls,
        context: Context,
        function: Callable[[Context], Any],
        costs: Callable[[Architecture], dict[str, float]] | None,
    ) -> Task:
        """Return what a function needs of a context; `costs` must travel without it."""
        return cls(
            function,
            context.space,
            context.objectives,
            context.constraints,
            context.seed,
            context.data,
            context.device,
            costs,
        )


@dataclass(frozen=True)
class Home:
    """The process that runs the search, as engines see it.

    Args:
        deliver: Takes a message of the first process.
        stopping: Whether the run is being stopped.
    """

    deliver: Callable[[Message], None]
    stopping: Callable[[], bool]

    @classmethod
    def of(cls, context: Context) -> Home:
        """Return one that hands everything to a context."""

        def deliver(message: Message) -> None:
            name, values = message
            if name == "checkpoint":
                context.checkpoint(values[0], unpack_tensors(values[1]))
            elif name == "publish":
                context.publish(values[0], _Weights(unpack_tensors(values[1])), values[2])
            else:
                getattr(context, name)(*values)

        return cls(deliver, context.stopping)


Parallel: TypeAlias = Callable[[Task, int, Home], Any]


class WorkerContext(MemoryContext):
    """The context of one of several processes; it knows no trials.

    Args:
        task: What the process was given.
        device: The process's own.
        send: Takes messages, of the first process; None: of another one, whose words are dropped.
        asked_to_stop: Whether the run is being stopped; asked of the first process only.
    """

    def __init__(
        self,
        task: Task,
        device: str,
        send: Callable[[Message], None] | None,
        asked_to_stop: Callable[[], bool],
    ) -> None:
        super().__init__(
            task.space,
            task.objectives,
            task.constraints,
            seed=task.seed,
            device=device,
            data=task.data,
            costs=task.costs,
        )
        self._send, self._asked_to_stop = send, asked_to_stop
        self._shown = 0.0

    def record(self, name: str, value: float, step: int) -> None:
        """Send a point of a curve."""
        self._tell("record", name, float(value), step)

    def checkpoint(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Send tensors; `restore` knows those of this process only."""
        super().checkpoint(name, tensors)
        if self._send is not None:
            self._tell("checkpoint", name, pack_tensors(tensors))

    def publish(self, name: str, supernet: Any, mask: Mapping[str, Any] | None = None) -> None:
        """Send the weights of a super-network."""
        if self._send is not None:
            self._tell("publish", name, pack_tensors(dict(supernet.state_dict())), mask)

    def note(self, name: str, value: Mapping[str, Any], kind: str = "") -> None:
        """Send JSON values."""
        self._tell("note", name, value, kind)

    def progress(self, text: str, done: int, total: int) -> None:
        """Send how far it is, not too often."""
        now = time.monotonic()
        if done >= total or now - self._shown > _SHOW_S:
            self._shown = now
            self._tell("progress", text, done, total)

    def stopping(self) -> bool:
        """Whether the run is being stopped; the other processes learn it from the first."""
        return self._send is not None and self._asked_to_stop()

    def _tell(self, name: str, *values: Any) -> None:
        if self._send is not None:
            self._send((name, values))


class _Weights:
    """The state of a super-network that is somewhere else."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = state

    def state_dict(self) -> Mapping[str, Any]:
        return self._state


@dataclass(frozen=True)
class Failure:
    """Why a process failed.

    Args:
        error: The error, in a form that travels.
        follows: Whether it may only be that another process is gone.
    """

    error: NetloomError
    follows: bool

    @classmethod
    def of(cls, error: Exception) -> Failure:
        """Return what travels of an error."""
        if isinstance(error, NetloomError):
            return cls(error, follows=False)
        # a broken exchange is a RuntimeError of torch or an OSError of the line home
        return cls(EvaluationError(one_line(error)), isinstance(error, RuntimeError | OSError))


def raise_first(failures: Sequence[Failure], workers: int, lost: str | None) -> None:
    """Raise what went wrong first of all, if anything did.

    Args:
        failures: In the order in which they became known.
        workers: How many processes there were.
        lost: How a process died without a word, if one did.

    Raises:
        NetloomError: What a process raised.
        EvaluationError: If a process died.
    """
    own = [f.error for f in failures if not f.follows]
    if own:
        raise own[0]
    if lost is not None:
        raise EvaluationError(
            f"WorkerLost: one of {workers} workers that train together died ({lost}); the last "
            "checkpoint is kept: resume the search"
        )
    if failures:
        raise failures[0].error
