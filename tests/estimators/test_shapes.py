"""The data set `shapes`: the same images everywhere, masks that fit, levels that are levels."""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.estimators.data.drawing import SHAPES, Level, draw
from netloom.estimators.data.shapes import LEVELS, Shapes
from netloom.estimators.testing import DataSetContract

PLAIN = Level((0.8, 0.8), 0.0, 0.0, (0.5, 0.5), 0.0, 0.0, 0)  # in the middle, upright, clean


class TestShapes(DataSetContract):
    def make(self):
        return Shapes(examples=200)

    def variants(self):
        other = [{"seed": 1}, {"difficulty": 4}, {"classes": 9}, {"examples": 210}]
        other += [{"resolution": 24}, {"channels": 3}, {"valid": 0.1}, {"test": 0.3}]
        return [Shapes(**{"examples": 200, **options}) for options in other]


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def plain(name, side=64, **changes):
    """Return the grey image and the mask of one shape."""
    level = Level(**{**vars(PLAIN), **changes})
    drawn = draw(np.array([list(SHAPES).index(name)]), side=side, channels=1, level=level, seed=3)
    return drawn.images[0, 0], drawn.masks[0]


# --------------------------------------------------------------------------- the same everywhere
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"difficulty": 1}, "fda4d09abe265568"),
        ({}, "7fa7303c7823a167"),
        (
            {"difficulty": 5, "channels": 3, "resolution": 32, "classes": 12, "seed": 7},
            "595ae548515358d3",
        ),
    ],
)
def test_images_are_the_same_on_every_machine(options, expected):
    splits = Shapes(examples=300, **options).load()
    assert digest(np.concatenate([splits.train.x, splits.valid.x, splits.test.x])) == expected


def test_a_longer_list_begins_with_the_same_images():
    """Whatever is drawn at once: 300 images are more than one chunk."""
    labels = np.arange(300) % 12
    few, many = (draw(labels[:n], side=16, channels=3, level=LEVELS[5], seed=2) for n in (40, 300))
    assert np.array_equal(few.images, many.images[:40])
    assert np.array_equal(few.masks, many.masks[:40])


def test_classes_are_equally_frequent_in_every_split():
    splits = Shapes(examples=1000, classes=7).load()
    for split, size in ((splits.train, 600), (splits.valid, 200), (splits.test, 200)):
        counts = np.bincount(split.y, minlength=7)
        assert counts.sum() == size
        assert counts.max() - counts.min() <= 1


# --------------------------------------------------------------------------- what is drawn
R = 0.8 * 64 / 2  # radius in pixels
AREAS = {
    "disc": math.pi * R**2,
    "square": (1.4 * R) ** 2,
    "triangle": 3 * math.sqrt(3) / 4 * R**2,
    "pentagon": 5 / 2 * math.sin(2 * math.pi / 5) * R**2,
    "ring": math.pi * R**2 * 0.75,
    "star": 5 * math.sin(0.2 * math.pi) * math.sin(0.1 * math.pi) / math.sin(0.7 * math.pi) * R**2,
    "cross": (2 * 0.56 * 1.9 - 0.56**2) * R**2,
    "bow tie": 2 * 0.72**2 * R**2,
}


@pytest.mark.parametrize("name", AREAS)
def test_a_shape_has_its_area(name):
    _, mask = plain(name, side=512)
    assert mask.sum() / 64 == pytest.approx(AREAS[name], rel=0.015)


def test_inside_and_outside_differ_by_the_contrast():
    for name in SHAPES:
        image, mask = plain(name)
        counts = {v: int((image == v).sum()) for v in np.unique(image)}
        inside, outside = (int(v) for v in (np.median(image[mask]), np.median(image[~mask])))
        assert abs(inside - outside) == pytest.approx(0.5 * 255, abs=1)
        assert counts[inside] + counts[outside] > 0.9 * image.size  # the rest are edges


