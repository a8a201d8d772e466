"""A space written for NNI with every kind of choice; imported only where NNI is installed."""

from __future__ import annotations

from typing import Any

import nni
import torch
from nni.mutable import ExpressionConstraint
from nni.nas.nn.pytorch import InputChoice, LayerChoice, ModelSpace, MutableConv2d, Repeat
from torch import nn


class Everything(ModelSpace):
    """Layers, widths, a depth, a range, one of two inputs, any of three, two of three."""

    def __init__(self, num_labels: int = 5, width: int = 4, bound: int = 0) -> None:
        super().__init__()
        self.kernel = nni.choice("kernel", [1, 3, 5])
        self.stem = MutableConv2d(3, width, self.kernel, padding=self.kernel // 2)
        self.op = LayerChoice([nn.Conv2d(width, width, 1), nn.Identity()], label="op")
        self.blocks = Repeat(lambda i: nn.Conv2d(width, width, 1), (1, 3), label="depth")
        self.rate = nni.uniform("rate", 0.0, 0.5)
        self.add_mutable(self.rate)
        self.one = InputChoice(2, 1, label="one")
        self.any = InputChoice(3, None, label="any")
        self.two = InputChoice(3, 2, label="two")
        if bound:
            self.depth = nni.choice("depth", [1, 2, 3])
            self.add_mutable(ExpressionConstraint(self.kernel + self.depth <= bound, label="bound"))
        self.head = nn.Linear(width, num_labels)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        y = self.blocks(self.op(x))
        x = self.one([x, y]) + self.two([x, y, -x])
        return self.head(x.mean((2, 3)))


class Hopeless(ModelSpace):
    """A constraint that one of half a million keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = [nni.choice(f"w{i}", list(range(1, 10))) for i in range(6)]
        for size in self.sizes:
            self.add_mutable(size)
        self.add_mutable(ExpressionConstraint(sum(self.sizes) <= 6, label="ones"))
        self.layer = nn.Linear(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)
