"""Images from files, made to fit a square without a change of their shape."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from ...errors import EvaluationError
from .labels import IGNORED, Array

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


def open_image(file: Path, mode: str | None, *, label: str) -> Image.Image:
    """Return an image that was read.

    Args:
        file: Where it is.
        mode: `RGB` or `L` to convert it; None: as it is stored.
        label: Of the data set, for messages.

    Raises:
        EvaluationError: If it is none.
    """
    try:
        with Image.open(file) as opened:
            if mode is not None:
                return opened.convert(mode)
            opened.load()
            return opened.copy()
    except _UNREADABLE as error:
        raise EvaluationError(
            f"data set {label}: {file} must be an image, got one that cannot be read "
            f"({type(error).__name__}: {error}); repair it or remove it"
        ) from error


def planes(image: Image.Image) -> Array:
    """Return the bytes of an image, (channels, height, width)."""
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


class Fit(NamedTuple):
    """How an image is put in the middle of a square: scaled so that the longer side fits.

    Args:
        width: Of the image, in pixels.
        height: Of the image, in pixels.
        side: Of the square, in pixels.
    """

    width: int
    height: int
    side: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what the image becomes."""
        longer = max(self.width, self.height)
        width, height = (max(1, round(v * self.side / longer)) for v in (self.width, self.height))
        return width, height

    @property
    def corner(self) -> tuple[int, int]:
        """Left and top of what the image becomes."""
        width, height = self.size
        return (self.side - width) // 2, (self.side - height) // 2

    def image(self, image: Image.Image) -> Array:
        """Return the image, (channels, side, side); zeros are around it."""
        square = Image.new(image.mode, (self.side, self.side))
        square.paste(image.resize(self.size, Image.Resampling.BILINEAR), self.corner)
        return planes(square)

    def mask(self, mask: Array) -> Array:
        """Return a mask (height, width) as (side, side); `IGNORED` is around it."""
        square = Image.new("L", (self.side, self.side), IGNORED)
        small = Image.fromarray(mask.astype(np.uint8)).resize(self.size, Image.Resampling.NEAREST)
        square.paste(small, self.corner)
        return np.asarray(square)

    def boxes(self, corners: Array) -> Array:
        """Return the corners (k, 4) of boxes in the square."""
        width, height = self.size
        scale = np.array([width / self.width, height / self.height] * 2)
        moved: Array = corners * scale + np.array([*self.corner, *self.corner])
        return moved.astype(np.float32)
