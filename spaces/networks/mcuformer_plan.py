"""The sizes of MCUFormer networks: tokens, hidden widths, ranks, parameters. Needs no torch.

Ratios of ranks are whole hundredths: after a few steps of 0.05 a float is no longer what it was,
and its product with a width falls to the next whole number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

FARTHEST = 14  # distance between patches beyond which relative positions stay the same


class BlockSizes(NamedTuple):
    """The sizes of a block.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.
        head_dim: Width of a head.
        hidden: Width inside the MLP.
        rank_attn: Of the layers of attention.
        rank_mlp: Of the layers of the MLP.
        factors: In how many each layer is cut.
    """

    dim: int
    heads: int
    head_dim: int
    hidden: int
    rank_attn: int
    rank_mlp: int
    factors: int

    @property
    def inner(self) -> int:
        """The width of all heads together."""
        return self.heads * self.head_dim

    @property
    def proj_factors(self) -> int:
        """In how many the output layer of attention is cut; with two factors it stays whole."""
        return proj_factors(self.factors)


def proj_factors(factors: int) -> int:
    """Return in how many factors the output layer of attention is cut."""
    return 3 if factors == 3 else 1


def padding(resolution: int, patch: int) -> int:
    """Return what the image is padded by on each side, so that whole patches cover it.

    >>> [padding(240, p) for p in (16, 20, 24, 28, 32)], padding(224, 22)
    ([0, 0, 0, 6, 8], 9)
    """
    missing = side(resolution, patch) * patch - resolution
    return -(-missing // 2)


def side(resolution: int, patch: int) -> int:
    """Return how many patches there are in a row."""
    return -(-resolution // patch)


def hidden_width(dim: int, ratio: float) -> int:
    """Return the width inside an MLP."""
    return int(dim * ratio)


def share(whole: int, hundredths: int) -> int:
    """Return a part of a width, rounded down."""
    return whole * hundredths // 100


def heads_share(head_dim: int, heads: int, hundredths: int) -> int:
    """Return a part of the width of all heads, rounded down."""
    return share(head_dim * heads, hundredths)


def narrower_share(dim: int, ratio: float, attn: int, mlp: int) -> int:
    """Return a part of the narrower side of an MLP, rounded down.

    Args:
        dim: Width of the tokens.
        ratio: Of the hidden width.
        attn: Hundredths of attention.
        mlp: Hundredths of the MLP; 0: those of attention.
    """
    return share(min(dim, hidden_width(dim, ratio)), mlp or attn)


def dim_share(dim: int, attn: int, mlp: int) -> int:
    """Return a part of the width of the tokens, rounded down; arguments as `narrower_share`."""
    return share(dim, mlp or attn)


def params(
    blocks: Sequence[BlockSizes], patch: int, patches: int, classes: int, in_channels: int
) -> int:
    """Return the parameters of a network in closed form.

    Args:
        blocks: Its blocks.
        patch: Side of a patch.
        patches: Number of patches.
        classes: Number of outputs.
        in_channels: Channels of the image.
    """
    dim = blocks[0].dim
    embedding = in_channels * patch**2 * dim + dim + dim * (patches + 2)
    return embedding + 2 * dim + classes * (dim + 1) + sum(map(_block_params, blocks))


def _block_params(b: BlockSizes) -> int:
    tables = 2 * 2 * (2 * FARTHEST + 2) * b.head_dim
    biases = 3 * b.inner + b.dim + b.hidden + b.dim
    return 4 * b.dim + tables + _layer_weights(b) + biases


def _layer_weights(b: BlockSizes) -> int:
    """Return the elements of the four layers of a block, their biases left out."""
    return (
        weights(b.dim, 3 * b.inner, b.rank_attn, b.factors)
        + weights(b.inner, b.dim, b.rank_attn, b.proj_factors)
        + weights(b.dim, b.hidden, b.rank_mlp, b.factors)
        + weights(b.hidden, b.dim, b.rank_mlp, b.factors)
    )


def weights(reads: int, writes: int, rank: int, factors: int) -> int:
    """Return the elements of the factors of a layer, its bias left out."""
    if factors == 1:
        return reads * writes
    return reads * rank + (factors - 2) * rank**2 + rank * writes


def macs(
    blocks: Sequence[BlockSizes], patch: int, patches: int, classes: int, in_channels: int
) -> int:
    """Return the multiply-adds of a network in closed form; arguments as `params`."""
    dim, tokens = blocks[0].dim, patches + 1
    return (
        patches * in_channels * patch**2 * dim
        + classes * dim
        + sum(_block_macs(block, tokens) for block in blocks)
    )


def _block_macs(b: BlockSizes, tokens: int) -> int:
    products = 4 * tokens**2 * b.inner  # two, and two with relative positions
    return tokens * _layer_weights(b) + products


def official_flops(
    blocks: Sequence[BlockSizes], patch: int, patches: int, classes: int, in_channels: int
) -> float:
    """Return what `get_complexity` of the released code counts, for comparison with it alone.

    Its blocks see a token too many, its classifier every token; norms and halves of positions
    count, products with relative positions in part; arguments as `params`.

    Source: liangyn22/MCUFormer, `model/supernet_transformer.py` and `model/module/`.
    """
    dim = blocks[0].dim
    total = dim + patches * in_channels * patch**2 * dim + (patches + 1) * dim / 2
    for block in blocks:
        total += _official_block(block, patches + 2)
    return total + (patches + 1) * dim * classes


def _official_block(b: BlockSizes, tokens: int) -> float:
    positions = 2 * FARTHEST * tokens**2 + tokens**2 / 2 + tokens * b.inner / 2
    return tokens * _layer_weights(b) + 2 * tokens * b.dim + 2 * tokens**2 * b.inner + positions
