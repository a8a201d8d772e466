"""Boxes without anchors: a heat map of each class and the distances to a box's sides, per stride.

The centre of a box is a peak of the heat map of its class; around it, a Gaussian as wide and as
high as the box says how little a guess beside the peak is a mistake (arXiv 1808.01244, 1904.07850),
and how much a place counts for the box (arXiv 1909.00700, whose weight by the logarithm of the
area is left out: every box counts once). A box belongs to one stride (arXiv 1904.01355).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ...errors import EvaluationError
from ..data.labels import ABSENT, Boxes

Level: TypeAlias = Sequence[Tensor]
"""Of one stride: logits of each class (n, classes, h, w), and pixels from the centre of each place
to the left, top, right and bottom of a box (n, 4, h, w)."""

REACH = 8.0  # strides from a box's centre to its farthest side, at most; arXiv 1904.01355
_SHARE = 0.54  # of a box, sides of the Gaussian's region; arXiv 1909.00700
_FOCUS, _NEAR = 2, 4  # exponents of the focal loss; arXiv 1808.01244


class Goal(NamedTuple):
    """What a stride is to say.

    Args:
        heat: (n, classes, h, w), 0..1; 1 is an object's centre.
        counts: (n, classes, h, w), 0 where a guess is no mistake: in a crowd of that class.
        corners: (n, 4, h, w), the box of each place, in pixels.
        weight: (n, h, w), how much the place counts for its box.
    """

    heat: Tensor
    counts: Tensor
    corners: Tensor
    weight: Tensor


class Detections(NamedTuple):
    """What was found in one image, the surest first.

    Args:
        corners: (k, 4), left, top, right, bottom in pixels.
        classes: (k,).
        scores: (k,), 0..1.
    """

    corners: Tensor
    classes: Tensor
    scores: Tensor


def detection_loss(
    levels: Sequence[Level], boxes: Boxes, size: tuple[int, int], box_weight: float = 1.0
) -> Tensor:
    """Return focal loss of the heat maps + `box_weight` * GIoU loss, per box.

    Args:
        levels: From the finest stride to the coarsest.
        boxes: Of the batch, as tensors.
        size: Height and width of the images, in pixels.
        box_weight: Of the second part.

    Raises:
        EvaluationError: If a map does not fit the images.
    """
    known = boxes.known.nonzero()[:, 0]
    if not len(known):
        return levels[0][0].new_zeros(())
    boxes = boxes.take(known)
    heat = giou = levels[0][0].new_zeros((), dtype=torch.float32)
    for (logits, distances), goal in zip(levels, goals(levels, boxes, size), strict=True):
        heat = heat + focal_loss(logits[known].float(), goal.heat, goal.counts)
        found = corners_of(distances[known].float(), size)
        worse = 1 - generalised_iou(found.movedim(1, -1), goal.corners.movedim(1, -1))
        giou = giou + (goal.weight * worse).sum()
    number: Tensor = ((boxes.classes != ABSENT) & ~boxes.crowd).sum().clamp(min=1)
    return (heat + box_weight * giou) / number


def focal_loss(logits: Tensor, heat: Tensor, counts: Tensor) -> Tensor:
    """Return the sum of the focal loss with fewer penalties near a peak; arXiv 1808.01244.

    Args:
        logits: (n, classes, h, w).
        heat: As `Goal` has it.
        counts: As `Goal` has it.
    """
    yes, no = F.logsigmoid(logits), F.logsigmoid(-logits)
    right = -no.exp().pow(_FOCUS) * yes
    wrong = -yes.exp().pow(_FOCUS) * no * (1 - heat).pow(_NEAR) * counts
    return torch.where(heat == 1, right, wrong).sum()


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Return the GIoU, -1..1, of pairs of boxes with corners (..., 4); arXiv 1902.09630."""
    both = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).clamp(0)
    inner, outer = both.prod(-1), hull.prod(-1)
    union = sum((c[..., 2:] - c[..., :2]).clamp(0).prod(-1) for c in (a, b)) - inner
    tiny = torch.finfo(outer.dtype).tiny
    return inner / union.clamp(tiny) - (outer - union) / outer.clamp(tiny)


