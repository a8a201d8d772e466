"""A data set of one's own: declare its shape, load three splits.

    netloom search examples/custom_data.yaml

`Wafers` draws maps of defects on silicon wafers. Replace `_draw` by reading your own files: what
matters is what the class declares and that `load` gives the same splits every time.
"""

from __future__ import annotations

import numpy as np

from netloom.errors import SpecError
from netloom.estimators import DataSet, Split, Splits
from netloom.estimators.data.dataset import three_ways

PATTERNS = ("random", "centre", "edge", "scratch")


class Wafers(DataSet):
    """Maps of defective dies (1x16x16, values 0 and 1) and the pattern behind them.

    Args:
        wafers: How many to draw.
        defects: Share of defective dies outside the pattern.
    """

    name = "wafers"
    in_channels, resolution, classes = 1, 16, len(PATTERNS)

    def __init__(self, *, wafers: int = 2000, defects: float = 0.05) -> None:
        if not 0 <= defects < 1:
            raise SpecError(f"wafers: defects must be a share in 0..1, got {defects}")
        self.wafers, self.defects = wafers, defects

    def load(self) -> Splits:
        """Draw the wafers and cut them into 60 / 20 / 20 per cent, pattern by pattern."""
        rng = np.random.default_rng(0)  # the data are one set, whatever the trial's seed
        y = rng.integers(0, self.classes, self.wafers)
        x = np.stack([self._draw(PATTERNS[label], rng) for label in y])
        whole = Split(x.astype(np.float32)[:, None], y)
        return three_ways(whole, valid=0.2, test=0.2, seed=0, stratify=True)

    def _draw(self, pattern: str, rng: np.random.Generator) -> np.ndarray:
        side = np.linspace(-1, 1, self.resolution)
        across, down = np.meshgrid(side, side)
        radius = np.hypot(across, down)
        angle = rng.uniform(0, np.pi)
        distance = np.abs(across * np.sin(angle) - down * np.cos(angle) - rng.uniform(-0.4, 0.4))
        zone = {
            "random": radius < 0,
            "centre": radius < rng.uniform(0.25, 0.45),
            "edge": (radius > rng.uniform(0.7, 0.85)) & (radius < 1),
            "scratch": distance < 0.1,
        }[pattern]
        likely = np.where(zone, rng.uniform(0.5, 0.9), self.defects)
        return (rng.random(zone.shape) < likely) & (radius < 1)
