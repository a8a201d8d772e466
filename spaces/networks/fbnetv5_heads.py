"""Heads of FBNetV5: small modules that read maps of some paths and say one task's output.

A user's head is any function `(widths, strides, classes, **options)` that returns a module whose
`forward` takes the map of each path that it reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from torch import Tensor, nn

from ...registry import load
from .fbnetv5_blocks import PoolTail
from .mobile_blocks import ConvNorm, he_fan_out

_PRIOR = 0.01  # share of the places that are an object's at first; arXiv 1708.02002


class Classification(nn.Module):
    """The tail of FBNetV3 and a linear layer, on the last map.

    Args:
        widths: Of the maps.
        strides: Not used.
        classes: Number of outputs.
        features: Before the linear layer.
    """

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int], classes: int, features: int = 1984
    ) -> None:
        super().__init__()
        self.tail = PoolTail(widths[-1], features)
        self.classifier = nn.Linear(features, classes)
        he_fan_out(self)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) -> logits (N, classes)."""
        logits: Tensor = self.classifier(self.tail(maps[-1]))
        return logits


class Segmentation(nn.Module):
    """The sum of all maps at the size of the first, a 3x3 convolution, a class for each pixel.

    Args:
        widths: Of the maps.
        strides: Of the maps, each twice the one before.
        classes: Number of classes of a pixel.
        channels: Of the sum.
    """

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int], classes: int, channels: int = 64
    ) -> None:
        super().__init__()
        self.projections = nn.ModuleList(ConvNorm(width, channels) for width in widths)
        self.enlarge = nn.ModuleList(
            nn.Upsample(scale_factor=stride // strides[0], mode="bilinear")
            if stride > strides[0]
            else nn.Identity()
            for stride in strides
        )
        self.mix = ConvNorm(channels, channels, 3, 1, "h_swish")
        self.classifier = nn.Conv2d(channels, classes, 1)
        he_fan_out(self)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C, H, W) -> logits (N, classes, H, W) at the size of the first."""
        total: Tensor | None = None
        for x, project, enlarge in zip(maps, self.projections, self.enlarge, strict=True):
            y = enlarge(project(x))
            total = y if total is None else total + y
        logits: Tensor = self.classifier(self.mix(total))
        return logits


class Level(NamedTuple):
    """What detection says of one map; a place's centre is that of its pixels in the image.

    Args:
        heat: Logits of each class (N, classes, h, w).
        boxes: Pixels from the centre to the left, top, right and bottom (N, 4, h, w).
    """

    heat: Tensor
    boxes: Tensor


class Detection(nn.Module):
    """A pyramid from the last map to the first, and for each place of it classes and a box.

    Two 3x3 convolutions and what follows them are shared by all maps; each map has norms of its
    own. No anchors (arXiv 1904.01355, 1904.07850).

    Args:
        widths: Of the maps.
        strides: Of the maps, each twice the one before.
        classes: Number of classes.
        channels: Of the pyramid.
    """

    def __init__(
        self, widths: Sequence[int], strides: Sequence[int], classes: int, channels: int = 64
    ) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.projections = nn.ModuleList(ConvNorm(width, channels) for width in widths)
        self.enlarge = nn.Upsample(scale_factor=2)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False) for _ in range(2)
        )
        self.norms = nn.ModuleList(
            nn.ModuleList(nn.BatchNorm2d(channels) for _ in self.convs) for _ in widths
        )
        self.activation = nn.Hardswish()
        self.heat = nn.Conv2d(channels, classes, 1)
        self.boxes = nn.Conv2d(channels, 4, 1)
        self.positive = nn.Softplus()
        he_fan_out(self)
        nn.init.normal_(self.heat.weight, std=0.01)
        nn.init.constant_(cast(Tensor, self.heat.bias), -math.log((1 - _PRIOR) / _PRIOR))

    def forward(self, *maps: Tensor) -> list[Level]:
        """Maps (N, C, h, w) -> for each, logits (N, classes, h, w) and boxes (N, 4, h, w)."""
        levels = zip(self._pyramid(maps), self.norms, self.strides, strict=True)
        return [self._level(x, cast(nn.ModuleList, norms), stride) for x, norms, stride in levels]

    def _pyramid(self, maps: Sequence[Tensor]) -> list[Tensor]:
        found = [project(x) for x, project in zip(maps, self.projections, strict=True)]
        for place in range(len(found) - 2, -1, -1):
            found[place] = found[place] + self.enlarge(found[place + 1])
        return found

    def _level(self, x: Tensor, norms: nn.ModuleList, stride: int) -> Level:
        for conv, norm in zip(self.convs, norms, strict=True):
            x = self.activation(norm(conv(x)))
        return Level(self.heat(x), self.positive(self.boxes(x)) * stride)


class HeadPlan(NamedTuple):
    """A task's head, in plain values.

    Args:
        task: Name.
        path: Import path of the class or function that makes it.
        widths: Of the maps that it reads.
        strides: Of these maps.
        classes: Number of classes.
        options: Further arguments, by name.
    """

    task: str
    path: str
    widths: tuple[int, ...]
    strides: tuple[int, ...]
    classes: int
    options: tuple[tuple[str, Any], ...]

    def make(self) -> nn.Module:
        """Return the head, freshly initialised."""
        made: nn.Module = load(self.path, kind="head")(
            self.widths, self.strides, self.classes, **dict(self.options)
        )
        return made


class Heads(nn.Module):
    """The heads of all tasks.

    Args:
        heads: For each task its head, and which of the maps it reads.
    """

    def __init__(self, heads: Mapping[str, tuple[nn.Module, tuple[int, ...]]]) -> None:
        super().__init__()
        self.tasks = nn.ModuleDict({name: head for name, (head, _) in heads.items()})
        self.reads = {name: reads for name, (_, reads) in heads.items()}

    def forward(self, *maps: Tensor) -> Any:
        """Maps -> the outputs by the name of the task; of one task its own; of none the maps."""
        found = {
            name: head(*[maps[i] for i in self.reads[name]]) for name, head in self.tasks.items()
        }
        if not found:
            return maps
        return found if len(found) > 1 else next(iter(found.values()))


def heads(*plans: tuple[tuple[Any, ...], tuple[int, ...]]) -> Heads:
    """Return new heads.

    Args:
        plans: For each task the values of a `HeadPlan`, and which of the maps it reads.
    """
    made = [(HeadPlan(*values), reads) for values, reads in plans]
    return Heads({plan.task: (plan.make(), reads) for plan, reads in made})
