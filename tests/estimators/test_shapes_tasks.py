"""`shapes` in several tasks: labels that fit each other and the images, and none where asked."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from netloom.errors import SpecError
from netloom.estimators.data.labels import ABSENT, IGNORED, TASKS, boxes_around
from netloom.estimators.data.shapes import Shapes
from netloom.estimators.testing import DataSetContract

ALL = list(TASKS)


class TestShapesOfThreeTasks(DataSetContract):
    def make(self):
        return Shapes(examples=100, classes=5, tasks=ALL)

    def variants(self):
        other = [{"tasks": ALL[:2]}, {"tasks": None}, {"missing": 0.5}]
        other += [{"objects": 2, "resolution": 32}, {"objects": 3, "resolution": 32}]
        return [Shapes(**{"examples": 100, "classes": 5, "tasks": ALL, **o}) for o in other]


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]


def whole(**options):
    """Return images, classes, boxes and masks of all splits."""
    splits = Shapes(tasks=ALL, **options).splits()
    parts = (splits.train, splits.valid, splits.test)
    boxes = [p.labels["detection"] for p in parts]
    return (
        np.concatenate([p.x for p in parts]),
        np.concatenate([p.labels["classification"] for p in parts]),
        np.concatenate([b.corners for b in boxes]),
        np.concatenate([b.classes for b in boxes]),
        np.concatenate([p.labels["segmentation"] for p in parts]),
    )


# --------------------------------------------------------------------------- nothing else changes
@pytest.mark.parametrize("options", [{}, {"difficulty": 5, "channels": 3, "resolution": 32}])
def test_tasks_and_missing_labels_change_no_image(options):
    plain = Shapes(examples=100, **options).load()
    for more in ({"tasks": ALL}, {"tasks": ALL, "missing": 0.5}):
        other = Shapes(examples=100, **options, **more).load()
        for name in ("train", "valid", "test"):
            a, b = getattr(plain, name), getattr(other, name)
            assert np.array_equal(a.x, b.x)
            assert np.array_equal(a.y, b.y)
            assert not a.labels


def test_a_single_task_is_the_data_set_that_it_was():
    """Results stored for it stay valid."""
    assert Shapes().fingerprint[:16] == "4734983f8b061d27"
    assert Shapes(difficulty=4).fingerprint[:16] == "f0bc2ef145c40df6"
    assert Shapes(tasks=[]).fingerprint == Shapes().fingerprint


# --------------------------------------------------------------------------- one shape
def test_the_box_of_one_shape_is_that_of_its_mask():
    _, classes, corners, kinds, masks = whole(examples=300, difficulty=5, classes=12)
    assert corners.shape == (300, 1, 4)
    assert np.array_equal(kinds[:, 0], classes)
    assert np.array_equal(masks.max((1, 2)), classes + 1)
    assert set(np.unique(masks)) == set(range(13))
    for (left, top, right, bottom), mask in zip(corners[:, 0].astype(int), masks, strict=True):
        inside = np.zeros_like(mask, bool)
        inside[top:bottom, left:right] = True
        assert not mask[~inside].any()
        edges = mask[top, :], mask[bottom - 1, :], mask[:, left], mask[:, right - 1]
        assert all(edge.any() for edge in edges)


def test_boxes_around_masks():
    masks = np.zeros((3, 5, 6), bool)
    masks[0, 1:3, 2:6] = True
    masks[2, 4, 0] = True
    corners, there = boxes_around(masks)
    assert there.tolist() == [True, False, True]
    assert corners.tolist() == [[2, 1, 6, 3], [0, 0, 0, 0], [0, 4, 1, 5]]


# --------------------------------------------------------------------------- several shapes
SEVERAL = {"examples": 300, "resolution": 64, "channels": 3, "classes": 4, "objects": 3}


def test_scenes_are_the_same_on_every_machine():
    images, _, corners, kinds, masks = whole(**SEVERAL, difficulty=5)
    found = [digest(a) for a in (images, corners, kinds, masks)]
    assert found == ["d0607c2f49de2942", "7509f364692caacb", "c86af5cd2da109ae", "933d7efe3f260262"]


def test_one_to_three_shapes_are_equally_frequent():
    _, classes, _, kinds, masks = whole(**SEVERAL, difficulty=1)
    assert np.array_equal(kinds[:, 0], classes)
    counts = np.bincount((kinds != ABSENT).sum(1), minlength=4)
    assert counts[0] == 0
    assert counts[1:] == pytest.approx([100, 100, 100], abs=25)
    for row, mask in zip(kinds, masks, strict=True):
        assert set(np.unique(mask)) == {0, *(row[row != ABSENT] + 1)}


def test_the_largest_shape_is_in_front_and_gives_the_class():
    """Whole at the easiest level: as large as a single one times 0.6; the others at most 0.4."""
    _, _, corners, kinds, _ = whole(**SEVERAL, difficulty=1)
    sides = np.maximum(corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1])
    discs = (kinds == 0) & (np.arange(3) == 0)
    others = (kinds != ABSENT) & (np.arange(3) > 0)
    assert sides[discs].min() > 0.6 * 0.65 * 64 - 1.5
    assert sides[discs].max() < 0.6 * 0.75 * 64 + 1.5
    assert sides[others].max() < 0.4 * 0.75 * 64 + 1.5


def test_shapes_differ_from_the_background_by_the_contrast():
    """At the easiest level (no slope): 60 to 80 % in every channel, less the noise."""
    images, _, corners, _, masks = whole(**SEVERAL, difficulty=1)
    for image, mask, box in zip(images[:50], masks, corners[:, 0].astype(int), strict=False):
        left, top, right, bottom = box
        core = np.zeros_like(mask, bool)
        core[top + 3 : bottom - 3, left + 3 : right - 3] = True
        front = np.median(image[:, core & (mask > 0)], 1)
        difference = np.abs(front - np.median(image[:, mask == 0], 1)) / 255
        assert (difference > 0.55).all()
        assert (difference < 0.85).all()


# --------------------------------------------------------------------------- missing labels
def test_missing_labels_are_drawn_for_each_task_apart_and_only_for_training():
    data = Shapes(examples=2000, tasks=ALL, missing=0.3)
    splits = data.splits()
    train = splits.train.labels
    gone = [
        train["classification"] == ABSENT,
        ~train["detection"].known,
        (train["segmentation"] == IGNORED).all((1, 2)),
    ]
    assert all(g.mean() == pytest.approx(0.3, abs=0.04) for g in gone)
    assert (gone[0] & gone[1]).mean() == pytest.approx(0.09, abs=0.03)
    assert (train["detection"].classes[gone[1]] == ABSENT).all()
    full = Shapes(examples=2000, tasks=ALL).splits()
    for name in ("valid", "test"):
        a, b = getattr(splits, name).labels, getattr(full, name).labels
        assert np.array_equal(a["classification"], b["classification"])
        assert b["detection"].known.all()
        assert np.array_equal(a["segmentation"], b["segmentation"])
    kept = ~gone[2]
    assert np.array_equal(train["segmentation"][kept], full.train.labels["segmentation"][kept])


def test_the_space_is_told_the_classes_of_each_task():
    data = Shapes(classes=7, tasks=["segmentation", "classification"])
    assert data.space_defaults["tasks"] == [
        {"name": "segmentation", "classes": 8},
        {"name": "classification", "classes": 7},
    ]
    assert set(data.splits().train.labels) == {"segmentation", "classification"}
    assert Shapes().space_defaults == {}


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"tasks": ["depth"]}, "tasks takes any of classification, .* got depth"),
        ({"tasks": ["detection", "detection"]}, "each once"),
        ({"objects": 9, "resolution": 64}, "objects must be 1 to 8, got 9"),
        ({"objects": 2}, "resolution of several objects must be at least 32, got 16"),
        ({"missing": 0.5}, "got 0.5 of no task"),
        ({"missing": 1.0, "tasks": ALL}, "below 1, got 1.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, rule):
    with pytest.raises(SpecError, match=rule):
        Shapes(**options)
