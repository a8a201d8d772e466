"""Small images of geometric shapes: as many as wanted, as hard as wanted, without a file."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...errors import SpecError
from .dataset import DataSet, Split, Splits
from .drawing import SHAPES, Level, draw

LEVELS = {
    1: Level((0.65, 0.75), 0.10, 0.00, (0.60, 0.80), 0.00, 0.05, 0),
    2: Level((0.55, 0.75), 0.20, 0.15, (0.50, 0.80), 0.10, 0.10, 0),
    3: Level((0.50, 0.75), 0.25, 1.00, (0.50, 0.80), 0.15, 0.10, 0),
    4: Level((0.50, 0.75), 0.25, 1.00, (0.40, 0.70), 0.20, 0.12, 1),
    5: Level((0.45, 0.75), 0.25, 1.00, (0.30, 0.60), 0.30, 0.15, 2),
}


class Shapes(DataSet):
    """Images of one shape each, bytes, drawn by a seed; equal on every machine.

    A class is a shape (`netloom.estimators.data.drawing.SHAPES` names them, in this order);
    position, size, rotation, colours, noise and what hides a part of it say nothing about the
    class. Classes are equally frequent in every split.

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

    Raises:
        SpecError: If an option is outside what is said here.
    """

    name: ClassVar[str] = "shapes"
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
    ) -> None:
        _at_least("classes", classes, 2, len(SHAPES))
        _at_least("resolution", resolution, 8)
        _at_least("channels", channels, 1)
        _at_least("difficulty", difficulty, 1, max(LEVELS))
        _at_least("seed", seed, 0)
        if min(valid, test) <= 0 or valid + test >= 1:
            raise SpecError(
                f"shapes: valid and test must be shares above 0, together below 1, got {valid} "
                f"and {test}"
            )
        self.classes, self.resolution, self.in_channels = classes, resolution, channels
        self.examples, self.difficulty, self.seed = examples, difficulty, seed
        self.valid, self.test = valid, test
        if (least := min(self._sizes())) < classes:
            raise SpecError(
                f"shapes: every split must have an example of each of the {classes} classes, got "
                f"{least} in the smallest of {examples} examples; ask for more examples"
            )

    def load(self) -> Splits:
        """Draw the images; 2,000 of 16x16 take a fifth of a second."""
        labels = np.arange(self.examples) % self.classes
        drawn = draw(
            labels,
            side=self.resolution,
            channels=self.in_channels,
            level=LEVELS[self.difficulty],
            seed=self.seed,
        )
        ends = np.cumsum(self._sizes())
        parts = [
            Split(drawn.images[a:b], labels[a:b]) for a, b in zip([0, *ends], ends, strict=False)
        ]
        return Splits(*parts)

    def _sizes(self) -> tuple[int, int, int]:
        """Return the examples of train, valid and test."""
        valid, test = round(self.valid * self.examples), round(self.test * self.examples)
        return self.examples - valid - test, valid, test


def _at_least(name: str, value: int, least: int, most: int | None = None) -> None:
    if value < least or (most is not None and value > most):
        rule = f"at least {least}" if most is None else f"{least} to {most}"
        raise SpecError(f"shapes: {name} must be {rule}, got {value}")
