"""How well networks answer, task by task, all in per cent."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...errors import EvaluationError, MissingDependency
from ..data.labels import ABSENT, IGNORED, Boxes
from .detection import Detections
from .losses import enlarged


def accuracy(logits: Tensor, classes: Tensor) -> float:
    """Return the share of right classes, among the examples whose class is known.

    Args:
        logits: (n, classes).
        classes: (n,), `ABSENT` where not known.

    Raises:
        EvaluationError: If no class is known.
    """
    known = classes != ABSENT
    right = (logits.argmax(1) == classes) & known
    return 100.0 * int(right.sum()) / _some(int(known.sum()), "accuracy", "class")


def confusion(logits: Tensor, masks: Tensor) -> Tensor:
    """Return how many pixels of each class (rows) were taken for each (columns).

    Args:
        logits: (n, classes, h, w), made as large as the masks.
        masks: (n, height, width), `IGNORED` where not known.
    """
    classes = logits.shape[1]
    found = enlarged(logits, masks.shape[-2:]).argmax(1)
    known = masks != IGNORED
    pairs = masks[known].long() * classes + found[known]
    return torch.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def mean_iou(pixels: Tensor) -> float:
    """Return the mean, over the classes that are there or were said, of intersection / union.

    Args:
        pixels: Sum of `confusion` over all batches.

    Raises:
        EvaluationError: If no pixel is known.
    """
    _some(int(pixels.sum()), "mIoU", "pixel")
    same = pixels.diagonal().double()
    union = pixels.sum(0) + pixels.sum(1) - same
    return 100.0 * float((same / union)[union > 0].mean())


def mean_average_precision(found: Sequence[Detections], boxes: Boxes) -> float:
    """Return COCO's AP: the mean over classes and the IoUs 0.50, 0.55, ..., 0.95.

    It is counted by pycocotools. Images that are not known are left out.

    Args:
        found: Of each image.
        boxes: Of all images.

    Raises:
        EvaluationError: If there is no box to be found.
        MissingDependency: If pycocotools is not installed.
    """
    coco, evaluation = pycocotools()
    truth = _annotations(boxes)
    _some(sum(not a["iscrowd"] for a in truth), "AP", "box")
    said = _results(found, boxes.known.tolist())
    if not said:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it does
        reference = coco.COCO()
        reference.dataset = {
            "images": [{"id": i} for i, known in enumerate(boxes.known.tolist()) if known],
            "annotations": truth,
            "categories": [{"id": c} for c in sorted({a["category_id"] for a in truth})],
            "info": {},
        }
        reference.createIndex()
        judged = evaluation.COCOeval(reference, reference.loadRes(said), "bbox")
        # of all sizes, at most 100 boxes of an image: what AP is made of
        judged.params.areaRng, judged.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        judged.params.maxDets = [100]
        judged.evaluate()
        judged.accumulate()
    # (IoUs, recalls, classes, sizes of objects, most boxes of an image), -1 where nothing is
    precision = judged.eval["precision"]
    return 100.0 * float(precision[precision > -1].mean())


def pycocotools() -> tuple[Any, Any]:
    """Return the modules `coco` and `cocoeval`.

    Raises:
        MissingDependency: If pycocotools is not installed.
    """
    try:
        from pycocotools import coco, cocoeval
    except ImportError as error:
        raise MissingDependency(
            "the AP of boxes needs the package pycocotools; pip install 'netloom[detection]'"
        ) from error
    return coco, cocoeval


def _annotations(boxes: Boxes) -> list[dict[str, Any]]:
    truth: list[dict[str, Any]] = []
    for image, row in ((boxes.classes != ABSENT) & boxes.known[:, None]).nonzero().tolist():
        left, top, right, bottom = boxes.corners[image, row].tolist()
        truth.append(
            {
                "id": len(truth) + 1,  # 0 would be taken for no match
                "image_id": image,
                "category_id": int(boxes.classes[image, row]),
                "bbox": [left, top, right - left, bottom - top],
                "area": (right - left) * (bottom - top),
                "iscrowd": int(boxes.crowd[image, row]),
            }
        )
    return truth


def _results(found: Sequence[Detections], known: Sequence[bool]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for image, one in enumerate(found):
        rows = zip(one.corners.tolist(), one.classes.tolist(), one.scores.tolist(), strict=True)
        for (left, top, right, bottom), kind, score in rows if known[image] else ():
            box = [left, top, right - left, bottom - top]
            said.append({"image_id": image, "category_id": kind, "bbox": box, "score": score})
    return said


def _some(number: int, metric: str, thing: str) -> int:
    if not number:
        raise EvaluationError(
            f"{metric} needs at least one {thing} that is known, got none; take a split with labels"
        )
    return number
