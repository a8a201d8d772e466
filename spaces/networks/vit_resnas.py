"""ViT-Res: a vision transformer in stages, with residual spatial reduction; plain or elastic.

Source: arXiv 2109.00642; yilunliao/vit-search: nets/vit_sr_supernet.py, nets/supernet_blocks.py,
nets/patch_conv.py, network_utils/finetune_state_dict.py (re-written).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import SpecError
from ..layers import (
    Choice,
    DropPath,
    ElasticLinear,
    Mlp,
    ModuleSupernet,
    OneOf,
    Positions,
    Size,
    as_size,
    attention,
    class_token,
    conv2d,
    layer_norm,
    linear,
    positions,
    removable,
    resized,
)
from .vit_resnas_plan import CONVOLUTIONS, drop_rates, stem_kind

_EPS = 1e-6  # of the layer norms
_SPREAD = 0.02  # standard deviation of new linear weights


class ConvNormAct(nn.Sequential):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.activation = nn.ReLU()


class ConvEmbedding(nn.Module):
    """Three convolutions of 3x3, the last two with a shortcut; then one that makes patches.

    Args:
        in_channels: Of the image.
        middle: Width of the first three; the first halves the side.
        dim: Width of the patches.
        patch: Side of a patch, even.
    """

    def __init__(self, in_channels: int, middle: int, dim: Size | int, patch: int) -> None:
        super().__init__()
        self.first = ConvNormAct(in_channels, middle, 2)
        self.second = ConvNormAct(middle, middle, 1)
        self.third = ConvNormAct(middle, middle, 1)
        half = patch // 2
        self.patches = conv2d(middle, dim, half, stride=half, padding=0, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, dim, H / patch, W / patch)."""
        x = self.first(x)
        y: Tensor = self.patches(x + self.third(self.second(x)))
        return y


def embedding(name: str, in_channels: int, dim: Size | int, patch: int) -> nn.Module:
    """Return what makes patches, by the name of the stem."""
    kind = stem_kind(name)
    assert kind is not None
    if kind.kind == CONVOLUTIONS:
        return ConvEmbedding(in_channels, kind.number, dim, patch)
    return conv2d(in_channels, dim, patch, stride=patch, padding=0, bias=True)


class Stem(nn.Module):
    """An image as tokens: a learned class token, then the patches; all with their positions.

    Args:
        kind: Name of the stem, or the choice of it.
        in_channels: Of the image.
        dim: Width of the tokens.
        patch: Side of a patch.
        side: Patches along a side.
    """

    def __init__(
        self, kind: str | Choice, in_channels: int, dim: Size | int, patch: int, side: int
    ) -> None:
        super().__init__()
        if isinstance(kind, Choice):
            names = [str(option) for option in kind.options]
            made = {name: embedding(name, in_channels, dim, patch) for name in names}
            self.embedding: nn.Module = OneOf(kind, made)
        else:
            self.embedding = embedding(kind, in_channels, dim, patch)
        self.token = class_token(dim)
        self.positions = positions(1 + side * side, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, 1 + side^2, dim)."""
        tokens = self.embedding(x).flatten(2).transpose(1, 2)
        y: Tensor = self.positions(self.token(tokens))
        return y


class Block(nn.Module):
    """A transformer block with the norms first: x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        dim: Width of the tokens.
        heads: Of the attention.
        head_dim: Width of a head; heads * head_dim need not be the width of the tokens.
        hidden: Width inside the multi-layer perceptron.
        drop: Probability with which training drops a branch.
    """

    def __init__(
        self,
        dim: Size | int,
        heads: Size | int,
        head_dim: Size | int,
        hidden: Size | int,
        drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1, self.attention = layer_norm(dim, eps=_EPS), attention(dim, heads, head_dim)
        self.norm2, self.mlp = layer_norm(dim, eps=_EPS), Mlp(dim, hidden)
        self.drop = DropPath(drop)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, dim) -> the same shape."""
        x = x + self.drop(self.attention(self.norm1(x)))
        y: Tensor = x + self.drop(self.mlp(self.norm2(x)))
        return y


