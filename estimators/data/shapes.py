"""Small images of geometric shapes: as many as wanted, as hard as wanted, without a file."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ...errors import SpecError
from . import labels
from .dataset import Array, DataSet, Split, Splits
from .drawing import SHAPES, Level, Scenes, draw, draw_several
from .labels import ABSENT, CLASSIFICATION, IGNORED, SEGMENTATION, Boxes, Task

LEVELS = {
    1: Level((0.65, 0.75), 0.10, 0.00, (0.60, 0.80), 0.00, 0.05, 0),
    2: Level((0.55, 0.75), 0.20, 0.15, (0.50, 0.80), 0.10, 0.10, 0),
    3: Level((0.50, 0.75), 0.25, 1.00, (0.50, 0.80), 0.15, 0.10, 0),
    4: Level((0.50, 0.75), 0.25, 1.00, (0.40, 0.70), 0.20, 0.12, 1),
    5: Level((0.45, 0.75), 0.25, 1.00, (0.30, 0.60), 0.30, 0.15, 2),
}


class Shapes(DataSet):
    """Images of one shape each, or of several, bytes, drawn by a seed; equal on every machine.

    A class is a shape (`netloom.estimators.data.drawing.SHAPES` names them, in this order);
    position, size, rotation, colours, noise and what hides a part of it say nothing about the
    class. Classes are equally frequent in every split.

    In several tasks at once, an example has a class, a box around what is to be seen of each
    shape, and a mask of the class of each pixel plus 1, 0 for background and patches. The options
    `tasks` and `missing` change no image.

    Args:
        classes: 2 to 12, the first ones of the list.
        resolution: Side of the images in pixels, at least 8; rotated shapes need 16 to be told
            from each other.
        channels: 1 for grey, 3 for colours.
        examples: Of all three splits.
        difficulty: 1 (upright, in the middle, clear) to 5 (anywhere, any way up, faint, noisy,
            two patches on it); `netloom.estimators.data.shapes.LEVELS` has the numbers.
        valid: Share of the validation split.
        test: Share of the test split.
        seed: Decides the images; not the trial's seed.
        tasks: Any of `classification`, `detection`, `segmentation`; None: the class alone, as y.
        objects: Most shapes of an image, 1 to 8; one to as many are equally frequent. Where there
            may be several, the class is that of the largest, and images need 32 pixels.
        missing: Share of the labels of the training split that are left out, in each task apart.

    Raises:
        SpecError: If an option is outside what is said here.
    """

    name: ClassVar[str] = "shapes"
    licence: ClassVar[str] = "none needed: the images are drawn by netloom"
    classes: int

    def __init__(
        self,
        *,
        classes: int = 10,
        resolution: int = 16,
        channels: int = 1,
        examples: int = 2000,
        difficulty: int = 3,
        valid: float = 0.2,
        test: float = 0.2,
        seed: int = 0,
        tasks: list[Task] | None = None,
        objects: int = 1,
        missing: float = 0.0,
    ) -> None:
        _at_least("classes", classes, 2, len(SHAPES))
        _at_least("resolution", resolution, 8)
        _at_least("channels", channels, 1)
        _at_least("difficulty", difficulty, 1, max(LEVELS))
        _at_least("seed", seed, 0)
        _at_least("objects", objects, 1, 8)
        if objects > 1:
            _at_least("resolution of several objects", resolution, 32)
        labels.check_tasks("shapes", tasks or ())
        if not 0 <= missing < 1 or (missing and not tasks):
            raise SpecError(
                "shapes: missing must be a share of the labels of tasks, from 0 to below 1, got "
                f"{missing} of {', '.join(tasks or ()) or 'no task'}"
            )
        if min(valid, test) <= 0 or valid + test >= 1:
            raise SpecError(
                f"shapes: valid and test must be shares above 0, together below 1, got {valid} "
                f"and {test}"
            )
        self.classes, self.resolution, self.in_channels = classes, resolution, channels
        self.examples, self.difficulty, self.seed = examples, difficulty, seed
        self.valid, self.test = valid, test
        self.tasks, self.objects, self.missing = tuple(tasks or ()), objects, missing
        if (least := min(self._sizes())) < classes:
            raise SpecError(
                f"shapes: every split must have an example of each of the {classes} classes, got "
                f"{least} in the smallest of {examples} examples; ask for more examples"
            )

    def identity(self) -> dict[str, Any]:
        """All options; what is left at one class per image does not count."""
        plain = {"tasks": (), "objects": 1, "missing": 0.0}
        return {k: v for k, v in super().identity().items() if k not in plain or v != plain[k]}

    def load(self) -> Splits:
        """Draw the images; 2,000 of 16x16 take a fifth of a second."""
        classes = np.arange(self.examples) % self.classes
        scenes = self._draw(classes)
        said = {task: _label(task, scenes, self.objects) for task in self.tasks}
        parts, start = [], 0
        for size in self._sizes():
            part = np.arange(start, start + size)
            parts.append(Split(scenes.images[part], classes[part], labels.take(said, part)))
            start += size
        train, valid, test = parts
        return Splits(Split(train.x, train.y, self._thinned(train.labels)), valid, test)

    def _draw(self, classes: Array) -> Scenes:
        level, side, channels = LEVELS[self.difficulty], self.resolution, self.in_channels
        if self.objects > 1:
            return draw_several(
                classes,
                classes=self.classes,
                objects=self.objects,
                side=side,
                channels=channels,
                level=level,
                seed=self.seed,
            )
        drawn = draw(classes, side=side, channels=channels, level=level, seed=self.seed)
        return Scenes(drawn.images, classes[:, None], drawn.masks.astype(np.int64) - 1)

    def _thinned(self, said: labels.Labels) -> dict[str, Any]:
        """Return the labels without a share of them, drawn for each task apart."""
        if not self.missing:
            return dict(said)
        kept = {}
        for task, value in said.items():
            # bits of the generator itself: numpy keeps their stream
            raw = np.random.PCG64([self.seed, labels.TASKS.index(task)]).random_raw(len(value))
            kept[task] = _without(value, raw < np.uint64(self.missing * 2.0**64))
        return kept

    def _sizes(self) -> tuple[int, int, int]:
        """Return the examples of train, valid and test."""
        valid, test = round(self.valid * self.examples), round(self.test * self.examples)
        return self.examples - valid - test, valid, test


def _label(task: str, scenes: Scenes, objects: int) -> Any:
    """Return what a task says of scenes."""
    if task == CLASSIFICATION:
        return scenes.labels[:, 0]
    if task == SEGMENTATION:
        images = np.arange(len(scenes.owners))[:, None, None]
        classes = scenes.labels[images, scenes.owners] + 1
        return np.where(scenes.owners < 0, 0, classes).astype(np.uint8)
    corners, there = zip(
        *(labels.boxes_around(scenes.owners == k) for k in range(objects)), strict=True
    )
    seen = np.stack(there, 1)
    return Boxes(
        np.stack(corners, 1),
        np.where(seen, scenes.labels, ABSENT),
        np.zeros(seen.shape, bool),
        np.ones(len(seen), bool),
    )


def _without(value: Any, gone: Array) -> Any:
    """Return a label with that of some examples not known."""
    if isinstance(value, Boxes):
        corners = np.where(gone[:, None, None], np.float32(0), value.corners)
        classes = np.where(gone[:, None], ABSENT, value.classes)
        return Boxes(corners, classes, value.crowd, value.known & ~gone)
    if value.ndim == 1:
        return np.where(gone, ABSENT, value)
    return np.where(gone[:, None, None], np.uint8(IGNORED), value)


def _at_least(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        rule = f"at least {least}" if most is None else f"{least} to {most}"
        raise SpecError(f"shapes: {name} must be {rule}, got {value}")
