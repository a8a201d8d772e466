"""The tasks of FBNetV5: what a head reads, what it is trained on, what it may cost.

A user's task is an object in the option `tasks`; nothing knows how many there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from ...errors import SpecError, did_you_mean
from ..networks.fbnetv5_plan import Plan

_HEADS = "netloom.spaces.networks.fbnetv5_heads"


@dataclass(frozen=True)
class Task:
    """What one task is.

    Args:
        name: By which outputs, masks and labels of a batch are told apart.
        head: Import path of the function `(widths, strides, classes, **options)` that makes the
            head, which takes the map of each path that it reads.
        reads: The paths that it reads, from 0 (the largest map).
        classes: Number of classes.
        options: Further arguments of the head.
        label: Key of its labels in a batch.
        loss: Import path of the loss; None: what its kind is trained with.
        budget: The most that its network may cost: metric -> value.
    """

    name: str
    head: str
    reads: tuple[int, ...]
    classes: int
    options: tuple[tuple[str, Any], ...] = ()
    label: str = ""
    loss: str | None = None
    budget: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class _Kind:
    """A task that needs no more than its name; `reads` counts from the last path if negative."""

    head: str
    first: int | None  # path that it reads; None: the last one alone
    classes: int
    option: str  # of the space, an argument of the head


# classes: of ImageNet, COCO, ADE20K
KINDS = {
    "classification": _Kind(f"{_HEADS}:Classification", None, 1000, "features"),
    "detection": _Kind(f"{_HEADS}:Detection", 1, 80, "head_channels"),
    "segmentation": _Kind(f"{_HEADS}:Segmentation", 0, 150, "head_channels"),
}
_ARGUMENTS = {
    "features": "features",
    "head_channels": "channels",
}  # option of the space -> of heads
_KEYS = {field.name for field in fields(Task)}


def read_tasks(
    value: Any, plan: Plan, classes: int | None, options: Mapping[str, Any]
) -> tuple[Task, ...]:
    """Return the tasks that the option `tasks` lists.

    Args:
        value: Names of known tasks, and objects with at least a name.
        plan: Of the super-network, for the paths that are read.
        classes: Of every task that does not say its own; None: those of its kind.
        options: Of the space.

    Raises:
        SpecError: If one is no task, or two have one name.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SpecError(f"tasks must be a list of names and objects, got {value!r}")
    found = tuple([_task(each, plan, classes, options) for each in value])
    names = [task.name for task in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SpecError(f"tasks must have names of their own, got {twice[0]!r} more than once")
    return found


def _task(value: Any, plan: Plan, classes: int | None, options: Mapping[str, Any]) -> Task:
    given: dict[str, Any] = {"name": value} if isinstance(value, str) else _object(value)
    name = given.pop("name")
    kind = KINDS.get(name)
    if kind is None and "head" not in given:
        raise SpecError(
            f"tasks: a task of your own needs a head, the import path package.module:function of "
            f"what makes it; {name!r} is none of {', '.join(KINDS)}"
            f"{did_you_mean(str(name), KINDS)}"
        )
    n = given.get("classes", classes if classes is not None or kind is None else kind.classes)
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise SpecError(
            f"tasks: {name}: classes must be an integer of at least 1, got {n!r}; set it here, or "
            "the option classes of the space"
        )
    own = _pairs(name, "options", given.get("options", {}))
    if kind is not None and "head" not in given:
        own = {_ARGUMENTS[kind.option]: options[kind.option], **own}
    label, loss = given.get("label", name), given.get("loss")
    return Task(
        name=name,
        head=_path(name, "head", given.get("head", kind and kind.head)),
        reads=_reads(name, given.get("reads"), kind, len(plan.widths)),
        classes=n,
        options=tuple(sorted(own.items())),
        label=_text(name, "label", label),
        loss=None if loss is None else _path(name, "loss", loss),
        budget=tuple(sorted(_budget(name, given.get("budget", {})).items())),
    )


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or "name" not in value:
        raise SpecError(f"tasks: a task is a name, or an object with a name, got {value!r}")
    for key in value:
        if key not in _KEYS:
            raise SpecError(f"tasks: a task has no {key!r}{did_you_mean(str(key), _KEYS)}")
    if not isinstance(value["name"], str) or not re.fullmatch(r"[A-Za-z_]\w*", value["name"]):
        raise SpecError(
            f"tasks: a name is made of letters, digits and underscores, got {value['name']!r}"
        )
    return dict(value)


def _reads(name: str, value: Any, kind: _Kind | None, paths: int) -> tuple[int, ...]:
    if value is None:
        first = (
            0 if kind is None else paths - 1 if kind.first is None else min(kind.first, paths - 1)
        )
        return tuple(range(first, paths))
    good = not isinstance(value, str) and isinstance(value, Sequence) and len(value) > 0
    if not good or any(isinstance(p, bool) or p not in range(paths) for p in value):
        raise SpecError(
            f"tasks: {name}: reads must list paths, 0 to {paths - 1}, at least one; got {value!r}"
        )
    if list(value) != sorted(set(value)):
        raise SpecError(f"tasks: {name}: reads must rise, got {list(value)}")
    return tuple(value)


def _path(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[\w.]+:[\w.]+", value):
        raise SpecError(
            f"tasks: {name}: {key} must be an import path package.module:name, got {value!r}"
        )
    return value


def _text(name: str, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise SpecError(f"tasks: {name}: {key} must be a text, got {value!r}")
    return value


def _pairs(name: str, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"tasks: {name}: {key} must be an object, got {value!r}")
    return dict(value)


def _budget(name: str, value: Any) -> dict[str, float]:
    found = _pairs(name, "budget", value)
    for metric, most in found.items():
        if isinstance(most, bool) or not isinstance(most, int | float) or most <= 0:
            raise SpecError(
                f"tasks: {name}: the budget of {metric} must be a number above 0, got {most!r}"
            )
    return {str(metric): float(most) for metric, most in found.items()}
