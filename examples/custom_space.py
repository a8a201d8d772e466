"""A space of one's own: say what is decided, and build the network that was decided.

netloom search examples/custom_space.yaml
"""

from __future__ import annotations

from torch import nn

from netloom.spaces import Architecture, Decision, Space


class Perceptron(Space):
    """Fully connected networks; the second hidden layer exists where `layers` is 2."""

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        super().__init__(
            [
                Decision("layers", (1, 2), ordered=True),
                Decision("layer1.width", (8, 16, 32, 64), ordered=True),
                Decision("layer2.width", (8, 16, 32, 64), ordered=True, when={"layers": (2,)}),
                Decision("activation", ("relu", "tanh", "silu")),
            ]
        )

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        image = self.options
        width = image["in_channels"] * image["resolution"] ** 2
        activation = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}[architecture["activation"]]
        layers: list[nn.Module] = [nn.Flatten()]
        for i in range(architecture["layers"]):
            hidden = architecture[f"layer{i + 1}.width"]
            layers += [nn.Linear(width, hidden), activation()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, image["classes"]))
