"""Networks that train in a moment, for tests of what needs real training."""

from __future__ import annotations

from torch import Tensor, nn

from netloom.spaces import Architecture, Decision, OneOf, Space


class Perceptron(Space):
    """One hidden layer of a chosen width, with a chosen function."""

    name = "perceptron"
    decisions = (Decision("width", (4, 8, 16), ordered=True), Decision("act", ("relu", "tanh")))

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        super().__init__()

    def build(self, architecture: Architecture) -> nn.Module:
        inputs = self.options["in_channels"] * self.options["resolution"] ** 2
        width = int(architecture["width"])
        act = {"relu": nn.ReLU, "tanh": nn.Tanh}[architecture["act"]]
        layers = nn.Linear(inputs, width), act(), nn.Linear(width, self.options["classes"])
        return nn.Sequential(nn.Flatten(), *layers)


class Deep(Space):
    """Two hidden layers of equal width."""

    name = "deep"
    decisions = (Decision("width", (4, 8), ordered=True),)

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        super().__init__()

    def published(self) -> dict[str, Architecture]:
        return {"Eight": self.architecture({"width": 8})}

    def build(self, architecture: Architecture) -> nn.Module:
        inputs = self.options["in_channels"] * self.options["resolution"] ** 2
        width = int(architecture["width"])
        layers = nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, self.options["classes"]))


class Choices(nn.Module):
    """A layer of chosen function between two that every network has."""

    def __init__(self, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Linear(in_channels * resolution**2, 8)
        acts = {"relu": nn.ReLU(), "linear": nn.Sequential(nn.Linear(8, 8), nn.Tanh())}
        self.act = OneOf("act", acts)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.stem(x.flatten(1))))
