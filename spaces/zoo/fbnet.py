"""FBNet: 22 layers, each one of nine blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import InvalidArchitecture, SpecError, did_you_mean
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

CODES = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
_STAGES = (1, 4, 4, 4, 4, 4, 1)  # layers
_NAMES = [f"stage{s}.layer{i}" for s, n in enumerate(_STAGES, 1) for i in range(1, n + 1)]
_IMAGENET_STRIDES = [1, 2, 2, 2, 1, 2, 1]
_NETWORKS = "netloom.spaces.networks.fbnet"
_CIFAR = {
    "channels": 16,
    "channels_list": [16, 24, 32, 64, 112, 184, 352],
    "strides": [1, 1, 2, 2, 1, 2, 1],
    "stem_stride": 1,
    "features": 1504,
    "classes": 100,
    "resolution": 32,
}


class FBNet(Space):
    """The space of FBNet: 9^22 architectures of 22 layers.

    Written as 22 codes separated by blanks: `k5_e6` is an inverted residual of kernel 5 and ratio
    6, `_g2` has its 1x1 convolutions in two groups, `skip` is no layer, but a 1x1 convolution
    where width or side change. The default is the CIFAR-100 network whose latencies HW-NAS-Bench
    and HELP measured; the preset `imagenet` is that of the paper.

    Source: arXiv 1812.03443, 2103.10584; GATECH-EIC/HW-NAS-Bench: hw_nas_bench_api/fbnet_models/
    model_infer.py.

    Args:
        preset: `full` (CIFAR-100), `imagenet` or `tiny`; sets the options left out.
        channels: Of the stem.
        channels_list: Of each of the seven stages.
        strides: Of the first layer of each stage, 1 or 2.
        stem_stride: Of the first convolution, 1 or 2.
        features: Channels before the classifier.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "fbnet"
    notation = "22 codes separated by blanks"
    presets: ClassVar = {
        "full": _CIFAR,
        "imagenet": {
            **_CIFAR,
            "strides": _IMAGENET_STRIDES,
            "stem_stride": 2,
            "features": 1984,
            "classes": 1000,
            "resolution": 224,
        },
        "tiny": {
            **_CIFAR,
            "channels": 4,
            "channels_list": [4, 4, 8, 8, 8, 12, 16],
            "features": 32,
            "classes": 10,
            "resolution": 16,
        },
    }
    mixture = True

    variants: ClassVar = ({"preset": "imagenet", "features": 1504},)

    def __init__(
        self,
        *,
        preset: str = "full",
        channels: int | None = None,
        channels_list: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        stem_stride: int | None = None,
        features: int | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {
            "channels": channels,
            "channels_list": channels_list,
            "strides": strides,
            "stem_stride": stem_stride,
            "features": features,
            "classes": classes,
            "resolution": resolution,
        }
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        numbers = ("channels", "features", "classes", "resolution")
        at_least(1, in_channels=in_channels, **{name: o[name] for name in numbers})
        _check(o)
        self._widths, self._strides = list(o["channels_list"]), list(o["strides"])
        self._resolution = o["resolution"]
        self._stem = (in_channels, o["channels"], o["stem_stride"])
        self._head = (self._widths[-1], o["features"], o["classes"])
        super().__init__([Decision(name, CODES) for name in _NAMES])

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from ..networks.fbnet import FBNetwork

        return FBNetwork(self._stem, list(self._layers(architecture)), self._head)

    def supernet(self) -> ModuleSupernet:
        """Return a super-network with every block in every layer."""
        from ..layers import Choice, ModuleSupernet
        from ..networks.fbnet import FBNetwork

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        network = FBNetwork(self._stem, list(self._layers(chosen)), self._head)
        return ModuleSupernet(self, network)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, layer that is no identity, and head."""
        in_channels, width, stride = self._stem
        side = self._resolution
        graph = PartGraph((1, in_channels, side, side))
        side = -(-side // stride)
        stem = Module(f"{_NETWORKS}:ConvBNReLU", (in_channels, width, 3, stride))
        x = graph.add("stem", stem, NETWORK_INPUT, shape=(1, width, side, side))
        for name, layer in zip(_NAMES, self._layers(architecture), strict=True):
            if (module := _module(*layer)) is not None:
                _, _, width, stride = layer
                side = -(-side // stride)
                x = graph.add(name, module, x, shape=(1, width, side, side))
        head = Module(f"{_NETWORKS}:Head", self._head)
        graph.add("head", head, x, shape=(1, self._head[-1]))
        return graph.parts

    def canonical(self, architecture: Architecture) -> str:
        """Return the codes with the identities of each run of equal layers behind the others.

        A `skip` that keeps width and side is no layer at all, so that its place among layers that
        keep them too does not matter.
        """
        ordered: list[str] = []
        run: list[str] = []
        for code, in_width, width, stride in self._layers(architecture):
            if _keeps(in_width, width, stride):
                run.append(code)
            else:
                ordered += [*_skips_last(run), code]
                run = []
        return " ".join([*ordered, *_skips_last(run)])

    def counts(self) -> dict[str, int]:
        """Return the architectures and the different networks (see `canonical`)."""
        changing, runs = 0, [0]  # layers that change the shape; between them, those that keep it
        for _, in_width, width, stride in self._layers(self.at(0)):
            if _keeps(in_width, width, stride):
                runs[-1] += 1
            else:
                changing += 1
                runs.append(0)
        blocks = len(CODES) - 1
        networks = len(CODES) ** changing
        for run in runs:
            networks *= sum(blocks**n for n in range(run + 1))  # n of them are no skip
        return {"architectures": self.size, "networks": networks}

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read 22 codes separated by blanks, a list of them, or of their numbers 0 to 8."""
        if not isinstance(value, str | list | tuple):
            raise self.unreadable(value)
        codes: list[Any] = value.split() if isinstance(value, str) else list(value)
        if len(codes) != len(_NAMES):
            raise self.unreadable(value, f"it has {len(codes)}")
        for place, code in enumerate(codes):
            if isinstance(code, int | float) and not isinstance(code, bool):
                codes[place] = CODES[int(code)] if code in range(len(CODES)) else code
            if codes[place] not in CODES:
                raise InvalidArchitecture(
                    f"{self.name}: place {place + 1}, {_NAMES[place]}: unknown block {code!r}"
                    f"{did_you_mean(str(code), CODES)}"
                )
        return self.architecture(dict(zip(_NAMES, codes, strict=True)))

    def format(self, architecture: Architecture) -> str:
        """Return the 22 codes."""
        return " ".join(str(architecture[name]) for name in _NAMES)

    def published(self) -> dict[str, Architecture]:
        """Return the paper's networks, where the strides and features are theirs."""
        if self._strides != _IMAGENET_STRIDES:
            return {}
        return {
            name: self.parse_notation(text)
            for name, (features, text) in _PUBLISHED.items()
            if features == self._head[1]
        }

    def _layers(self, a: Mapping[str, Any]) -> Iterator[tuple[Any, int, int, int]]:
        """Yield operation (or the choice of it), widths and stride of every layer."""
        names, in_width = iter(_NAMES), self._stem[1]
        for n, width, stride in zip(_STAGES, self._widths, self._strides, strict=True):
            yield a[next(names)], in_width, width, stride
            for _ in range(n - 1):
                yield a[next(names)], width, width, 1
            in_width = width


# Source: facebookresearch/mobile-vision: mobile_cv/arch/fbnet_v2/fbnet_modeldef_cls_fbnet.py
_PUBLISHED = {
    "FBNet-A": (
        1504,
        "skip k3_e3 k3_e1 skip skip k5_e6 k3_e3 k5_e1 k3_e3 k5_e6 k5_e3 k5_e1_g2 k5_e6 "
        "k3_e6 k5_e1_g2 k5_e3 k3_e1_g2 k5_e6 k5_e6 k5_e3 k5_e6 k5_e6",
    ),
    "FBNet-B": (
        1984,
        "k3_e1 k3_e6 k5_e1 k3_e1 k3_e1 k5_e6 k5_e3 k3_e6 k5_e6 k5_e6 k5_e6 skip k5_e3 "
        "k5_e6 k3_e1 k5_e1 k5_e3 k5_e6 k5_e1 k5_e6 k5_e6 k3_e6",
    ),
    "FBNet-C": (
        1984,
        "k3_e1 k3_e6 skip k3_e1 k3_e1 k5_e6 k5_e3 k5_e6 k3_e6 k5_e6 k5_e3 k5_e6 k5_e6 "
        "k5_e6 k5_e6 k5_e6 k5_e3 k5_e6 k5_e6 k5_e6 k5_e6 k3_e6",
    ),
}


def _module(code: str, in_width: int, width: int, stride: int) -> Module | None:
    """Return the module of a layer; None for an identity, which is no layer."""
    if code != "skip":
        return Module(f"{_NETWORKS}:Block", (in_width, width, *block_code(code), stride))
    if _keeps(in_width, width, stride):
        return None
    return Module(f"{_NETWORKS}:Skip", (in_width, width, stride))


def _keeps(in_width: int, width: int, stride: int) -> bool:
    """Return whether a layer keeps width and side, so that `skip` is an identity."""
    return stride == 1 and in_width == width


def _skips_last(codes: list[str]) -> list[str]:
    return sorted(codes, key=lambda code: code == "skip")  # keeps the order of the others


def _check(o: Mapping[str, Any]) -> None:
    """Raise SpecError where the widths or strides are not those of a network."""
    for option in ("channels_list", "strides"):
        values = o[option]
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise SpecError(f"{option} must be a list of integers, got {values!r}")
        if len(values) != len(_STAGES):
            raise SpecError(
                f"{option} must have a number for each of the {len(_STAGES)} stages, got "
                f"{list(values)}"
            )
    at_least(1, **{f"channels_list[{i}]": n for i, n in enumerate(o["channels_list"])})
    for width in (o["channels"], *o["channels_list"]):
        if width % 2:
            raise SpecError(f"channels must be even, since {CODES[1]} has two groups; got {width}")
    for stride in (o["stem_stride"], *o["strides"]):
        if stride not in (1, 2) or isinstance(stride, bool):
            raise SpecError(f"a stride must be 1 or 2, got {stride!r}")
