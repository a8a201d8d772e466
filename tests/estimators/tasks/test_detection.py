"""Heat maps, boxes and what is found again, against answers known in advance."""

from __future__ import annotations

import math

import pytest
import torch

from netloom.errors import EvaluationError
from netloom.estimators.data.labels import ABSENT, Boxes
from netloom.estimators.tasks.detection import (
    corners_of,
    detect,
    detection_loss,
    focal_loss,
    generalised_iou,
    goals,
    strides_of,
)
from netloom.estimators.tasks.metrics import mean_average_precision

SIZE = (64, 64)


def levels(n=1, classes=2, strides=(8, 16, 32), logit=0.0, size=SIZE):
    """Return maps that say the same everywhere, with a box of 2 pixels."""
    return [
        (
            torch.full((n, classes, size[0] // s, size[1] // s), logit, requires_grad=True),
            torch.full((n, 4, size[0] // s, size[1] // s), 1.0, requires_grad=True),
        )
        for s in strides
    ]


def boxes(corners, classes, crowd=None, known=None):
    """Return the boxes of images with equally many rows."""
    classes = torch.tensor(classes)
    return Boxes(
        torch.tensor(corners, dtype=torch.float32).reshape(*classes.shape, 4),
        classes,
        torch.zeros_like(classes, dtype=torch.bool) if crowd is None else torch.tensor(crowd),
        torch.ones(len(classes), dtype=torch.bool) if known is None else torch.tensor(known),
    )


# --------------------------------------------------------------------------- GIoU
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1),
        ((0, 0, 2, 2), (1, 0, 3, 2), 2 / 6),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7 - 2 / 9),
        ((0, 0, 1, 1), (2, 0, 3, 1), -1 / 3),
        ((0, 0, 4, 4), (1, 1, 3, 3), 4 / 16),
    ],
)
def test_giou_has_its_value_and_is_symmetric(a, b, expected):
    a, b = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    assert generalised_iou(a, b).item() == pytest.approx(expected)
    assert generalised_iou(b, a).item() == pytest.approx(expected)


def test_the_gradient_of_giou_moves_a_box_that_is_far_away():
    a = torch.tensor([0.0, 0, 1, 1], requires_grad=True)
    generalised_iou(a, torch.tensor([5.0, 0, 6, 1])).backward()
    assert a.grad[2] > 0


# --------------------------------------------------------------------------- what a level is to say
def test_the_centre_of_a_box_is_the_peak_of_its_class():
    """20 x 40 pixels around (26, 36): place (4, 3) at stride 8."""
    goal = goals(levels(), boxes([[[16, 16, 36, 56]]], [[1]]), SIZE)[0]
    assert goal.heat[0, 0].max() == 0
    assert (goal.heat[0, 1] == 1).nonzero().tolist() == [[4, 3]]
    # sigma = 0.54 * 5 / 6 = 0.45 downwards, within 1.35 places; 0.54 * 2.5 / 2 = 0.675 across
    assert goal.heat[0, 1, 3, 3].item() == pytest.approx(math.exp(-1 / (2 * 0.45**2)))
    assert goal.heat[0, 1, 5, 3] == goal.heat[0, 1, 3, 3]
    assert (goal.heat[0, 1] > 0).sum() == 3
    assert goal.weight.sum().item() == pytest.approx(1)
    assert goal.corners[0, :, 4, 3].tolist() == [16, 16, 36, 56]


def test_a_box_belongs_to_the_finest_stride_that_reaches_its_sides():
    """8 strides from the centre to the farthest side."""
    size = (512, 512)
    maps = levels(size=size)
    for side, expected in ((100, 0), (128, 0), (130, 1), (256, 1), (258, 2), (500, 2)):
        found = goals(maps, boxes([[[0, 0, side, 9]]], [[0]]), size)
        assert [int(g.heat.sum() > 0) for g in found] == [int(i == expected) for i in range(3)]


def test_a_place_is_that_of_the_smallest_box():
    large, small = [8, 8, 56, 56], [24, 24, 44, 44]
    for pair in ([large, small], [small, large]):
        goal = goals(levels(strides=(8,)), boxes([pair], [[0, 1]]), SIZE)[0]
        assert goal.corners[0, :, 4, 4].tolist() == small
        assert goal.corners[0, :, 3, 4].tolist() == large
        assert (goal.heat[0] == 1).sum((1, 2)).tolist() == [1, 1]


def test_rows_without_a_box_and_crowds_are_no_goal():
    crowded = boxes([[[0, 0, 32, 32], [0, 0, 0, 0]]], [[1, ABSENT]], crowd=[[True, False]])
    goal = goals(levels(strides=(8,)), crowded, SIZE)[0]
    assert not goal.heat.any()
    assert not goal.weight.any()
    assert goal.counts[0, 0].all()
    assert goal.counts[0, 1].sum() == 64 - 16
    assert not goal.counts[0, 1, :4, :4].any()


# --------------------------------------------------------------------------- losses
def test_focal_loss_has_its_closed_form():
    """p = 1/2 at the peak, next to it (0.5) and far away: 1/4 ln 2 (1 + 1/16 + 1)."""
    heat = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    found = focal_loss(torch.zeros(1, 1, 1, 3), heat, torch.ones_like(heat))
    assert found.item() == pytest.approx(0.25 * math.log(2) * (1 + 1 / 16 + 1))
    found = focal_loss(torch.zeros(1, 1, 1, 3), heat, torch.tensor([[[[1.0, 1.0, 0.0]]]]))
    assert found.item() == pytest.approx(0.25 * math.log(2) * (1 + 1 / 16))


