"""MCUFormer: vision transformers whose linear layers are products of small matrices.

Source: arXiv 2310.16898; liangyn22/MCUFormer, `model/supernet_transformer.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from ..layers import (
    Choice,
    DropPath,
    ElasticLinear,
    LowRankLinear,
    OneOf,
    Size,
    class_token,
    conv2d,
    fixed,
    layer_norm,
    linear,
    low_rank,
    positions,
    relative_attention,
    repeat,
)
from .mcuformer_plan import FARTHEST, padding, proj_factors, side

_SPREAD = 0.02  # standard deviation of new classifiers and dense layers


class PatchEmbedding(nn.Sequential):
    """Makes a token of each patch, puts a class token before them, adds learned positions.

    Args:
        in_channels: Of the image.
        dim: Width of the tokens.
        patch: Side of a patch.
        resolution: Side of the image; it is padded where the last patches go beyond it.
    """

    def __init__(self, in_channels: int, dim: Size | int, patch: int, resolution: int) -> None:
        super().__init__()
        around = padding(resolution, patch)
        self.patches = conv2d(in_channels, dim, patch, stride=patch, padding=around, bias=True)
        self.flatten = Tokens()
        self.class_token = class_token(dim)
        self.positions = positions(side(resolution, patch) ** 2 + 1, dim)
        nn.init.zeros_(cast(Tensor, self.patches.bias))


class Tokens(nn.Module):
    """Takes the pixels of a map as tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, H W, C)."""
        return x.flatten(2).transpose(1, 2)


class Mlp(nn.Sequential):
    """Two layers around a GELU.

    Args:
        dim: Width of the tokens.
        hidden: Width between.
        rank: Of both layers.
        factors: In how many each is cut.
    """

    def __init__(self, dim: Size | int, hidden: Size | int, rank: Size | int, factors: int) -> None:
        super().__init__()
        self.fc1 = low_rank(dim, hidden, rank, factors=factors)
        self.activation = nn.GELU()
        self.fc2 = low_rank(hidden, dim, rank, factors=factors)


class Block(nn.Module):
    """Transformer block: attention and MLP of low rank, each behind a norm, beside a shortcut.

    Args:
        dim: Width of the tokens.
        heads: Number of heads.
        head_dim: Width of a head.
        hidden: Width inside the MLP.
        rank_attn: Of the layers of attention.
        rank_mlp: Of the layers of the MLP.
        factors: 3: every layer is (in x R)(R x R)(R x out); 2: (in x R)(R x out), and the output
            layer of attention stays whole; 1: all stay whole.
        drop: Probability with which training drops each branch of a sample.
    """

    def __init__(
        self,
        dim: Size | int,
        heads: Size | int,
        head_dim: int,
        hidden: Size | int,
        rank_attn: Size | int,
        rank_mlp: Size | int,
        factors: int,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        inner, shared = heads * head_dim, not fixed(dim, heads, hidden, rank_attn, rank_mlp)
        qkv = low_rank(dim, heads * (3 * head_dim), rank_attn, factors=factors, groups=3)
        proj = low_rank(inner, dim, rank_attn, factors=proj_factors(factors))
        self.norm1 = layer_norm(dim)
        self.attention = relative_attention(qkv, proj, heads, head_dim, FARTHEST, shared=shared)
        self.norm2 = layer_norm(dim)
        self.mlp = Mlp(dim, hidden, rank_mlp, factors)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> the same shape."""
        x = x + self.drop(self.attention(self.norm1(x)))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


class Head(nn.Module):
    """Norm, average of the patches' tokens, classifier; the class token is not looked at.

    Args:
        dim: Width of the tokens.
        classes: Number of outputs.
    """

    def __init__(self, dim: Size | int, classes: int) -> None:
        super().__init__()
        self.norm = layer_norm(dim)
        self.classifier = linear(dim, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + patches, dim) -> (N, classes)."""
        logits: Tensor = self.classifier(self.norm(x)[:, 1:].mean(1))
        return logits


class VisionTransformer(nn.Sequential):
    """Patch embedding, blocks, head; the super-network where sizes are choices.

    Args:
        embeddings: Arguments of `PatchEmbedding` by side of the patch.
        patch: Which of them; a choice among them.
        blocks: Arguments of `Block` without the probability.
        depth: How many of the blocks run, the first ones.
        classes: Number of outputs.
        drop: Probability with which training drops the branches of block `deepest`; rises linearly
            from 0 at the first.
        deepest: Number of blocks of the deepest network.
    """

    def __init__(
        self,
        embeddings: Mapping[int, tuple[int, Size | int, int, int]],
        patch: Choice | int,
        blocks: Sequence[Sequence[Any]],
        depth: Choice | int,
        classes: int,
        drop: float = 0.0,
        deepest: int = 1,
    ) -> None:
        super().__init__()
        made = {p: PatchEmbedding(*arguments) for p, arguments in embeddings.items()}
        self.embedding = OneOf(patch, made) if isinstance(patch, Choice) else made[patch]
        step = drop / max(1, deepest - 1)
        self.blocks = repeat(depth, [Block(*[*b, i * step]) for i, b in enumerate(blocks)])
        self.head = Head(blocks[0][0], classes)
        _initialise(self)


def _initialise(network: nn.Module) -> None:
    """Draw new weights: biases 0, whole layers as vision transformers do.

    Factors keep torch's rule, whose products come out about as large as such layers. With a spread
    of 0.02 each, three of them would make next to nothing of what they read.
    """
    products = [layer for layer in network.modules() if isinstance(layer, LowRankLinear)]
    factors = {factor for product in products for factor in product}
    for layer in network.modules():
        if isinstance(layer, nn.Linear | ElasticLinear):
            if layer not in factors:
                nn.init.trunc_normal_(layer.weight, std=_SPREAD)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
