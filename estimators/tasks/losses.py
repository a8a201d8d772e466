"""The losses of classes and masks; that of boxes is `detection.detection_loss`.

What is not known adds nothing: where nothing is, a loss is a constant 0 without a gradient, so that
an optimizer leaves the head as it was.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..data.labels import ABSENT, IGNORED


def classification_loss(logits: Tensor, classes: Tensor, smoothing: float = 0.1) -> Tensor:
    """Return the mean cross entropy over the examples whose class is known.

    Args:
        logits: (n, classes).
        classes: (n,), int64; `ABSENT` where not known.
        smoothing: Share of the target that is spread over all classes; arXiv 1512.00567.
    """
    if not (classes != ABSENT).any():
        return logits.new_zeros(())
    return F.cross_entropy(logits, classes, ignore_index=ABSENT, label_smoothing=smoothing)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean cross entropy over the pixels whose class is known.

    Args:
        logits: (n, classes, h, w), made as large as the masks.
        masks: (n, height, width), int64; `IGNORED` where not known.
    """
    if not (masks != IGNORED).any():
        return logits.new_zeros(())
    return F.cross_entropy(enlarged(logits, masks.shape[-2:]), masks, ignore_index=IGNORED)


def enlarged(logits: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return the logits (n, classes, h, w) of every pixel of images of that size (bilinear)."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return F.interpolate(logits, size=tuple(size), mode="bilinear", align_corners=False)