def test_the_loss_of_one_box_by_hand():
    """One place, one class: focal 1/4 ln 2, and a box of 2 x 2 in one of 4 x 4: 1 - 4/16."""
    maps = levels(classes=1, strides=(8,), size=(8, 8))
    box = boxes([[[2, 2, 6, 6]]], [[0]])
    assert detection_loss(maps, box, (8, 8)).item() == pytest.approx(0.25 * math.log(2) + 0.75)
    found = detection_loss(maps, box, (8, 8), box_weight=2.0)
    assert found.item() == pytest.approx(0.25 * math.log(2) + 1.5)


def test_images_that_are_not_known_do_not_count():
    pair = boxes([[[8, 8, 30, 30]], [[0, 0, 0, 0]]], [[0], [ABSENT]], known=[True, False])
    both, alone = levels(n=2), levels(n=1)
    loss = detection_loss(both, pair, SIZE)
    single = detection_loss(alone, pair.map(lambda v: v[:1]), SIZE)
    assert torch.isclose(loss, single)
    loss.backward()
    assert all(not m.grad[1].any() for level in both for m in level)
    none = detection_loss(
        both, boxes([[[0, 0, 0, 0]]] * 2, [[ABSENT]] * 2, known=[False] * 2), SIZE
    )
    assert none.item() == 0
    assert not none.requires_grad


@pytest.mark.parametrize("rows", [0, 2])
def test_images_with_nothing_in_them_teach_that_there_is_nothing(rows):
    empty = boxes([[[0, 0, 0, 0]] * rows], [[ABSENT] * rows])
    if not rows:
        empty = Boxes(
            torch.zeros(1, 0, 4), torch.zeros(1, 0).long(), torch.zeros(1, 0) > 0, empty.known
        )
    maps = levels(strides=(8,))
    loss = detection_loss(maps, empty, SIZE)
    assert loss.item() == pytest.approx(2 * 64 * 0.25 * math.log(2), rel=1e-5)
    loss.backward()
    assert (maps[0][0].grad > 0).all()
    assert maps[0][1].grad is None or not maps[0][1].grad.any()


# --------------------------------------------------------------------------- what is found
def perfect(truth, classes=2):
    """Return maps that say exactly the boxes."""
    found = []
    for (logits, _), goal in zip(
        levels(len(truth), classes), goals(levels(len(truth), classes), truth, SIZE), strict=True
    ):
        h, w = logits.shape[-2:]
        zero = corners_of(torch.zeros(len(truth), 4, h, w), SIZE)
        sign = torch.tensor([-1.0, -1, 1, 1]).reshape(1, 4, 1, 1)
        found.append((20 * (goal.heat - 0.5), sign * (goal.corners - zero)))
    return found


def test_what_maps_say_is_found():
    truth = boxes(
        [[[8, 8, 30, 30], [30, 20, 62, 50]], [[1, 2, 23, 24], [0, 0, 0, 0]]], [[0, 1], [1, ABSENT]]
    )
    found = detect(perfect(truth), SIZE)
    first = found[0]
    assert first.scores[:2].min() > 0.99
    assert first.scores[2:].max() < 0.5
    assert {
        (int(c), *b) for c, b in zip(first.classes[:2], first.corners[:2].tolist(), strict=True)
    } == {
        (0, 8, 8, 30, 30),
        (1, 30, 20, 62, 50),
    }
    assert found[1].corners[0].tolist() == [1, 2, 23, 24]
    assert mean_average_precision(found, truth) == pytest.approx(100)
    worst = detection_loss(levels(2), truth, SIZE)
    assert detection_loss(perfect(truth), truth, SIZE) < 0.02 * worst


def test_neighbours_of_a_peak_are_not_found():
    heat = torch.full((1, 1, 8, 8), -9.0)
    heat[0, 0, 3:6, 3:6] = 2.0
    heat[0, 0, 4, 4] = 3.0
    heat[0, 0, 0, 7] = 1.0
    found = detect([(heat, torch.full((1, 4, 8, 8), 4.0))], SIZE, most=2)[0]
    assert found.corners.tolist() == [[32, 32, 40, 40], [56, 0, 64, 8]]
    assert found.scores.tolist() == pytest.approx([0.9526, 0.7311], abs=1e-3)


def test_boxes_end_at_the_border():
    heat, distances = torch.zeros(1, 1, 8, 8), torch.full((1, 4, 8, 8), 100.0)
    found = detect([(heat, distances)], SIZE, most=3)[0]
    assert found.corners.tolist() == [[0, 0, 64, 64]] * 3


@pytest.mark.parametrize(
    ("shapes", "rule"),
    [
        ([(7, 8)], "one stride, got 7x8"),
        ([(8, 4)], "one stride, got 8x4"),
        ([(4, 4), (8, 8)], r"must rise, got \[16, 8\]"),
    ],
)
def test_maps_that_do_not_fit_the_image_are_refused(shapes, rule):
    maps = [(torch.zeros(1, 1, h, w), torch.zeros(1, 4, h, w)) for h, w in shapes]
    with pytest.raises(EvaluationError, match=rule):
        strides_of(maps, SIZE)