class Reduction(nn.Module):
    """Residual spatial reduction: half the side, and no narrower than before.

    One norm over all tokens; then a 3x3 convolution of stride 2 and positions for the patches, a
    linear layer for the class token. What passes them by is not normalised: averages of 2x2
    patches and the class token itself, with zeros for the channels that are new.

    Args:
        in_dim: Width of the incoming tokens.
        dim: Width of the outgoing ones, at least as large.
        side: Incoming patches along a side, an even number.

    Raises:
        SpecError: If it would be narrower, or the side is odd.
    """

    def __init__(self, in_dim: Size | int, dim: Size | int, side: int) -> None:
        super().__init__()
        if as_size(in_dim).max > as_size(dim).least or side % 2:
            raise SpecError(
                f"a reduction halves an even side and adds channels, got side {side}, "
                f"{as_size(in_dim).max} channels before and {as_size(dim).least} after"
            )
        self.side = side
        self.norm = layer_norm(in_dim, eps=_EPS)
        self.patches = conv2d(in_dim, dim, 3, stride=2, bias=True)
        self.positions = positions((side // 2) ** 2, dim)
        self.token = linear(in_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1 + side^2, in) -> (N, 1 + side^2 / 4, dim)."""
        y = self.norm(x)
        patches = self.patches(self._map(y)).flatten(2).transpose(1, 2)
        y = torch.cat((self.token(y[:, :1]), self.positions(patches)), 1)
        pooled = F.avg_pool2d(self._map(x), 2).flatten(2).transpose(1, 2)
        passed = torch.cat((x[:, :1], pooled), 1)
        return y + F.pad(passed, (0, y.shape[-1] - passed.shape[-1]))

    def _map(self, x: Tensor) -> Tensor:
        """Return the patches as a map (N, in, side, side)."""
        return x[:, 1:].transpose(1, 2).reshape(x.shape[0], -1, self.side, self.side)


class Head(nn.Module):
    """Norm and linear layer for the class token, and in training for the patches too.

    Args:
        dim: Width of the tokens.
        classes: Number of outputs.
        patches: Whether a second linear layer classifies each patch in train mode.
    """

    def __init__(self, dim: Size | int, classes: int, patches: bool = False) -> None:
        super().__init__()
        self.norm = layer_norm(dim, eps=_EPS)
        self.classifier = linear(dim, classes)
        self.patches: nn.Module | None = linear(dim, classes) if patches else None

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, 1 + T, dim) -> (N, classes); in train mode with patches also (N, T, classes)."""
        if self.patches is None or not self.training:
            logits: Tensor = self.classifier(self.norm(x[:, 0]))
            return logits
        y = self.norm(x)
        return self.classifier(y[:, 0]), self.patches(y[:, 1:])


class StagePlan(NamedTuple):
    """The sizes of a stage.

    Args:
        dim: Width of its tokens.
        blocks: Heads, width of a head and hidden width of each block.
        needs: The choices by which each block may be left out, as `Removable` takes them; None:
            those that are listed are there.
    """

    dim: Size | int
    blocks: Sequence[tuple[Size | int, Size | int, Size | int]]
    needs: Sequence[tuple[Choice, ...]] | None = None


class Stage(nn.Sequential):
    """Residual spatial reduction (not in the first stage) and transformer blocks.

    Args:
        plan: Sizes.
        before: Width of the stage before; None: this is the first.
        side: Incoming patches along a side.
    """

    def __init__(self, plan: StagePlan, before: Size | int | None, side: int) -> None:
        super().__init__()
        if before is not None:
            self.reduction = Reduction(before, plan.dim, side)
        self.blocks = removable([Block(plan.dim, *sizes) for sizes in plan.blocks], plan.needs)


class VitRes(nn.Module):
    """Stem, stages, head.

    Args:
        stem: Name of the stem, or the choice of it.
        in_channels: Of the image.
        patch: Side of a patch.
        side: Patches along a side of the image.
        stages: Their sizes; each but the first halves the side.
        classes: Number of outputs.
        patch_head: Whether, in train mode, `forward` also returns a classification of each patch.
        drop_path: Probability with which training drops the branches of the last block; rises
            evenly from 0 at the first.
    """

    auxiliary_weight = 1.0  # of the loss of the patches

    def __init__(
        self,
        stem: str | Choice,
        in_channels: int,
        patch: int,
        side: int,
        stages: Sequence[StagePlan],
        classes: int,
        patch_head: bool = False,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = Stem(stem, in_channels, stages[0].dim, patch, side)
        made, before = [], None
        for plan in stages:
            made.append(Stage(plan, before, side))
            side, before = side if before is None else side // 2, plan.dim
        self.stages = nn.Sequential(*made)
        self.head = Head(stages[-1].dim, classes, patch_head)
        self.drop_path = drop_path
        self.spread_drop_path()
        _initialise(self)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, classes); in train mode with patch head also (N, T, classes)."""
        y: Tensor | tuple[Tensor, Tensor] = self.head(self.stages(self.stem(x)))
        return y

    def spread_drop_path(self) -> None:
        """Give each block that there is its probability."""
        blocks = [layer for layer in self.modules() if isinstance(layer, Block)]
        for block, rate in zip(blocks, drop_rates(self.drop_path, len(blocks)), strict=True):
            block.drop.rate = rate


def _initialise(network: nn.Module) -> None:
    """Draw linear weights from a narrow normal distribution; their biases are 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear | ElasticLinear):
            nn.init.trunc_normal_(layer.weight, std=_SPREAD)
            nn.init.zeros_(layer.bias)


class VitResSupernet(ModuleSupernet):
    """The super-network; its networks drop branches as those that are built alone do.

    The super-network spreads the probabilities over all blocks, a network over those it has.
    """

    def extract(self, architecture: Mapping[str, Any]) -> nn.Module:
        """Return the stand-alone network with a copy of the weights."""
        network = super().extract(architecture)
        assert isinstance(network, VitRes)
        network.spread_drop_path()
        return network


def load_resized(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Take over the weights of the same network for images of another side.

    Tables of positions are interpolated (bicubic); the class token keeps its row. So networks are
    fine-tuned at a higher resolution.

    Args:
        network: For the new side.
        state: `state_dict` of the other one.
    """
    weights = dict(state)
    for name, table, first in _tables(network):
        weights[name] = resized(weights[name], len(table), first)
    network.load_state_dict(weights)


def _tables(network: nn.Module) -> Iterator[tuple[str, Tensor, int]]:
    """Yield name, weight and rows before the patches of each table of positions."""
    for path, layer in network.named_modules():
        if isinstance(layer, Positions):
            yield f"{path}.weight", layer.weight, int(path.startswith("stem"))
