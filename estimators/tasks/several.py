"""Networks that answer several tasks at once: what they must give, their loss, their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import EvaluationError
from ..data.labels import CLASSIFICATION, DETECTION, SEGMENTATION, Boxes, Labels, take
from . import losses, metrics
from .detection import Detections, detect, detection_loss

Outputs = Mapping[str, Any]
"""By task: classification, logits (n, classes); segmentation, logits (n, classes, h, w) of images
at least as large; detection, levels (`detection.Level`) from the finest stride to the coarsest."""


def tensors(labels: Labels, device: torch.device) -> dict[str, Any]:
    """Return labels as tensors on a device; masks stay bytes."""

    def move(array: Any) -> Tensor:
        return torch.from_numpy(array).to(device)

    return {t: v.map(move) if isinstance(v, Boxes) else move(v) for t, v in labels.items()}


def batch(labels: Labels, index: Tensor) -> dict[str, Any]:
    """Return the targets of the examples at `index`; class numbers are int64."""
    return {
        task: value if isinstance(value, Boxes) else value.long()
        for task, value in take(labels, index).items()
    }


def loss_of(outputs: Outputs, targets: Labels, size: tuple[int, int], smoothing: float) -> Tensor:
    """Return the sum of the losses of all tasks; without a gradient where nothing is known.

    Args:
        outputs: As `checked` returns them.
        targets: Of the same tasks, as `batch` returns them.
        size: Height and width of the images, in pixels.
        smoothing: Of the classes of images.
    """
    total = torch.zeros((), device=_first(outputs).device)
    for task, output in outputs.items():
        if task == CLASSIFICATION:
            loss = losses.classification_loss(output.float(), targets[task], smoothing)
        elif task == SEGMENTATION:
            loss = losses.segmentation_loss(output.float(), targets[task])
        else:
            loss = detection_loss(output, targets[task], size)
        total = total + loss
    return total


class Scores:
    """Collects what a network says of a split, batch by batch.

    Args:
        labels: Of the whole split, as tensors.
    """

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._logits: list[Tensor] = []
        self._pixels: list[Tensor] = []
        self._found: list[Detections] = []

    def add(self, outputs: Outputs, index: Tensor, size: tuple[int, int]) -> None:
        """Take the outputs for the examples at `index`, which follow those added before."""
        for task, output in outputs.items():
            if task == CLASSIFICATION:
                self._logits.append(output.float())
            elif task == SEGMENTATION:
                masks = self._labels[task][index].long()
                self._pixels.append(metrics.confusion(output.float(), masks))
            else:
                self._found += [
                    Detections(*(part.cpu() for part in one)) for one in detect(output, size)
                ]

    def result(self) -> dict[str, float]:
        """Return `accuracy`, `miou` and `map` of the tasks that there are, in per cent."""
        of_task: dict[str, tuple[str, Callable[[], float]]] = {
            CLASSIFICATION: ("accuracy", self._accuracy),
            SEGMENTATION: ("miou", lambda: metrics.mean_iou(torch.stack(self._pixels).sum(0))),
            DETECTION: ("map", self._map),
        }
        asked = [of_task[task] for task in self._labels]
        return {name: function() for name, function in asked}

    def _accuracy(self) -> float:
        return metrics.accuracy(torch.cat(self._logits), self._labels[CLASSIFICATION])

    def _map(self) -> float:
        boxes = self._labels[DETECTION].map(lambda values: values.cpu())
        return metrics.mean_average_precision(self._found, boxes)


def checked(
    outputs: object, classes: Mapping[str, int], n: int, size: tuple[int, int]
) -> dict[str, Any]:
    """Return a network's outputs by task, if they are what they must be.

    Args:
        outputs: By task; those of a single task may come without its name.
        classes: Number of classes of each task.
        n: Examples.
        size: Height and width of the images, in pixels.

    Raises:
        EvaluationError: If a task is missing or not asked for, or a shape is another one.
    """
    if len(classes) == 1 and not isinstance(outputs, Mapping):
        outputs = {next(iter(classes)): outputs}
    if not isinstance(outputs, Mapping) or set(outputs) != set(classes):
        got = list(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise EvaluationError(
            f"training: a network must return a dictionary with the outputs of "
            f"{', '.join(classes)}, got {got}; set the space's option tasks to the data set's"
        )
    for task, number in classes.items():
        if task == DETECTION:
            _check_levels(outputs[task], n, number)
        elif task == CLASSIFICATION:
            _check(task, outputs[task], (n, number))
        else:
            _check(task, outputs[task], (n, number, None, None))
            h, w = outputs[task].shape[2:]
            if not (0 < h <= size[0] and 0 < w <= size[1]):
                raise EvaluationError(
                    f"training: the map of {task} must not be larger than the images of "
                    f"{size[0]}x{size[1]} pixels, got {h}x{w}"
                )
    return {task: outputs[task] for task in classes}


def _check_levels(levels: object, n: int, number: int) -> None:
    if not isinstance(levels, Sequence) or not levels:
        raise EvaluationError(
            f"training: {DETECTION} must give a list with a heat map and boxes for each stride, "
            f"got {type(levels).__name__}"
        )
    for level in levels:
        if not isinstance(level, Sequence) or len(level) != 2:
            raise EvaluationError(
                f"training: a level of {DETECTION} must be a heat map and boxes, got "
                f"{type(level).__name__}"
            )
        _check(DETECTION, level[0], (n, number, None, None))
        _check(DETECTION, level[1], (n, 4, *level[0].shape[2:]))


def _check(task: str, output: object, shape: tuple[int | None, ...]) -> None:
    """Compare a shape with the one wanted; None stands for any number."""
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    fits = len(got) == len(shape) and all(s in (None, g) for g, s in zip(got, shape, strict=True))
    if isinstance(got, str) or not fits:
        text = ", ".join("any" if s is None else str(s) for s in shape)
        raise EvaluationError(
            f"training: the output of {task} must have the shape (batch, classes, ...) = ({text}), "
            f"got {got}; set the classes of the task in the space's option tasks"
        )


def _first(outputs: Outputs) -> Tensor:
    """Return a tensor of the outputs."""
    value = next(iter(outputs.values()))
    while not isinstance(value, Tensor):
        value = value[0]
    return value
