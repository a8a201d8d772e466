"""What training knew of its data: the scale of inputs and targets, their range, their shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import EvaluationError, MissingDependency, NetloomError, SpecError
from ..run.describe import changed_data
from ..run.parts import make_data

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord
    from ..run.spec import Named

Scale = tuple[list[float], list[float]]
UNUSABLE = (MissingDependency, EvaluationError, SpecError)  # not there, damaged, of other options


@dataclass(frozen=True)
class Examples:
    """What training knew of a data set.

    Args:
        scale: Mean and deviation of the training inputs per channel.
        targets: Those of the targets of a regression.
        shape: Of an input, without the batch.
        bounds: The least and the largest number among the training inputs, before they are scaled.
        dtype: Their type, `uint8` or `float32`; empty: not known.
        unscaled: Why none of that is known; it names no place of this machine.
        problem: What is wrong with the data of today, where the experiment had some.
    """

    scale: Scale | None = None
    targets: Scale | None = None
    shape: tuple[int, ...] = ()
    bounds: tuple[float, float] | None = None
    dtype: str = ""
    unscaled: str = ""
    problem: NetloomError | None = None


def found_data(named: Named | None) -> tuple[Any, NetloomError | None]:
    """Return the data set that a stored spec names, not loaded, or why there is none any more."""
    if named is None:
        return None, None
    try:
        return make_data(named)[0], None
    except UNUSABLE as error:
        return None, error


def read_examples(record: ExperimentRecord, data: Any, absent: NetloomError | None) -> Examples:
    """Return what training knew of the data of an experiment; they are loaded for it.

    Args:
        record: The experiment.
        data: Its data set as it is today.
        absent: Why there is none, where it had one.
    """
    from ...estimators import DataSet

    if absent is not None:
        return _unknown("the data that it was trained on are not there", absent)
    if not isinstance(data, DataSet):
        return Examples(unscaled="the experiment has no data set")
    try:
        if changed := changed_data(record, data):
            return _unknown(changed, SpecError(changed))
        return _read(data)
    except UNUSABLE as error:
        return _unknown("the data that it was trained on are not there", error)


def _read(data: Any) -> Examples:
    from torch import device

    from ...estimators import loop

    ready = loop.prepared(data, device("cpu"), tasks=True)
    inputs, targets = (
        None if s is None else (s.mean.flatten().tolist(), s.std.flatten().tolist())
        for s in (ready.inputs, ready.targets)
    )
    x = data.splits().train.x
    return Examples(
        inputs, targets, tuple(x.shape[1:]), (float(x.min()), float(x.max())), str(x.dtype)
    )


def _unknown(why: str, problem: NetloomError) -> Examples:
    return Examples(unscaled=why, problem=problem)


def problem_text(problem: NetloomError) -> str:
    """Return what is wrong with the data on one line, without the remedy: that is another here."""
    return " ".join(str(problem).split()).partition("; ")[0]


def layout(shape: Sequence[int]) -> str:
    """Return what the dimensions of a batch are: `N x C x H x W`, `N x features`."""
    known = {2: "N x features", 4: "N x C x H x W"}
    return known.get(len(shape)) or " x ".join(["N", *map(str, shape[1:])])
