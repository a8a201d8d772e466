"""The space of ProxylessNAS: an inverted residual or nothing at each of 21 places."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import SpecError
from ..decision import Architecture, Decision
from ..graph import Module, PartGraph
from ..part import NETWORK_INPUT, Part
from ..rounding import make_divisible
from ..space import Space
from .checks import at_least, listed
from .ofa.rules import positive

if TYPE_CHECKING:
    from torch import nn

    from ..layers import ModuleSupernet

CODES = ("k3_e3", "k3_e6", "k5_e3", "k5_e6", "k7_e3", "k7_e6")
ZERO = "zero"
_NETWORKS = "netloom.spaces.networks.mobilenet"
_BLOCKS = "netloom.spaces.networks.mobile_blocks"
_SKELETON = {
    "stages": [4, 4, 4, 4, 4, 1],
    "strides": [2, 2, 2, 1, 2, 1],
    "resolution": 224,
    "stem_stride": 2,
    "classes": 1000,
}
_WIDTHS = {  # of stem, first block, stages, last convolution
    "full": [32, 16, 24, 40, 80, 96, 192, 320, 1280],
    "mobile": [32, 16, 32, 40, 80, 96, 192, 320, 1280],
    "mobile_14": [48, 24, 40, 56, 112, 136, 256, 448, 1792],
    "gpu": [40, 24, 32, 56, 112, 128, 256, 432, 1728],
    "cpu": [40, 24, 32, 48, 88, 104, 216, 360, 1432],
}
_TINY = {
    "stages": [2, 2, 1],
    "strides": [1, 2, 2],
    "channels_list": [8, 8, 8, 16, 24, 64],
    "resolution": 16,
    "stem_stride": 1,
    "classes": 10,
}
# mit-han-lab/proxylessnas, as osmr/imgclsmob lists them; their numbers of parameters agree
_PUBLISHED = {
    "mobile": "k5_e3 k3_e3 zero zero k7_e3 k3_e3 k5_e3 k5_e3 k7_e6 k5_e3 k5_e3 k5_e3 "
    "k5_e6 k5_e3 k5_e3 k5_e3 k7_e6 k7_e6 k7_e3 k7_e3 k7_e6",
    "gpu": "k5_e3 zero zero zero k7_e3 zero zero k3_e3 k7_e6 zero zero k5_e3 "
    "k5_e6 zero k3_e3 k5_e3 k7_e6 k7_e6 k7_e6 k5_e6 k7_e6",
    "cpu": "k3_e6 k3_e3 k3_e3 k3_e3 k3_e6 k3_e3 k3_e3 k5_e3 k3_e6 zero zero k3_e3 "
    "k5_e6 k3_e3 k3_e3 k3_e3 k5_e6 k5_e3 k5_e3 k3_e3 k5_e6",
}
_PUBLISHED["mobile_14"] = _PUBLISHED["mobile"]


class MobileNet(Space):
    """The mixed-operation space of ProxylessNAS: 6^6 7^15 networks, about 2.2e17.

    Written as one code for each place, separated by blanks: `k3_e3` is an inverted residual of
    kernel 3 and ratio 3, `zero` leaves only the shortcut, where there is one (stride 1 and equal
    widths). `parse` also reads other odd kernels and whole ratios, `k9_e4`.

    Source: arXiv 1812.00332; mit-han-lab/proxylessnas.

    Args:
        preset: `full`, the skeleton of the search on ImageNet; `mobile`, `mobile_14`, `gpu`, `cpu`,
            those of the published networks; or `tiny`. It sets the options left out.
        width: Multiplier of all widths, which are then divisible by 8; that of the last
            convolution only grows.
        stages: Places per stage.
        channels_list: Widths: of the stages; or of stem, first block and stages; or of these and
            the last convolution.
        strides: Of the first block of each stage.
        stem_stride: Of the first convolution.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
        dropout: Before the classifier, in training.
    """

    name = "mobilenet"
    notation = f"one code for each place, separated by blanks: {' '.join(CODES)} {ZERO}"
    mixture = True
    presets: ClassVar = {
        **{name: {**_SKELETON, "channels_list": widths} for name, widths in _WIDTHS.items()},
        "tiny": _TINY,
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        width: float = 1.0,
        stages: Sequence[int] | None = None,
        channels_list: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        stem_stride: int | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
        dropout: float = 0.0,
    ) -> None:
        o = self.options
        at_least(1, **{k: o[k] for k in ("stem_stride", "classes", "resolution", "in_channels")})
        for name in ("stages", "channels_list", "strides"):
            listed(**{name: o[name]})
            at_least(1, **{f"{name}[{i}]": value for i, value in enumerate(o[name])})
        if not positive(width) or width > 100:
            raise SpecError(f"width must be a positive multiplier, got {width!r}")
        if dropout != 0 and not (positive(dropout) and dropout < 1):
            raise SpecError(f"dropout must be a share in [0, 1), got {dropout!r}")
        if len(o["strides"]) != len(o["stages"]):
            raise SpecError(
                f"strides needs one number for each of the {len(o['stages'])} stages, got "
                f"{o['strides']}"
            )
        self._classes, self._dropout, self._in = o["classes"], dropout, in_channels
        self._resolution, self._stem_stride = o["resolution"], o["stem_stride"]
        self._widths = _widths(o)
        self._stem, self._first, *widths, self._last = self._widths
        self._places = _places(o["stages"], o["strides"], [self._first, *widths])
        self._final = widths[-1]
        super().__init__(
            [Decision(name, _codes(*shape), accepts=other_code) for name, shape in self._places]
        )

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        return self._network({name: self._block(architecture, name) for name, _ in self._places})

    def supernet(self) -> ModuleSupernet:
        """Return a super-network with all candidates at every place."""
        from ..layers import ModuleSupernet

        places = {
            name: {code: _arguments(code, shape) for code in _codes(*shape)}
            for name, shape in self._places
        }
        return ModuleSupernet(self, self._network(places))

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, block that is not `zero`, convolution and classifier."""
        side = self._resolution
        graph = PartGraph((1, self._in, side, side))

        def add(
            label: str, path: str, args: tuple[Any, ...], x: int, width: int, stride: int
        ) -> int:
            nonlocal side
            side = (side - 1) // stride + 1
            return graph.add(label, Module(path, args), x, shape=(1, width, side, side))

        stride = self._stem_stride
        x = add("stem", f"{_BLOCKS}:ConvNorm", self._stem_args, NETWORK_INPUT, self._stem, stride)
        x = add("first", f"{_NETWORKS}:First", (self._stem, self._first), x, self._first, 1)
        for name, (_, width, stride) in self._places:
            if architecture[name] != ZERO:
                args = self._block(architecture, name)
                x = add(name.removesuffix(".op"), f"{_NETWORKS}:Block", args, x, width, stride)
        x = add("last", f"{_BLOCKS}:ConvNorm", self._last_args, x, self._last, 1)
        module = Module(f"{_BLOCKS}:Classifier", self._classifier_args)
        graph.add("classifier", module, x, shape=(1, self._classes))
        return graph.parts

    def counts(self) -> dict[str, int]:
        """Return the size, and the places with and without `zero`."""
        free = sum(ZERO in d.options for d in self.decisions)
        return {
            "architectures": self.size,
            "places with zero": free,
            "places without": len(self.decisions) - free,
        }

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read one code for each place, separated by blanks (or a list of them)."""
        if not isinstance(value, str | list | tuple):
            raise self.unreadable(value)
        codes = value.split() if isinstance(value, str) else list(value)
        if len(codes) != len(self._places):
            raise self.unreadable(
                value, f"there are {len(self._places)} places, this has {len(codes)}"
            )
        return self.architecture(
            {name: c for (name, _), c in zip(self._places, codes, strict=True)}
        )

    def format(self, architecture: Architecture) -> str:
        """Return the codes, separated by blanks."""
        return " ".join(str(architecture[name]) for name, _ in self._places)

    def published(self) -> dict[str, Architecture]:
        """Return the network of ProxylessNAS that has the widths of this space, if there is one."""
        o = self.options
        return {
            f"proxyless_{name}": self.parse_notation(codes)
            for name, codes in _PUBLISHED.items()
            if self._widths == _WIDTHS[name]
            and all(o[key] == _SKELETON[key] for key in ("stages", "strides"))
        }

    # ---------------------------------------------------------------- inside
    @property
    def _stem_args(self) -> tuple[Any, ...]:
        return (self._in, self._stem, 3, self._stem_stride, "relu6", 1e-3)

    @property
    def _last_args(self) -> tuple[Any, ...]:
        return (self._final, self._last, 1, 1, "relu6", 1e-3)

    @property
    def _classifier_args(self) -> tuple[Any, ...]:
        return (self._last, self._classes, None, "relu6", self._dropout)

    def _network(self, blocks: dict[str, Any]) -> nn.Module:
        from ..networks.mobilenet import ProxylessNetwork

        first = (self._stem, self._first)
        return ProxylessNetwork(
            self._stem_args, first, blocks, self._last_args, self._classifier_args
        )

    def _block(self, architecture: Mapping[str, Any], name: str) -> tuple[Any, ...]:
        return _arguments(str(architecture[name]), dict(self._places)[name])


Shape = tuple[int, int, int]  # width of the input, of the output, stride


def other_code(value: Any) -> bool:
    """Return whether `value` is the code of a block beyond the listed ones."""
    found = re.fullmatch(r"k([1-9]\d?)_e([1-9]\d?)", value) if isinstance(value, str) else None
    return found is not None and int(found[1]) % 2 == 1


def _codes(in_channels: int, out_channels: int, stride: int) -> tuple[str, ...]:
    """Return the candidates of a place."""
    return (*CODES, ZERO) if stride == 1 and in_channels == out_channels else CODES


def _arguments(code: str, shape: Shape) -> tuple[Any, ...]:
    """Return the arguments of `Block` for a code."""
    in_channels, out_channels, stride = shape
    if code == ZERO:
        return (in_channels, out_channels, None, 0, stride)
    kernel, expand = (int(part[1:]) for part in code.split("_"))
    return (in_channels, out_channels, kernel, expand, stride)


def _places(
    stages: Sequence[int], strides: Sequence[int], widths: Sequence[int]
) -> list[tuple[str, Shape]]:
    """Return name and shape of every place; `widths` begins with that of the first block."""
    places = []
    for stage, (n, stride) in enumerate(zip(stages, strides, strict=True), start=1):
        for block in range(1, n + 1):
            before = widths[stage - 1] if block == 1 else widths[stage]
            shape = (before, widths[stage], stride if block == 1 else 1)
            places.append((f"stage{stage}.block{block}.op", shape))
    return places


def _widths(options: Mapping[str, Any]) -> list[int]:
    """Return the widths of stem, first block, stages and last convolution.

    Raises:
        SpecError: If the list has another length than one of those that can be told apart.
    """
    given, n = list(options["channels_list"]), len(options["stages"])
    stem, first, *_, last = _WIDTHS["full"]
    if len(given) == n:
        given = [stem, first, *given, last]
    elif len(given) == n + 2:
        given = [*given, last]
    elif len(given) != n + 3:
        raise SpecError(
            f"channels_list holds {n} widths for the stages, {n + 2} with stem and first block, or "
            f"{n + 3} with the last convolution too; got {len(given)}: {given}"
        )
    width = options["width"]
    if width == 1:
        return given
    *before, last = given
    return [
        *(make_divisible(n * width) for n in before),
        make_divisible(last * width) if width > 1 else last,
    ]
