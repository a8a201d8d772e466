"""Flips and crops: boxes and masks go where the pixels go."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.estimators import augment
from netloom.estimators.data.labels import ABSENT, IGNORED, Boxes, boxes_around

SIDE = 12


def generator(seed):
    return torch.Generator().manual_seed(seed)


@st.composite
def batches(draw):
    """Images of one rectangle each, some of none: the pixels are the mask, the box is its."""
    n = draw(st.integers(1, 4))
    masks = np.zeros((n, SIDE, SIDE), np.int64)
    for mask in masks:
        left, top = draw(st.integers(0, SIDE)), draw(st.integers(0, SIDE))
        right, bottom = draw(st.integers(left, SIDE)), draw(st.integers(top, SIDE))
        mask[top:bottom, left:right] = draw(st.integers(1, 3))
    return labelled(torch.from_numpy(masks))


def labelled(masks):
    """Return images that show masks, and their labels; ignored pixels belong to nothing."""
    numbers = masks.masked_fill(masks == IGNORED, 0)
    corners, there = boxes_around(numbers.numpy()[:, None] > 0)
    classes = torch.where(torch.from_numpy(there), numbers.amax((1, 2))[:, None] - 1, ABSENT)
    n = len(masks)
    boxes = Boxes(
        torch.from_numpy(corners), classes, torch.zeros(n, 1, dtype=bool), torch.ones(n, dtype=bool)
    )
    targets = {"classification": torch.arange(n), "detection": boxes, "segmentation": masks}
    return numbers[:, None].float(), targets


def same(a, b):
    assert torch.equal(a["classification"], b["classification"])
    assert torch.equal(a["segmentation"], b["segmentation"])
    for name in ("corners", "classes", "crowd", "known"):
        assert torch.equal(getattr(a["detection"], name), getattr(b["detection"], name)), name


@settings(max_examples=60, deadline=None)
@given(batches(), st.integers(0, 99))
def test_labels_of_a_flipped_image_are_those_of_what_it_shows(batch, seed):
    x, targets = batch
    flipped, found = augment.flip_labelled(x, targets, generator(seed))
    assert torch.equal(flipped, augment.flip(x, generator(seed)))  # the same draws
    assert torch.equal(found["segmentation"], flipped[:, 0].long())
    same(found, labelled(found["segmentation"])[1])


@settings(max_examples=60, deadline=None)
@given(batches(), st.integers(0, 99), st.integers(1, SIDE))
def test_labels_of_a_shifted_image_are_those_of_what_it_shows(batch, seed, padding):
    x, targets = batch
    shifted, found = augment.crop_labelled(x, targets, generator(seed), padding)
    assert torch.equal(shifted, augment.crop(x, generator(seed), padding))
    ignored = found["segmentation"] == IGNORED
    assert torch.equal(found["segmentation"][~ignored], shifted[:, 0][~ignored].long())
    assert (shifted[:, 0][ignored] == 0).all()
    same(found, labelled(found["segmentation"])[1])


def test_every_image_is_either_turned_or_not():
    x = torch.arange(40.0).reshape(40, 1, 1, 1).repeat(1, 1, 1, 2)
    x[..., 1] += 0.5
    corners = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(40, 1, 1)
    no = torch.zeros(40, 1, dtype=bool)
    boxes = Boxes(corners, torch.zeros(40, 1, dtype=torch.long), no, ~no[:, 0])
    turned, found = augment.flip_labelled(x, {"detection": boxes}, generator(0))
    moved = found["detection"].corners[:, 0, 0] == 1
    assert torch.equal(moved, turned[:, 0, 0, 0] % 1 == 0.5)
    assert 10 < int(moved.sum()) < 30


def test_a_shift_says_how_far():
    """Against an image whose pixels tell their place."""
    x = torch.arange(1, 65.0).reshape(1, 1, 8, 8)
    one = torch.zeros(1, 1, dtype=torch.long)
    boxes = Boxes(torch.tensor([[[3.0, 3, 5, 5]]]), one, one.bool(), torch.ones(1, dtype=bool))
    for seed in range(20):
        shifted, found = augment.crop_labelled(x, {"detection": boxes}, generator(seed), 3)
        left, top, right, bottom = found["detection"].corners[0, 0].int().tolist()
        assert shifted[0, 0, top:bottom, left:right].tolist() == [[28, 29], [36, 37]]


def test_a_box_that_leaves_the_image_is_gone():
    one = torch.zeros(1, 1, dtype=torch.long)
    corners = torch.tensor([[[0.0, 0, 1, 1]]])
    boxes = Boxes(corners, one, ~one.bool(), torch.ones(1, dtype=bool))
    x, gone = torch.zeros(1, 1, 8, 8), 0
    for seed in range(20):
        found = augment.crop_labelled(x, {"detection": boxes}, generator(seed), 4)[1]["detection"]
        if found.classes.item() == ABSENT:
            gone += 1
            assert not found.corners.any()
            assert not found.crowd.any()
            assert found.known.all()
    assert 0 < gone < 20


@pytest.mark.parametrize("change", [augment.flip_labelled, augment.crop_labelled])
def test_what_comes_in_is_left_as_it_was(change):
    x, targets = labelled(torch.ones(6, 8, 8, dtype=torch.long))
    before = x.clone(), targets["detection"].corners.clone()
    change(x, targets, generator(1), *([2] if change is augment.crop_labelled else []))
    assert torch.equal(x, before[0])
    assert torch.equal(targets["detection"].corners, before[1])
