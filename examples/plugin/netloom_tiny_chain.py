"""A space in a package of its own: chains of one to three convolutions.

Listing it loads no torch: the network's library is imported where a network is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from netloom.spaces import Architecture, Decision, Space

if TYPE_CHECKING:
    from torch import nn

LAYERS = (1, 2, 3)


class TinyChain(Space):
    """Chains of one to three convolutions; each has a kernel and a width.

    Args:
        in_channels: Channels of the image.
        resolution: Side of the square image.
        classes: Number of outputs.
    """

    name = "tiny_chain"

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        decisions = [Decision("layers", LAYERS, ordered=True)]
        for layer in LAYERS:
            exists = {"layers": tuple(n for n in LAYERS if n >= layer)} if layer > 1 else None
            decisions += [
                Decision(f"layer{layer}.kernel", (1, 3, 5), ordered=True, when=exists),
                Decision(f"layer{layer}.width", (4, 8, 16), ordered=True, when=exists),
            ]
        super().__init__(decisions)

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from torch import nn

        width = self.options["in_channels"]
        layers: list[nn.Module] = []
        for i in range(1, architecture["layers"] + 1):
            kernel, out = architecture[f"layer{i}.kernel"], architecture[f"layer{i}.width"]
            convolution = nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(out), nn.ReLU()]
            width = out
        head = nn.Linear(width, self.options["classes"])
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
