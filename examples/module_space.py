"""A space made of a module: write the network once, with the choices inside it.

    netloom search examples/module_space.yaml

`Mobile` is a plain `nn.Module`. A `Choice` given to elastic layers makes their width or kernel a
decision, `Repeat` the number of blocks, `OneOf` the kind of a layer. `ModuleSpace` derives the
decisions, the stand-alone networks and the super-network from it.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from netloom.spaces import ModuleSpace, OneOf
from netloom.spaces.layers import (
    Choice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLinear,
    Repeat,
    Size,
)


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; kernel and expansion ratio are chosen."""

    def __init__(self, name: str, in_width: Size | int, out_width: Size, stride: int) -> None:
        super().__init__()
        hidden = Choice(f"{name}.expand", (2, 3, 4)) * in_width
        kernel = Choice(f"{name}.kernel", (3, 5))
        self.residual = stride == 1 and in_width is out_width
        self.body = nn.Sequential(
            ElasticConv2d(in_width, hidden),
            ElasticBatchNorm2d(hidden),
            nn.ReLU(),
            ElasticConv2d(hidden, hidden, kernel, stride=stride, depthwise=True),
            ElasticBatchNorm2d(hidden),
            nn.ReLU(),
            ElasticConv2d(hidden, out_width),
            ElasticBatchNorm2d(out_width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H / stride, W / stride)."""
        y = self.body(x)
        return x + y if self.residual else y


class Mobile(nn.Module):
    """Stem, two stages of inverted residuals, head."""

    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        stem = nn.Conv2d(in_channels, 8, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(8), nn.ReLU())
        width: Size | int = 8
        stages: list[nn.Module] = []
        for number, stride in ((1, 1), (2, 2)):
            stage = f"stage{number}"
            wider = Choice(f"{stage}.width", (8 * number, 12 * number, 16 * number))
            blocks = [InvertedResidual(f"{stage}.block1", width, wider, stride)]
            blocks += [InvertedResidual(f"{stage}.block{i}", wider, wider, 1) for i in (2, 3)]
            stages.append(Repeat(f"{stage}.depth", blocks))
            width = wider
        self.stages = nn.Sequential(*stages)
        pools = {"average": nn.AdaptiveAvgPool2d(1), "max": nn.AdaptiveMaxPool2d(1)}
        self.pool = OneOf("pool", pools)
        self.classifier = ElasticLinear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, classes)."""
        return self.classifier(torch.flatten(self.pool(self.stages(self.stem(x))), 1))


class MobileSpace(ModuleSpace):
    """The space of `Mobile`, with the options that a data set fills in."""

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        example = torch.zeros(1, in_channels, resolution, resolution)
        super().__init__(partial(Mobile, in_channels, classes), example)