def test_a_half_turn_turns_a_shape_over():
    """With half a turn to either side some triangles point down; upright ones never do."""
    labels = np.full(200, list(SHAPES).index("triangle"))
    shares = {}
    for turn in (0.0, 1.0):
        level = Level(**{**vars(PLAIN), "turn": turn})
        masks = draw(labels, side=32, channels=1, level=level, seed=0).masks
        shares[turn] = (masks[:, :16].sum((1, 2)) > masks[:, 16:].sum((1, 2))).mean()
    assert shares[0.0] == 0.0
    assert shares[1.0] == pytest.approx(0.5, abs=0.1)


def test_masks_move_with_the_shapes_and_leave_out_what_hides_them():
    labels = np.zeros(100, int)  # discs
    level = Level(**{**vars(PLAIN), "shift": 0.2})
    moved = draw(labels, side=64, channels=1, level=level, seed=0).masks
    assert np.abs(moved.sum((1, 2)) / AREAS["disc"] - 1).max() < 0.02
    across = (moved * np.arange(64)).sum((1, 2)) / moved.sum((1, 2)) - 31.5
    assert np.abs(across).max() == pytest.approx(0.2 * 32, abs=0.5)
    hidden = draw(labels, side=64, channels=1, level=Level(**{**vars(PLAIN), "patches": 1}), seed=0)
    share = 1 - hidden.masks.sum((1, 2)) / AREAS["disc"]
    assert share.min() >= 0.0
    assert share.max() < 1 / math.pi + 0.02  # the largest patch is a square of side R


def test_noise_has_its_deviation():
    quiet, noisy = (plain("disc", contrast=(0.3, 0.3), noise=n)[0].astype(float) for n in (0, 0.05))
    assert (noisy - quiet).std() / 255 == pytest.approx(0.05, rel=0.05)


def test_colours_have_contrasts_of_their_own():
    drawn = draw(np.zeros(50, int), side=16, channels=3, level=PLAIN, seed=0)
    middle = drawn.images[:, :, 8, 8].astype(int) - drawn.images[:, :, 0, 0]
    assert set(np.abs(middle).ravel()) <= {127, 128}
    assert len({tuple(np.sign(row)) for row in middle}) == 8


# --------------------------------------------------------------------------- difficulty
def accuracy(splits):
    """Return that of a fixed classifier: 64 random filters, means over nine places, ridge."""
    filters = torch.randn(64, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    filters -= filters.mean((2, 3), keepdim=True)

    def features(x):
        x = torch.from_numpy(x).double()
        x = (x - x.mean((1, 2, 3), keepdim=True)) / x.std((1, 2, 3), keepdim=True)
        y = F.adaptive_avg_pool2d(F.conv2d(x, filters.double()).abs(), 3).flatten(1)
        return torch.cat([y, torch.ones(len(y), 1)], 1)

    x = features(splits.train.x)
    y = F.one_hot(torch.from_numpy(splits.train.y)).double()
    weights = torch.linalg.solve(x.T @ x + 0.1 * len(x) * torch.eye(x.shape[1]), x.T @ y)
    found = (features(splits.valid.x) @ weights).argmax(1).numpy()
    return (found == splits.valid.y).mean()


def test_every_level_is_harder_than_the_one_before():
    found = [accuracy(Shapes(difficulty=level).load()) for level in LEVELS]
    assert found[0] > 0.99
    assert all(easy - hard > (0.01 if easy > 0.99 else 0.1) for easy, hard in pairwise(found))
    assert found[-1] > 0.15  # chance is 0.1


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"classes": 13}, "classes must be 2 to 12, got 13"),
        ({"classes": 1}, "classes must be 2 to 12, got 1"),
        ({"resolution": 7}, "resolution must be at least 8, got 7"),
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"difficulty": 6}, "difficulty must be 1 to 5, got 6"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"valid": 0.6, "test": 0.4}, "together below 1, got 0.6 and 0.4"),
        ({"test": 0.0}, "above 0"),
        ({"examples": 40}, "each of the 10 classes, got 8 in the smallest of 40 examples"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, rule):
    with pytest.raises(SpecError, match=rule):
        Shapes(**options)
