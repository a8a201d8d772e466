"""Random changes of whole batches of images, as tensor operations.

Draws come from a CPU generator wherever the batch lies, so that a device does not change them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from .data.labels import ABSENT, IGNORED, Boxes


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image (n, c, h, w) left to right with probability 1/2."""
    return _mirror(x, _sides(x, generator))


def flip_labelled(
    x: Tensor, targets: Mapping[str, Any], generator: Generator
) -> tuple[Tensor, dict[str, Any]]:
    """Mirror images as `flip` does, and boxes and masks with them.

    Args:
        x: Images (n, c, h, w).
        targets: By task, as `netloom.estimators.data.labels.Labels` has them; classes stay.
        generator: Of the draws.
    """
    mirrored, width = _sides(x, generator), x.shape[-1]

    def change(value: Any) -> Any:
        if not isinstance(value, Boxes):
            return value if value.ndim == 1 else _mirror(value, mirrored)
        left, top, right, bottom = value.corners.unbind(-1)
        turned = torch.stack([width - right, top, width - left, bottom], -1)
        turned = torch.where((value.classes == ABSENT)[..., None], value.corners, turned)
        corners = torch.where(mirrored[:, None, None], turned, value.corners)
        return Boxes(corners, value.classes, value.crowd, value.known)

    return _mirror(x, mirrored), {task: change(value) for task, value in targets.items()}


def crop(x: Tensor, generator: Generator, padding: int) -> Tensor:
    """Shift each image (n, c, h, w) by up to `padding` pixels each way; zeros come in."""
    return _window(x, _corner(x, generator, padding), padding, 0)


def crop_labelled(
    x: Tensor, targets: Mapping[str, Any], generator: Generator, padding: int
) -> tuple[Tensor, dict[str, Any]]:
    """Shift images as `crop` does, and boxes and masks with them.

    Boxes are cut at the borders, those outside are gone; what comes into a mask is ignored.

    Args:
        x: Images (n, c, h, w).
        targets: By task, as `netloom.estimators.data.labels.Labels` has them; classes stay.
        generator: Of the draws.
        padding: Largest shift in pixels.
    """
    corner = _corner(x, generator, padding)

    def change(value: Any) -> Any:
        if isinstance(value, Boxes):
            return _shifted(value, padding - corner, *x.shape[:1:-1])
        if value.ndim == 1:
            return value
        return _window(value[:, None], corner, padding, IGNORED)[:, 0]

    return (
        _window(x, corner, padding, 0),
        {task: change(value) for task, value in targets.items()},
    )


def _sides(x: Tensor, generator: Generator) -> Tensor:
    """Return which images are mirrored: (n,)."""
    return (torch.rand(len(x), generator=generator) < 0.5).to(x.device)


def _mirror(x: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored.reshape(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


def _corner(x: Tensor, generator: Generator, padding: int) -> Tensor:
    """Return top and left of what is cut out of each padded image: (2, n)."""
    return torch.randint(0, 2 * padding + 1, (2, len(x)), generator=generator).to(x.device)


def _window(x: Tensor, corner: Tensor, padding: int, fill: int) -> Tensor:
    """Cut (h, w) out of each padded image (n, c, h, w)."""
    (n, c, h, w), (top, left) = x.shape, corner
    rows = (top[:, None] + torch.arange(h, device=x.device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(w, device=x.device))[:, None, None, :]
    images = torch.arange(n, device=x.device)[:, None, None, None]
    channels = torch.arange(c, device=x.device)[None, :, None, None]
    return pad(x, (padding,) * 4, value=fill)[images, channels, rows, columns]


def _shifted(boxes: Boxes, shift: Tensor, width: int, height: int) -> Boxes:
    """Move boxes by `shift` (2, n), down and right, and cut them at the borders."""
    down, right = shift[:, :, None]
    left, top, end, bottom = boxes.corners.unbind(-1)
    left, end = (left + right).clamp(0, width), (end + right).clamp(0, width)
    top, bottom = (top + down).clamp(0, height), (bottom + down).clamp(0, height)
    kept = (boxes.classes != ABSENT) & (left < end) & (top < bottom)
    corners = torch.stack([left, top, end, bottom], -1) * kept[..., None]
    classes = boxes.classes.masked_fill(~kept, ABSENT)
    return Boxes(corners, classes, boxes.crowd & kept, boxes.known)


def cutout(x: Tensor, generator: Generator, size: int) -> Tensor:
    """Set a square of `size` pixels of each image to zero; its centre is anywhere in the image.

    Source: arXiv:1708.04552 (the square may stick out over the border).
    """
    n, _, h, w = x.shape
    draws = torch.rand(2, n, generator=generator).to(x.device)
    top = (draws[0] * h).long()[:, None, None, None] - size // 2
    left = (draws[1] * w).long()[:, None, None, None] - size // 2
    rows = torch.arange(h, device=x.device)[None, None, :, None]
    columns = torch.arange(w, device=x.device)[None, None, None, :]
    inside = (rows >= top) & (rows < top + size) & (columns >= left) & (columns < left + size)
    return x.masked_fill(inside, 0.0)


def mixup(x: Tensor, generator: Generator, alpha: float) -> tuple[Tensor, Tensor, float]:
    """Mix each example with another one of the batch.

    Source: arXiv:1710.09412, one weight per batch as in the authors' code.

    Returns:
        The mixed batch, the partner of each example, and the weight of the example itself.
    """
    ones = torch.full((2,), alpha)
    # a Beta(alpha, alpha) draw from two gamma draws: torch.distributions takes no generator
    gammas = torch._standard_gamma(ones, generator=generator)
    weight = float(gammas[0] / gammas.sum()) if float(gammas.sum()) > 0 else 1.0
    partner = torch.randperm(len(x), generator=generator).to(x.device)
    return weight * x + (1 - weight) * x[partner], partner, weight
