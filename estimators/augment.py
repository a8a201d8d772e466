"""Random changes of whole batches of images, as tensor operations.

Draws come from a CPU generator wherever the batch lies, so that a device does not change them.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad


def flip(x: Tensor, generator: Generator) -> Tensor:
    """Mirror each image (n, c, h, w) left to right with probability 1/2."""
    mirrored = torch.rand(len(x), generator=generator) < 0.5
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(-1), x)


def crop(x: Tensor, generator: Generator, padding: int) -> Tensor:
    """Shift each image (n, c, h, w) by up to `padding` pixels each way; zeros come in."""
    n, c, h, w = x.shape
    top, left = torch.randint(0, 2 * padding + 1, (2, n), generator=generator).to(x.device)
    rows = (top[:, None] + torch.arange(h, device=x.device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(w, device=x.device))[:, None, None, :]
    images = torch.arange(n, device=x.device)[:, None, None, None]
    channels = torch.arange(c, device=x.device)[None, :, None, None]
    return pad(x, (padding,) * 4)[images, channels, rows, columns]


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
