"""Networks with a head for each task: what is shown, where, and which pixels it is.

netloom search examples/multi_task.yaml

The data set says which tasks there are (the option `tasks` of the space is filled in from it); a
network returns a dictionary with the outputs of each.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from netloom.spaces import Architecture, Decision, Space


class Heads(Space):
    """A trunk of convolutions that halve the image four times, and a head for each task."""

    def __init__(
        self,
        *,
        in_channels: int = 3,
        resolution: int = 32,
        classes: int = 4,
        tasks: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(
            [
                Decision("width", (8, 12, 16, 24), ordered=True),
                Decision("kernel", (3, 5), ordered=True),
                Decision("blocks", (1, 2), ordered=True),
            ]
        )

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        listed = self.options["tasks"] or [
            {"name": "classification", "classes": self.options["classes"]}
        ]
        return Network(
            self.options["in_channels"],
            {task["name"]: task["classes"] for task in listed},
            **dict(architecture),
        )

    def example_input(self, architecture: Architecture) -> Tensor:
        """Return one image."""
        side = self.options["resolution"]
        return torch.zeros(1, self.options["in_channels"], side, side)


class Network(nn.Module):
    """Maps at strides 4, 8 and 16 for masks, boxes and classes."""

    def __init__(
        self, in_channels: int, tasks: dict[str, int], width: int, kernel: int, blocks: int
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            _conv(in_channels, width, 3, 2), _conv(width, 2 * width, kernel, 2)
        )
        self.down = nn.ModuleList(
            nn.Sequential(
                _conv(2 * width, 2 * width, kernel, 2),
                *(_conv(2 * width, 2 * width, kernel, 1) for _ in range(blocks - 1)),
            )
            for _ in range(2)
        )
        heads = {"classification": _Classes, "detection": _Boxes, "segmentation": _Masks}
        self.heads = nn.ModuleDict({n: heads[n](2 * width, c) for n, c in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Any]:
        """Images (n, c, h, w) -> outputs by task."""
        maps = [self.stem(x)]
        for layer in self.down:
            maps.append(layer(maps[-1]))
        return {name: head(*maps) for name, head in self.heads.items()}


class _Classes(nn.Module):
    """Logits (n, classes)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * width, classes)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        pooled = torch.cat([coarse.mean((2, 3)), coarse.amax((2, 3))], 1)
        return self.linear(pooled)


class _Masks(nn.Module):
    """Logits (n, classes, h, w) at stride 4; the loss makes them as large as the image."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.twice = nn.Upsample(scale_factor=2)
        self.mix = _conv(width, width, 3, 1)
        self.classes = nn.Conv2d(width, classes, 1)

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> Tensor:
        return self.classes(self.mix(fine + self.twice(middle + self.twice(coarse))))


class _Boxes(nn.Module):
    """For strides 8 and 16: logits (n, classes, h, w), pixels to the four sides (n, 4, h, w)."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.twice = nn.Upsample(scale_factor=2)
        self.mix = _conv(width, width, 3, 1)
        self.heat = nn.Conv2d(width, classes, 1)
        self.sides = nn.Sequential(nn.Conv2d(width, 4, 1), nn.Softplus())
        nn.init.constant_(self.heat.bias, -2.19)  # one place in ten is a centre, at first

    def forward(self, fine: Tensor, middle: Tensor, coarse: Tensor) -> list[tuple[Tensor, Tensor]]:
        maps = [(8, self.mix(middle + self.twice(coarse))), (16, self.mix(coarse))]
        return [(self.heat(x), stride * self.sides(x)) for stride, x in maps]


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