def strides_of(levels: Sequence[Level], size: tuple[int, int]) -> list[int]:
    """Return the pixels of an image from one place of a map to the next, for each map.

    Raises:
        EvaluationError: If that is no whole number, or not the same in both directions.
    """
    strides = []
    for logits, _ in levels:
        (height, width), (h, w) = size, logits.shape[-2:]
        if height % h or width % w or height // h != width // w:
            raise EvaluationError(
                f"detection: the maps of a level must divide images of {height}x{width} pixels by "
                f"one stride, got {h}x{w}; take images of a multiple of the largest stride"
            )
        strides.append(height // h)
    if strides != sorted(set(strides)):
        raise EvaluationError(f"detection: the strides of levels must rise, got {strides}")
    return strides


def goals(levels: Sequence[Level], boxes: Boxes, size: tuple[int, int]) -> list[Goal]:
    """Return what each level is to say of images whose boxes are known."""
    strides = strides_of(levels, size)
    sides = boxes.corners[..., 2:] - boxes.corners[..., :2]
    limits = torch.tensor([REACH * s for s in strides[:-1]], device=sides.device)
    place = ((sides.amax(-1) / 2)[..., None] > limits).sum(-1)
    there = (boxes.classes != ABSENT) & ~boxes.crowd
    return [
        _goal(logits, boxes, there & (place == i), stride)
        for i, ((logits, _), stride) in enumerate(zip(levels, strides, strict=True))
    ]


def _goal(logits: Tensor, boxes: Boxes, mine: Tensor, stride: int) -> Goal:
    classes, h, w = logits.shape[1:]
    n, rows = mine.shape
    corners = boxes.corners.float()
    across = _bell(corners[..., 0], corners[..., 2], stride, w)
    down = _bell(corners[..., 1], corners[..., 3], stride, h)
    bell = down[..., :, None] * across[..., None, :] * mine[..., None, None]
    kind = boxes.classes.clamp(0)[..., None, None].expand(bell.shape)
    heat = bell.new_zeros(n, classes, h, w)
    heat = heat.scatter_reduce(1, kind, bell, "amax")
    crowd = torch.zeros_like(heat).scatter_reduce(1, kind, _within(boxes, stride, h, w), "amax")
    if not rows:
        return Goal(heat, 1 - crowd, heat.new_zeros(n, 4, h, w), heat.new_zeros(n, h, w))
    # a place is that of the smallest box whose bell reaches it
    area = (corners[..., 2:] - corners[..., :2]).prod(-1)[..., None, None]
    owner = torch.where(bell > 0, area, math.inf).argmin(1, keepdim=True)
    share = bell / bell.sum((2, 3), keepdim=True).clamp(torch.finfo(bell.dtype).tiny)
    weight = share.gather(1, owner)[:, 0]
    box = corners[:, :, :, None, None].expand(n, rows, 4, h, w)
    box = box.gather(1, owner[:, :, None].expand(n, 1, 4, h, w))[:, 0]
    return Goal(heat, 1 - crowd, box, weight)


def _bell(low: Tensor, high: Tensor, stride: int, count: int) -> Tensor:
    """Return the Gaussian of each box along one side of the map: (n, rows, count)."""
    length = (high - low) / stride
    centre = ((low + high) / 2 / stride).floor().clamp(0, count - 1)
    away = torch.arange(count, device=low.device) - centre[..., None]
    sigma = (_SHARE * length / 6).clamp(1e-6)[..., None]
    bell = torch.exp(-away.square() / (2 * sigma.square()))
    return bell * ((away.abs() <= _SHARE / 2 * length[..., None]) | (away == 0))


def _within(boxes: Boxes, stride: int, h: int, w: int) -> Tensor:
    """Return which places lie in each crowd: (n, rows, h, w), 0 or 1."""
    x, y = (stride * (torch.arange(k, device=boxes.corners.device) + 0.5) for k in (w, h))
    left, top, right, bottom = boxes.corners[..., None].unbind(-2)
    across, down = (left <= x) & (x <= right), (top <= y) & (y <= bottom)
    inside: Tensor = down[..., :, None] & across[..., None, :] & boxes.crowd[..., None, None]
    return inside.float()


def corners_of(distances: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the corners (n, 4, h, w) of the boxes that distances (n, 4, h, w) say, in pixels."""
    h, w = distances.shape[-2:]
    x, y = (
        side / count * (torch.arange(count, device=distances.device) + 0.5)
        for side, count in ((size[1], w), (size[0], h))
    )
    left, top, right, bottom = distances.unbind(1)
    return torch.stack([x - left, y[:, None] - top, x + right, y[:, None] + bottom], 1)


def detect(levels: Sequence[Level], size: tuple[int, int], most: int = 100) -> list[Detections]:
    """Return the peaks of the heat maps as boxes within the image; arXiv 1904.07850.

    A peak is at least as high as its eight neighbours: nothing is sorted out afterwards.

    Args:
        levels: From the finest stride to the coarsest.
        size: Height and width of the images, in pixels.
        most: Boxes of an image, the surest ones.
    """
    strides_of(levels, size)
    scores, classes, corners = [], [], []
    for logits, distances in levels:
        heat = logits.float().sigmoid()
        peaks = heat * (F.max_pool2d(heat, 3, stride=1, padding=1) == heat)
        n, kinds, h, w = heat.shape
        found = corners_of(distances.float(), size).flatten(2).movedim(1, 2)
        scores.append(peaks.flatten(1))
        numbers = torch.arange(kinds, device=heat.device)
        classes.append(numbers[:, None].expand(kinds, h * w).flatten().expand(n, -1))
        corners.append(found[:, None].expand(n, kinds, h * w, 4).flatten(1, 2))
    score, kind, corner = (torch.cat(parts, 1) for parts in (scores, classes, corners))
    best, index = score.topk(min(most, score.shape[1]), dim=1)
    corner = corner.gather(1, index[..., None].expand(*index.shape, 4))
    limit = torch.tensor([size[1], size[0]] * 2, dtype=corner.dtype, device=corner.device)
    corner = torch.minimum(corner.clamp(0), limit)
    real = (best > 0) & (corner[..., 0] < corner[..., 2]) & (corner[..., 1] < corner[..., 3])
    kind = kind.gather(1, index)
    return [
        Detections(c[k], n[k], s[k]) for c, n, s, k in zip(corner, kind, best, real, strict=True)
    ]
