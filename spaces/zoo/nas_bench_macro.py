"""NAS-Bench-Macro: eight layers of an inverted-residual network, three operations each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..arguments import with_preset
from ..decision import Architecture, Decision
from ..graph import Module, PartGraph
from ..networks.codes import block_code
from ..part import NETWORK_INPUT, Part
from ..space import Space
from .checks import at_least

if TYPE_CHECKING:
    from torch import nn

    from ..layers import ModuleSupernet

OPERATIONS = ("identity", "k3_e3", "k5_e6")  # written 0, 1, 2
_STAGES = (2, 3, 3)  # layers; the first of each halves the side and doubles the width
_PLACES = [(stage, layer) for stage, n in enumerate(_STAGES) for layer in range(n)]
_NAMES = [f"stage{stage + 1}.layer{layer + 1}" for stage, layer in _PLACES]
_NETWORKS = "netloom.spaces.networks.macro"


class NasBenchMacro(Space):
    """The space of NAS-Bench-Macro: 6,561 architectures, 3,969 different networks.

    Written as eight digits: 0 identity, 1 inverted residual of kernel 3 and ratio 3, 2 of kernel
    5 and ratio 6. Where a stage begins, 0 is a 1x1 convolution of stride 2. The super-network has
    all three in every layer.

    Source: arXiv 2103.11922; xiusu/NAS-Bench-Macro: train/model.py.

    Args:
        preset: `full`, the networks of the benchmark, or `tiny`; sets the options left out.
        channels: Of the stem; doubled at each of the three stages.
        features: Channels before the classifier.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "nas_bench_macro"
    notation = "8 digits, each 0, 1 or 2"

    presets: ClassVar = {
        "full": {"channels": 32, "features": 1280, "resolution": 32},
        "tiny": {"channels": 4, "features": 32, "resolution": 16},
    }
    mixture = True

    def __init__(
        self,
        *,
        preset: str = "full",
        channels: int | None = None,
        features: int | None = None,
        classes: int = 10,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {"channels": channels, "features": features, "resolution": resolution}
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        channels, features, resolution = (o[name] for name in own)
        at_least(
            1,
            channels=channels,
            features=features,
            classes=classes,
            resolution=resolution,
            in_channels=in_channels,
        )
        self._channels, self._resolution = channels, resolution
        self._stem = (in_channels, channels)
        self._head = (channels * 2 ** len(_STAGES), features, classes)
        super().__init__([Decision(name, OPERATIONS) for name in _NAMES])

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from ..networks.macro import MacroNetwork

        return MacroNetwork(self._stem, list(self._layers(architecture)), self._head)

    def supernet(self) -> ModuleSupernet:
        """Return a super-network with every operation in every layer."""
        from ..layers import Choice, ModuleSupernet
        from ..networks.macro import MacroNetwork

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        network = MacroNetwork(self._stem, list(self._layers(chosen)), self._head)
        return ModuleSupernet(self, network)

    def counts(self) -> dict[str, int]:
        """Return the strings and the different networks (see `canonical`)."""
        networks = {self.canonical(a) for a in self.enumerate()}
        return {"architectures": self.size, "networks": len(networks)}

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, layer that is no identity, and head."""
        side = self._resolution
        graph = PartGraph((1, self._stem[0], side, side))
        module = Module(f"{_NETWORKS}:Stem", self._stem)
        x = graph.add("stem", module, NETWORK_INPUT, shape=(1, self._channels, side, side))
        for label, layer in zip(_NAMES, self._layers(architecture), strict=True):
            if (block := _module(*layer)) is not None:
                _, _, width, stride = layer
                side = (side + 1) // 2 if stride == 2 else side
                x = graph.add(label, block, x, shape=(1, width, side, side))
        module = Module(f"{_NETWORKS}:Head", self._head)
        graph.add("head", module, x, shape=(1, self._head[-1]))
        return graph.parts

    def canonical(self, architecture: Architecture) -> str:
        """Return the digits with the identities of each stage behind its other layers.

        An identity that does not begin a stage is no layer at all, so that its place does not
        matter.
        """
        digits = self.format(architecture)
        ordered, start = "", 0
        for n in _STAGES:
            first, rest = digits[start], digits[start + 1 : start + n]
            ordered += first + rest.replace("0", "") + "0" * rest.count("0")
            start += n
        return ordered

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read eight digits 0, 1, 2."""
        if not isinstance(value, str):
            raise self.unreadable(value, "put the digits in quotes, as text")
        digits = value.strip()
        if len(digits) != len(_NAMES):
            raise self.unreadable(value, f"it has {len(digits)} characters")
        for place, digit in enumerate(digits, start=1):
            if digit not in ("0", "1", "2"):
                raise self.unreadable(value, f"{digit!r} at place {place}")
        return self.architecture(
            {name: OPERATIONS[int(digit)] for name, digit in zip(_NAMES, digits, strict=True)}
        )

    def format(self, architecture: Architecture) -> str:
        """Return the eight digits."""
        return "".join(str(OPERATIONS.index(str(architecture[name]))) for name in _NAMES)

    def published(self) -> dict[str, Architecture]:
        """Return the network with the best mean accuracy of the benchmark."""
        return {"best": self.parse_notation("22212220")}

    def _layers(self, a: Mapping[str, Any]) -> Iterator[tuple[Any, int, int, int]]:
        """Yield operation (or the choice of it), widths and stride of every layer."""
        for (stage, layer), name in zip(_PLACES, _NAMES, strict=True):
            width = self._channels * 2 ** (stage + 1)
            yield (a[name], width // 2, width, 2) if layer == 0 else (a[name], width, width, 1)


def _module(name: str, in_width: int, width: int, stride: int) -> Module | None:
    """Return the module of a layer; None for an identity, which is no layer."""
    if name == "identity":
        return Module(f"{_NETWORKS}:Downsample", (in_width, width)) if stride == 2 else None
    kernel, expand, _ = block_code(name)
    return Module(f"{_NETWORKS}:InvertedResidual", (in_width, width, kernel, expand, stride))
