"""Draws geometric shapes, one or several per image, the same pixels on every machine.

Nothing but integers and the arithmetic that IEEE 754 rounds exactly decides a pixel: random bits
are read from the bit generator itself (numpy keeps its stream, unlike that of its distributions),
sines are rounded to a grid, and no sum depends on the width of a vector unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from .dataset import Array

Floats = npt.NDArray[np.float64]

_GRID = 2.0**20  # sines and cosines are multiples of 1 / _GRID
_TURNS = 512  # rotations
_EDGE = 2.0 / 3  # of a patch, share of the radius that is left free of it on average
_LARGEST, _OTHERS = 0.6, 0.4  # radii where there are several shapes, in those of a single one


@dataclass(frozen=True)
class Level:
    """How much images of one class differ.

    Lengths are shares of half the side of the image, brightness is 0..1.

    Args:
        radius: Smallest and largest radius of the circle around a shape.
        shift: Largest distance of its centre from that of the image, in either direction.
        turn: Largest rotation to either side, as a share of half a turn.
        contrast: Smallest and largest difference of brightness between shape and background.
        slope: Largest change of the background's brightness from its middle to an edge.
        noise: Standard deviation of what is added to every value.
        patches: Rectangles of any colour that lie on the shape.
    """

    radius: tuple[float, float]
    shift: float
    turn: float
    contrast: tuple[float, float]
    slope: float
    noise: float
    patches: int


@dataclass(frozen=True)
class Drawn:
    """Images, and where the shape of each is to be seen.

    Args:
        images: (n, channels, side, side), uint8.
        masks: (n, side, side), whether a pixel shows more of the shape than of anything else;
            what a patch hides is not in it.
    """

    images: Array
    masks: Array


def draw(labels: Array, *, side: int, channels: int, level: Level, seed: int) -> Drawn:
    """Draw one shape for each label; the first images of a longer list are the same.

    Args:
        labels: (n,), positions in `SHAPES`.
        side: Of the images, in pixels.
        channels: Of the images, each with a brightness of its own for shape and background.
        level: How much they differ.
        seed: Decides everything else.
    """
    bits = np.random.PCG64(seed)
    chunks = [
        _draw(labels[start : start + 256], bits, side, channels, level)
        for start in range(0, len(labels), 256)
    ]
    return Drawn(
        np.concatenate([chunk.images for chunk in chunks]),
        np.concatenate([chunk.masks for chunk in chunks]),
    )


def _draw(labels: Array, bits: np.random.PCG64, side: int, channels: int, level: Level) -> Drawn:
    n, places, colours = len(labels), 7, channels * (3 + level.patches)
    known = places + colours + 4 * level.patches
    raw = bits.random_raw(n * (known + channels * side * side)).reshape(n, -1)
    place, colour, patch = np.split(_unit(raw[:, :known]), [places, places + colours], axis=1)
    colour = colour.reshape(n, channels, -1)
    x, y = _pixels(side)
    cover = _shape(labels, place, x, y, level)
    front, back = _brightness(colour, _between(place[:, 4], *level.contrast))
    slope = level.slope * ((2 * place[:, 5] - 1)[:, None, None] * x)
    slope = slope + level.slope * ((2 * place[:, 6] - 1)[:, None, None] * y)
    image = back + slope[:, None]
    image = image + cover[:, None] * (front - image)
    for k in range(level.patches):
        there = _patch(patch[:, 4 * k : 4 * k + 4], place, x, y, level)
        image = np.where(there[:, None], colour[:, :, 3 + k, None, None], image)
        cover = np.where(there, 0.0, cover)
    image = image + level.noise * _bell(raw[:, known:]).reshape(image.shape)
    return Drawn(_bytes(image), cover > 0.5)


@dataclass(frozen=True)
class Scenes:
    """Images of several shapes.

    Args:
        images: (n, channels, side, side), uint8.
        labels: (n, objects), positions in `SHAPES`; -1 where an image has fewer shapes. The
            first is the largest.
        owners: (n, side, side), which shape a pixel shows; -1 for the background and patches.
    """

    images: Array
    labels: Array
    owners: Array


def draw_several(
    labels: Array, *, classes: int, objects: int, side: int, channels: int, level: Level, seed: int
) -> Scenes:
    """Draw one shape for each label, and up to `objects` - 1 smaller ones of any class behind it.

    Shapes lie anywhere within the image and may hide each other. In a channel, the background is
    darker than every shape, or brighter.

    Args:
        labels: (n,), positions in `SHAPES` of the largest shapes.
        classes: The other shapes are among the first ones of `SHAPES`.
        objects: Most shapes of an image; one to as many are equally frequent.
        side: Of the images, in pixels.
        channels: Of the images.
        level: How much they differ; its places do not count here.
        seed: Decides everything else.
    """
    bits = np.random.PCG64(seed)
    chunks = [
        _draw_several(labels[i : i + 256], bits, classes, objects, side, channels, level)
        for i in range(0, len(labels), 256)
    ]
    return Scenes(
        *(np.concatenate([getattr(c, f) for c in chunks]) for f in ("images", "labels", "owners"))
    )


def _draw_several(
    labels: Array,
    bits: np.random.PCG64,
    classes: int,
    objects: int,
    side: int,
    channels: int,
    level: Level,
) -> Scenes:
    n, own = len(labels), 8 + channels + level.patches * (4 + channels)
    known = 3 + 2 * channels + objects * own
    raw = bits.random_raw(n * (known + channels * side * side)).reshape(n, -1)
    scene, ground, each = np.split(_unit(raw[:, :known]), [3, 3 + 2 * channels], axis=1)
    each = each.reshape(n, objects, own)
    kinds = np.floor(each[:, :, 0] * classes).astype(np.int64)
    kinds[:, 0] = labels
    kinds[np.arange(objects)[None] > np.floor(scene[:, :1] * objects)] = -1
    base, dark = _ground(ground.reshape(n, 2, channels), level.contrast[1])
    x, y = _pixels(side)
    slope = (2 * scene[:, 1] - 1)[:, None, None] * x + (2 * scene[:, 2] - 1)[:, None, None] * y
    image = base + level.slope * slope[:, None]
    owners = np.full((n, side, side), -1, np.int64)
    for k in reversed(range(objects)):
        place, colour, patches = np.split(each[:, k, 1:], [7, 7 + channels], axis=1)
        smaller = _smaller(level, _OTHERS if k else _LARGEST)
        cover = _shape(kinds[:, k], place, x, y, smaller)
        step = _between(colour, *level.contrast)[..., None, None]
        image = image + cover[:, None] * (base + np.where(dark, step, -step) - image)
        owners = np.where(cover > 0.5, k, owners)
        for patch in np.split(patches, level.patches, axis=1) if level.patches else ():
            there = _patch(patch[:, :4], place, x, y, smaller) & (kinds[:, k, None, None] >= 0)
            image = np.where(there[:, None], patch[:, 4:, None, None], image)
            owners = np.where(there, -1, owners)
    image = image + level.noise * _bell(raw[:, known:]).reshape(image.shape)
    return Scenes(_bytes(image), kinds, owners)


def _ground(ground: Floats, most: float) -> tuple[Floats, Array]:
    """Return the background's brightness, and where shapes are brighter: (n, channels, 1, 1).

    Every shape differs from it by up to `most`, and stays within 0..1.
    """
    dark = (ground[:, 0] < 0.5)[..., None, None]
    base = ((1 - most) * ground[:, 1])[..., None, None]
    return np.where(dark, base, 1 - base), dark


def _bytes(image: Floats) -> Array:
    pixels: Array = np.floor(255 * np.clip(image, 0.0, 1.0) + 0.5).astype(np.uint8)
    return pixels


def _smaller(level: Level, share: float) -> Level:
    """Return the level with radii of that share, anywhere within the image."""
    low, high = (share * radius for radius in level.radius)
    return replace(level, radius=(low, high), shift=1 - high)


# ---------------------------------------------------------------- numbers
def _unit(raw: Array) -> Floats:
    """Return 64 random bits as a number in 0..1 (without 1)."""
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _bell(raw: Array) -> Floats:
    """Return 64 random bits as a number near the normal distribution: the sum of eight bytes."""
    total = raw.view(np.uint8).reshape(*raw.shape, 8).sum(-1, dtype=np.int64)
    bell: Floats = (total - 1020) / 209.0
    return bell


def _between(u: Floats, low: float, high: float) -> Floats:
    return low + (high - low) * u


def _direction(turns: float) -> tuple[float, float]:
    """Return cosine and sine of a share of a full turn, rounded."""
    angle = 2 * math.pi * turns
    return round(math.cos(angle) * _GRID) / _GRID, round(math.sin(angle) * _GRID) / _GRID


_DIRECTIONS = np.array([_direction(k / _TURNS) for k in range(_TURNS)])


def _pixels(side: int) -> tuple[Floats, Floats]:
    """Return the centres of the pixels, -1..1: (1, 1, side) to the right, (1, side, 1) down."""
    centres = (2 * np.arange(side) + 1) / side - 1
    return centres[None, None], centres[None, :, None]


# ---------------------------------------------------------------- what is painted
def _shape(labels: Array, place: Floats, x: Floats, y: Floats, level: Level) -> Floats:
    """Return how much of each pixel the shape covers: (n, side, side), 0..1."""
    radius, across, down = _where(place, level)
    steps = np.floor((2 * place[:, 3] - 1) * level.turn * (_TURNS / 2) + 0.5).astype(np.int64)
    cos, sin = (_DIRECTIONS[steps % _TURNS, i, None, None] for i in (0, 1))
    x, y = (x - across) / radius, (y - down) / radius
    u, v = x * cos + y * sin, y * cos - x * sin
    outside = np.full(u.shape, np.inf)  # of an image without a shape
    for label, function in enumerate(SHAPES.values()):
        mine = labels == label
        if mine.any():
            outside[mine] = function(u[mine], v[mine])
    cover: Floats = np.clip(0.5 - outside * radius * (x.shape[-1] / 2), 0.0, 1.0)
    return cover


def _where(place: Floats, level: Level) -> tuple[Floats, Floats, Floats]:
    """Return radius and centre of each shape: (n, 1, 1)."""
    radius = _between(place[:, 0], *level.radius)
    across, down = (level.shift * (2 * place[:, i] - 1) for i in (1, 2))
    return radius[:, None, None], across[:, None, None], down[:, None, None]


def _brightness(colour: Floats, contrast: Floats) -> tuple[Floats, Floats]:
    """Return those of shape and background, `contrast` apart: (n, channels, 1, 1)."""
    step = contrast[:, None]
    dark, brighter = (1 - step) * colour[:, :, 0], colour[:, :, 1] < 0.5
    front, back = np.where(brighter, dark + step, dark), np.where(brighter, dark, dark + step)
    return front[..., None, None], back[..., None, None]


def _patch(own: Floats, place: Floats, x: Floats, y: Floats, level: Level) -> Array:
    """Return where a rectangle is that hides a part of the shape: (n, side, side)."""
    radius, across, down = _where(place, level)
    share = [own[:, i, None, None] for i in range(4)]
    across = across + _EDGE * radius * (2 * share[0] - 1)
    down = down + _EDGE * radius * (2 * share[1] - 1)
    wide, high = (radius * _between(s, 0.2, 0.5) for s in share[2:])
    return (np.abs(x - across) < wide) & (np.abs(y - down) < high)


# ---------------------------------------------------------------- shapes
def _disc(u: Floats, v: Floats, radius: float = 1.0) -> Floats:
    distance: Floats = np.sqrt(u * u + v * v) - radius
    return distance


def _box(u: Floats, v: Floats, wide: float, high: float) -> Floats:
    return np.maximum(np.abs(u) - wide, np.abs(v) - high)


def _sides(u: Floats, v: Floats, number: int, first: float, distance: float) -> list[Floats]:
    """Return how far points are beyond the sides of a polygon; one side faces `first` (turns)."""
    normals = [_direction(first + k / number) for k in range(number)]
    return [u * x + v * y - distance for x, y in normals]


def _polygon(u: Floats, v: Floats, number: int, first: float) -> Floats:
    distance = _direction(0.5 / number)[0]
    beyond: Floats = np.maximum.reduce(_sides(u, v, number, first, distance))
    return beyond


def _star(u: Floats, v: Floats) -> Floats:
    """Five points: whatever is beyond one side, at most, of the pentagon in the middle."""
    beyond = np.stack(_sides(u, v, 5, -0.25, _direction(0.2)[0]))
    second: Floats = np.sort(beyond, axis=0)[-2]
    return second


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    # (right, down) in radii -> how far outside, in radii; negative inside
    "disc": _disc,
    "square": lambda u, v: _box(u, v, 0.7, 0.7),
    "triangle": lambda u, v: _polygon(u, v, 3, 0.25),
    "cross": lambda u, v: np.minimum(_box(u, v, 0.28, 0.95), _box(u, v, 0.95, 0.28)),
    "ring": lambda u, v: np.maximum(_disc(u, v), -_disc(u, v, 0.5)),
    "star": _star,
    "moon": lambda u, v: np.maximum(_disc(u, v), -_disc(u - 0.6, v, 0.8)),
    "bow tie": lambda u, v: np.maximum(0.7071 * (np.abs(v) - np.abs(u)), np.abs(u) - 0.72),
    "corner": lambda u, v: np.minimum(_box(u + 0.4, v, 0.25, 0.75), _box(u, v - 0.5, 0.65, 0.25)),
    "tee": lambda u, v: np.minimum(_box(u, v, 0.25, 0.75), _box(u, v + 0.5, 0.7, 0.25)),
    "half disc": lambda u, v: np.maximum(_disc(u, v - 0.4), v - 0.4),
    "pentagon": lambda u, v: _polygon(u, v, 5, 0.25),
}
