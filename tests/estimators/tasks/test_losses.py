"""Losses of classes and masks, and the metrics of all tasks, against answers known in advance."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import torch
from pycocotools import coco, cocoeval
from torch.nn import functional as F

from netloom.errors import EvaluationError, MissingDependency
from netloom.estimators.data.labels import ABSENT, IGNORED, Boxes, Found, collate
from netloom.estimators.tasks import metrics
from netloom.estimators.tasks.detection import Detections
from netloom.estimators.tasks.losses import classification_loss, enlarged, segmentation_loss
from netloom.estimators.tasks.metrics import (
    accuracy,
    confusion,
    mean_average_precision,
    mean_iou,
)


# --------------------------------------------------------------------------- losses
def test_smoothed_cross_entropy_has_its_closed_form():
    logits, classes = torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0])
    log_p = torch.log_softmax(logits, 1)[0]
    expected = -(0.9 * log_p[0] + 0.1 * log_p.mean())
    assert torch.isclose(classification_loss(logits, classes), expected)
    assert torch.isclose(classification_loss(logits, classes, smoothing=0.0), -log_p[0])


def test_examples_whose_class_is_not_known_do_not_count():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([1, ABSENT, 3, ABSENT, 0])
    known = classes != ABSENT
    expected = classification_loss(logits[known], classes[known])
    assert torch.isclose(classification_loss(logits, classes), expected)


def test_pixels_count_at_the_size_of_the_mask():
    masks = torch.zeros(1, 8, 8, dtype=torch.long)
    masks[:, :, 4:] = 1
    masks[0, 0, 0] = IGNORED
    even = torch.zeros(1, 3, 2, 2, requires_grad=True)
    assert torch.isclose(segmentation_loss(even, masks), torch.tensor(math.log(3)))
    large = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    known = masks != IGNORED
    each = F.cross_entropy(large.movedim(1, -1)[known], masks[known])
    assert torch.isclose(segmentation_loss(large, masks), each)
    assert enlarged(large, (8, 8)) is large


@pytest.mark.parametrize(
    ("loss", "shape", "labels"),
    [
        (classification_loss, (2, 3), torch.full((2,), ABSENT)),
        (segmentation_loss, (2, 3, 2, 2), torch.full((2, 8, 8), IGNORED)),
    ],
)
def test_where_nothing_is_known_a_loss_is_zero_and_has_no_gradient(loss, shape, labels):
    found = loss(torch.randn(shape, requires_grad=True), labels)
    assert found.item() == 0.0
    assert not found.requires_grad


# --------------------------------------------------------------------------- accuracy, mIoU
def test_accuracy_counts_what_is_known():
    logits = torch.eye(4)
    assert accuracy(logits, torch.tensor([0, 1, 0, ABSENT])) == pytest.approx(200 / 3)
    with pytest.raises(EvaluationError, match="at least one class that is known, got none"):
        accuracy(logits, torch.full((4,), ABSENT))


def test_mean_iou_of_a_confusion_known_by_hand():
    """Class 0: 2 of 4; class 1: 1 of 3; class 2 is said only: 0 of 1; class 3 is nowhere."""
    masks = torch.tensor([[[0, 0, 0, 1, 1, IGNORED]]])
    said = torch.tensor([[[0, 0, 2, 0, 1, 3]]])
    pixels = confusion(F.one_hot(said, 4).movedim(-1, 1).float(), masks)
    assert pixels.tolist() == [[2, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert mean_iou(pixels) == pytest.approx(100 * (2 / 4 + 1 / 2 + 0) / 3)
    with pytest.raises(EvaluationError, match="at least one pixel"):
        mean_iou(torch.zeros(4, 4))


# --------------------------------------------------------------------------- AP
def boxes(*images):
    """Return boxes of images, each a list of (corners, class, crowd) or None."""
    found = [
        None
        if image is None
        else {
            "detection": Found(
                np.array([b[0] for b in image], dtype=np.float32).reshape(-1, 4),
                np.array([b[1] for b in image]),
                np.array([b[2] for b in image], dtype=bool),
            )
        }
        for image in images
    ]
    rows = collate([f or {} for f in found], tasks=["detection"], side=64)["detection"]
    return rows.map(torch.from_numpy)


def said(*rows):
    """Return what was found in an image: (corners, class, score)."""
    corners = torch.tensor([r[0] for r in rows], dtype=torch.float32).reshape(-1, 4)
    classes = torch.tensor([r[1] for r in rows], dtype=torch.long)
    return Detections(corners, classes, torch.tensor([r[2] for r in rows]))


A, B = (0, 0, 20, 20), (30, 30, 60, 50)


def test_all_found_and_nothing_found():
    truth = boxes([(A, 0, False), (B, 1, False)], [])
    exact = said((A, 0, 0.9), (B, 1, 0.4))
    assert mean_average_precision([exact, said()], truth) == pytest.approx(100)
    assert mean_average_precision([said(), said()], truth) == 0.0
    swapped = said((A, 1, 0.9), (B, 0, 0.4))
    assert mean_average_precision([swapped, said()], truth) == 0.0


def test_half_found_is_51_of_101_recalls():
    truth = boxes([(A, 0, False), (B, 0, False)])
    found = mean_average_precision([said((A, 0, 0.9))], truth)
    assert found == pytest.approx(100 * 51 / 101)


def test_a_box_counts_at_the_ious_that_it_reaches():
    """IoU 0.8: at 0.50, 0.55, ..., 0.80, of ten."""
    truth = boxes([(A, 0, False)])
    found = mean_average_precision([said(((0, 0, 20, 16.001), 0, 0.9))], truth)
    assert found == pytest.approx(70)


def test_a_wrong_box_that_is_surer_halves_the_precision():
    truth = boxes([(A, 0, False)])
    found = mean_average_precision([said((B, 0, 0.9), (A, 0, 0.8))], truth)
    assert found == pytest.approx(50)


def test_what_is_found_in_a_crowd_is_no_mistake():
    free = boxes([(A, 0, False), (B, 0, False)])
    crowd = boxes([(A, 0, False), (B, 0, True)])
    inside = said(((32, 32, 42, 42), 0, 0.9), (A, 0, 0.8))
    assert mean_average_precision([inside], crowd) == pytest.approx(100)
    assert mean_average_precision([inside], free) < 50


def test_images_that_are_not_known_are_left_out():
    truth = boxes([(A, 0, False)], None)
    found = [said((A, 0, 0.8)), said((B, 0, 0.9))]
    assert mean_average_precision(found, truth) == pytest.approx(100)
    with pytest.raises(EvaluationError, match="at least one box"):
        mean_average_precision(found, boxes([], None))


def test_without_pycocotools_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingDependency, match=r"netloom\[detection\]"):
        mean_average_precision([said()], boxes([(A, 0, False)]))


def test_it_is_the_first_line_of_cocos_summary():
    """Against what pycocotools says when it is left to itself, of boxes that half fit."""
    rng = np.random.default_rng(0)
    truth, found = [], []
    for _ in range(30):
        low = rng.uniform(0, 30, (3, 2))
        corners = np.concatenate([low, low + rng.uniform(8, 30, (3, 2))], 1)
        classes = rng.integers(0, 2, 3)
        truth.append([(tuple(c), int(k), False) for c, k in zip(corners, classes, strict=True)])
        moved = corners + rng.normal(0, 2, (3, 4))
        scores = rng.uniform(0, 1, 3).tolist()
        found.append(said(*zip(moved.tolist(), classes.tolist(), scores, strict=True)))
    several = boxes(*truth)
    reference = coco.COCO()
    reference.dataset = {
        "images": [{"id": i} for i in range(30)],
        "annotations": metrics._annotations(several),
        "categories": [{"id": 0}, {"id": 1}],
        "info": {},
    }
    reference.createIndex()
    results = reference.loadRes(metrics._results(found, [True] * 30))
    judged = cocoeval.COCOeval(reference, results, "bbox")
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    assert 20 < 100 * judged.stats[0] < 80
    assert mean_average_precision(found, several) == pytest.approx(100 * judged.stats[0])


def test_nothing_is_printed(capsys):
    mean_average_precision([said((A, 0, 0.9))], boxes([(A, 0, False)]))
    assert capsys.readouterr().out == ""


# --------------------------------------------------------------------------- collate
def test_single_examples_make_a_batch():
    mask = np.ones((4, 4), np.int64)
    one = Found(np.array([[0, 0, 1, 2]]), np.array([3]), np.array([False]))
    two = Found(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool))
    labels = collate(
        [
            {"classification": 2, "detection": one},
            {"classification": None, "detection": two, "segmentation": mask},
            {"segmentation": 2 * mask},
        ],
        tasks=["classification", "detection", "segmentation"],
        side=4,
    )
    assert labels["classification"].tolist() == [2, ABSENT, ABSENT]
    assert labels["segmentation"][:, 0, 0].tolist() == [IGNORED, 1, 2]
    found = labels["detection"]
    assert isinstance(found, Boxes)
    assert found.known.tolist() == [True, True, False]
    assert found.classes.tolist() == [[3], [ABSENT], [ABSENT]]
    assert found.corners[0].tolist() == [[0, 0, 1, 2]]
