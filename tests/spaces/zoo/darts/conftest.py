"""What the tests of the DARTS space share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netloom.spaces.layers import ModuleSupernet
from netloom.spaces.networks.darts.cell import SearchCell
from netloom.spaces.zoo.darts import Darts

# parameters of an operation on q channels with batch norms without scale and shift
SEARCHED = {
    "none": lambda q, stride: 0,
    "noise": lambda q, stride: 0,
    "max_pool_3x3": lambda q, stride: 0,
    "avg_pool_3x3": lambda q, stride: 0,
    "skip_connect": lambda q, stride: q * q if stride == 2 else 0,
    "sep_conv_3x3": lambda q, stride: 2 * (9 * q + q * q),
    "sep_conv_5x5": lambda q, stride: 2 * (25 * q + q * q),
    "sep_conv_7x7": lambda q, stride: 2 * (49 * q + q * q),
    "dil_conv_3x3": lambda q, stride: 9 * q + q * q,
    "dil_conv_5x5": lambda q, stride: 25 * q + q * q,
    "conv_7x1_1x7": lambda q, stride: 14 * q * q,
}


def norms(name: str, stride: int) -> int:
    """Return the batch norms of an operation in a final network."""
    if name.startswith("sep_conv"):
        return 2
    if name in ("dil_conv_3x3", "dil_conv_5x5", "conv_7x1_1x7"):
        return 1
    return int(name == "skip_connect" and stride == 2)


def weights(
    space: Darts, generator: torch.Generator, dtype: torch.dtype = torch.float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return random logits for the edges and for the nodes, as softmax weights."""
    alphas = {
        name: torch.randn(len(operations), generator=generator, dtype=dtype).softmax(0)
        for name, operations in space.operations.items()
    }
    betas = {
        name: torch.randn(len(edges), generator=generator, dtype=dtype).softmax(0)
        for name, edges in space.edges.items()
    }
    return alphas, betas


def cells(supernet: ModuleSupernet) -> list[SearchCell]:
    """Return the cells of a search network."""
    return [layer for layer in supernet.modules() if isinstance(layer, SearchCell)]


def one_hot(space: Darts, chosen: dict[str, str], logit: float = 1e4) -> dict[str, Tensor]:
    """Return the softmax of logits that are huge for one operation of each edge."""
    found = {}
    for name, operations in space.operations.items():
        logits = torch.zeros(len(operations))
        logits[operations.index(chosen.get(name, "none"))] = logit
        found[name] = logits.softmax(0)
    return found


def batch(n: int, side: int, *, channels: int = 3, dtype: torch.dtype = torch.float) -> Tensor:
    """Return images."""
    return torch.randn(
        n, channels, side, side, generator=torch.Generator().manual_seed(2), dtype=dtype
    )


def sizes(values: Sequence[Tensor]) -> int:
    """Return the number of numbers."""
    return sum(v.numel() for v in values)
