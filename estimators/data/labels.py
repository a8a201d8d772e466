"""What is said of images in several tasks at once: classes, boxes and masks, or nothing yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ...errors import SpecError

Array: TypeAlias = npt.NDArray[Any]
Values: TypeAlias = Any  # a numpy array on its way, a torch tensor in a batch
Task: TypeAlias = Literal["classification", "detection", "segmentation"]

CLASSIFICATION: Task = "classification"
DETECTION: Task = "detection"
SEGMENTATION: Task = "segmentation"
TASKS: tuple[Task, ...] = (CLASSIFICATION, DETECTION, SEGMENTATION)
ABSENT = -1  # class of an example that nobody named, and of a row that holds no box
IGNORED = 255  # a pixel that nobody named


@dataclass(frozen=True)
class Boxes:
    """The boxes of n images, each in as many rows as the fullest image needs.

    Args:
        corners: (n, rows, 4), left, top, right, bottom in pixels from the upper left corner of the
            image; a box around the pixels 2 and 3 of a line goes from 2 to 4.
        classes: (n, rows), integers; `ABSENT` where a row holds no box.
        crowd: (n, rows), whether a box is around many objects of its class, none of which is
            boxed: nothing to be found, and no mistake where something is.
        known: (n,), whether somebody looked: an image without a box has nothing in it where it
            is known, and counts for nothing where it is not.
    """

    corners: Values
    classes: Values
    crowd: Values
    known: Values

    def __len__(self) -> int:
        return len(self.known)

    def map(self, function: Callable[[Values], Values]) -> Boxes:
        """Return the boxes with a function applied to each of the four arrays."""
        return Boxes(*map(function, (self.corners, self.classes, self.crowd, self.known)))

    def take(self, index: Values) -> Boxes:
        """Return the boxes of the images at `index`, in that order."""
        return self.map(lambda values: values[index])


Labels: TypeAlias = Mapping[str, Any]
"""Per task: classes (n,) int64, `ABSENT` where not known; `Boxes`; masks (n, side, side), uint8 in
memory and int64 in a batch, `IGNORED` where not known."""


class Found(NamedTuple):
    """The boxes of one image: corners (k, 4), classes (k,), crowd (k,)."""

    corners: Array
    classes: Array
    crowd: Array


def take(labels: Labels, index: Values) -> dict[str, Any]:
    """Return the labels of the examples at `index`, in that order."""
    return {
        task: value.take(index) if isinstance(value, Boxes) else value[index]
        for task, value in labels.items()
    }


def collate(
    examples: Sequence[Mapping[str, Any]], *, tasks: Sequence[str], side: int
) -> dict[str, Any]:
    """Put the labels of single examples together.

    Args:
        examples: For each a class number, a `Found` and a mask (side, side) by their task; None,
            or no entry, where it is not known.
        tasks: The tasks wanted.
        side: Of the images, in pixels.
    """
    rows = {task: [example.get(task) for example in examples] for task in tasks}
    labels: dict[str, Any] = {}
    for task, values in rows.items():
        if task == CLASSIFICATION:
            labels[task] = np.array([ABSENT if v is None else v for v in values], dtype=np.int64)
        elif task == DETECTION:
            labels[task] = _boxes(values)
        else:
            masks = np.full((len(values), side, side), IGNORED, dtype=np.uint8)
            for mask, value in zip(masks, values, strict=True):
                if value is not None:
                    mask[:] = value
            labels[task] = masks
    return labels


def _boxes(found: Sequence[Found | None]) -> Boxes:
    most = max((len(f.classes) for f in found if f is not None), default=0)
    shape = (len(found), most)
    boxes = Boxes(
        np.zeros((*shape, 4), np.float32),
        np.full(shape, ABSENT, np.int64),
        np.zeros(shape, bool),
        np.array([f is not None for f in found], dtype=bool),
    )
    for i, f in enumerate(found):
        if f is not None:
            k = len(f.classes)
            boxes.corners[i, :k], boxes.classes[i, :k], boxes.crowd[i, :k] = f
    return boxes


def boxes_around(masks: Array) -> tuple[Array, Array]:
    """Return the smallest box around each mask (..., height, width), and whether there is one.

    Returns:
        Corners (..., 4), float32, zeros where the mask is empty; and (...), bool.
    """
    columns, rows = np.asarray(masks.any(-2)), np.asarray(masks.any(-1))
    there = np.asarray(rows.any(-1))
    corners = [
        columns.argmax(-1),
        rows.argmax(-1),
        columns.shape[-1] - columns[..., ::-1].argmax(-1),
        rows.shape[-1] - rows[..., ::-1].argmax(-1),
    ]
    return np.where(there[..., None], np.stack(corners, -1), 0).astype(np.float32), there


def check_tasks(label: str, tasks: Sequence[str], allowed: Sequence[str] = TASKS) -> None:
    """Refuse tasks that a data set has not.

    Raises:
        SpecError: If one is unknown or named twice.
    """
    wrong = [task for task in tasks if task not in allowed]
    if wrong or len(set(tasks)) < len(tasks):
        raise SpecError(
            f"data set {label}: tasks takes any of {', '.join(allowed)}, each once, got "
            f"{', '.join(tasks)}"
        )


def check_labels(
    labels: Labels, classes: Mapping[str, int], *, examples: int, side: int, refuse: Any
) -> None:
    """Compare labels with what a data set declares.

    Args:
        labels: Of one split.
        classes: Number of classes of each task.
        examples: How many there are.
        side: Of the images, in pixels.
        refuse: Makes an error of a rule and of what was got.

    Raises:
        SpecError: What `refuse` makes.
    """
    if set(labels) != set(classes):
        raise refuse(f"labels must be those of {', '.join(classes) or 'no task'}", list(labels))
    for task, value in labels.items():
        if len(value) != examples:
            raise refuse(f"{task} must have a label for each of {examples} examples", len(value))
        if task == DETECTION:
            _check_boxes(value, classes[task], side, refuse)
        elif task == CLASSIFICATION:
            _check_numbers(task, value, (examples,), classes[task], ABSENT, refuse)
        else:
            _check_numbers(task, value, (examples, side, side), classes[task], IGNORED, refuse)


def _check_numbers(
    task: str, value: Array, shape: tuple[int, ...], classes: int, absent: int, refuse: Any
) -> None:
    if value.dtype.kind not in "iu" or value.shape != shape:
        raise refuse(f"{task} must be integers of shape {shape}", f"{value.dtype} {value.shape}")
    named = value[value != absent]
    if named.size and (named.min() < 0 or named.max() >= classes):
        rule = f"{task} must be 0..{classes - 1}, or {absent} where it is not known"
        raise refuse(rule, f"{named.min()}..{named.max()}")


def _check_boxes(boxes: Boxes, classes: int, side: int, refuse: Any) -> None:
    shape = boxes.classes.shape
    if boxes.corners.shape != (*shape, 4) or boxes.crowd.shape != shape or len(shape) != 2:
        raise refuse("detection must have corners (n, rows, 4), classes and crowd (n, rows)", shape)
    _check_numbers(DETECTION, boxes.classes, shape, classes, ABSENT, refuse)
    filled = boxes.classes != ABSENT
    if filled[~boxes.known].any():
        raise refuse("an image whose boxes are not known must have none", int(filled.sum()))
    corners = boxes.corners[filled]
    inside = (corners >= 0).all(-1) & (corners <= side).all(-1)
    inside &= (corners[:, 0] < corners[:, 2]) & (corners[:, 1] < corners[:, 3])
    if not inside.all():
        rule = f"boxes must be left < right and top < bottom, within 0..{side} pixels"
        raise refuse(rule, corners[~inside][0].tolist())
