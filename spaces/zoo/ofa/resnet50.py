"""The ResNet50D family of Once-for-All."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import InvalidArchitecture
from ...decision import Architecture, Decision
from ...graph import Module, PartGraph
from ...part import NETWORK_INPUT, Part
from ...rounding import expanded, make_divisible
from ..checks import true_or_false
from .base import RESOLUTION, SIDES, Derive, OfaSpace, strided
from .encoding import Entries, SlotEncoding, first_taken
from .rules import positive

if TYPE_CHECKING:
    from torch import nn

RATIOS, WIDTHS, EXTRA = (0.2, 0.25, 0.35), (0.65, 0.8, 1.0), (0, 1, 2)
STEM, CHANNELS, DEPTHS = 64, (256, 512, 1024, 2048), (2, 2, 4, 2)
RESIDUAL, STEM_WIDTHS = "stem.residual", ("stem.mid", "stem.out")
_BLOCKS, _NETWORKS = "netloom.spaces.networks.mobile_blocks", "netloom.spaces.networks.ofa_resnet"


@dataclass(frozen=True)
class Stage:
    """A stage: its least depth, the names of its decisions and of those of its slots."""

    name: str
    channels: int
    stride: int
    least: int

    @property
    def depth(self) -> str:
        """The decision of its depth, all blocks counted."""
        return f"{self.name}.depth"

    @property
    def width(self) -> str:
        """The decision of its width."""
        return f"{self.name}.width"

    @property
    def depths(self) -> tuple[int, ...]:
        """The depths to choose from."""
        return tuple(self.least + extra for extra in EXTRA)

    @cached_property
    def ratios(self) -> tuple[str, ...]:
        """The decisions of the ratios of its slots."""
        return tuple(f"{self.name}.block{j}.expand" for j in range(1, self.depths[-1] + 1))


class OfaResNet50(OfaSpace):
    """Once-for-All in the ResNet50D family: bottlenecks of elastic depth, ratio and width.

    Written `{"d": [5], "e": [18], "w": [6], "r": side}`. `d`: 2 where the stem has its residual
    convolution and 0 where not, then the extra blocks (0, 1, 2) of the four stages beyond 2, 2, 4
    and 2. `e`: hidden widths as parts of the output's, for 4, 4, 6 and 4 slots; unused ones are
    ignored and printed as 0. `w`: positions in (0.65, 0.8, 1.0) for the two widths of the stem and
    those of the stages. The decisions themselves hold all blocks of a stage and the multipliers.

    `parse` also reads any positive multiple of 4 as side, and any positive ratio.

    Source: arXiv 1908.09791; mit-han-lab/once-for-all: ofa/imagenet_classification/elastic_nn/
    networks/ofa_resnets.py.

    Args:
        stem_pool: Whether a max-pool of stride 2 follows the stem; without it small images keep
            their side.
    """

    name = "ofa_resnet50"
    notation = '{"d": [5 numbers], "e": [18 numbers], "w": [6 numbers], "r": side}'
    lengths: ClassVar = {"d": 5, "e": 18, "w": 6}
    usual_strides = (1, 2, 2, 2)
    presets: ClassVar = {
        "full": {"width": 1.0, "classes": 1000, "stem_stride": 2, "resolutions": SIDES},
        "tiny": {"width": 0.125, "classes": 10, "stem_stride": 1, "resolutions": [24, 32]},
    }

    def __init__(self, *, stem_pool: bool = True, **options: Any) -> None:
        true_or_false(stem_pool=stem_pool)
        self._stem_pool = stem_pool
        super().__init__(**options)

    # ---------------------------------------------------------------- decisions
    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The four stages."""
        plan = zip(CHANNELS, self._strides, DEPTHS, strict=True)
        return tuple(Stage(f"stage{i}", *values) for i, values in enumerate(plan, start=1))

    @cached_property
    def _widths(self) -> list[str]:
        return [*STEM_WIDTHS, *(stage.width for stage in self.stages)]

    @cached_property
    def _slots(self) -> list[str]:
        return [name for stage in self.stages for name in stage.ratios]

    def _choices(self) -> list[Decision]:
        found = [Decision(RESIDUAL, (0, 1), ordered=True)]
        found += [Decision(name, WIDTHS, ordered=True) for name in STEM_WIDTHS]
        for stage in self.stages:
            found.append(Decision(stage.width, WIDTHS, ordered=True))
            found.append(Decision(stage.depth, stage.depths, ordered=True))
            for j, name in enumerate(stage.ratios, start=1):
                reached = tuple(depth for depth in stage.depths if depth >= j)
                when = {stage.depth: reached} if len(reached) < len(stage.depths) else None
                found.append(Decision(name, RATIOS, True, when, accepts=positive))
        return found

    def counts(self) -> dict[str, int]:
        """Return the architectures, the same at one input side, different networks, and strings.

        Widths that round to the same number of channels give one network. Strings are the lists
        of options that can be written down: many differ in unused slots alone.
        """
        networks = 2 * prod(len({f(w) for w in WIDTHS}) for f in self._stem_widths())
        strings = 2 * len(WIDTHS) ** 2
        for stage in self.stages:
            outputs = {self._scaled(stage.channels)(w) for w in WIDTHS}
            ways = [len({expanded(out, e) for e in RATIOS}) for out in outputs]
            networks *= sum(n**depth for n in ways for depth in stage.depths)
            strings *= len(WIDTHS) * len(EXTRA) * len(RATIOS) ** len(stage.ratios)
        return {
            "architectures": self.size,
            "per_resolution": self.size // len(self.decisions[0].options),
            "networks": networks,
            "strings": strings,
        }

    def canonical(self, architecture: Architecture) -> str:
        """Return the input side, the widths of the stem, and those of each block."""
        stem, stages, _ = self._arguments(architecture)
        blocks = (
            " ".join(f"{hidden[0]}-{out}" for _, out, hidden, *_ in args) for _, args in stages
        )
        start = f"{architecture[RESOLUTION]}: {stem[1]}x{1 + stem[4]}-{stem[2]}"
        return " | ".join([start, *blocks])

    # ---------------------------------------------------------------- networks
    def _scaled(self, channels: int) -> Callable[[float], int]:
        return partial(_multiplied, channels * self._width)

    def _stem_widths(self) -> tuple[Callable[[float], int], Callable[[float], int]]:
        """Return what makes the two widths of the stem of their multipliers."""
        return partial(_halved, STEM * self._width), self._scaled(STEM)

    def _network(self, chosen: Mapping[str, Any], derive: Derive) -> nn.Module:
        from ...networks.ofa_resnet import OfaResNet

        return OfaResNet(*self._arguments(chosen, derive))

    def _arguments(
        self, chosen: Mapping[str, Any], derive: Derive = lambda function, *n: function(*n)
    ) -> tuple[Any, list[tuple[Any, list[tuple[Any, ...]]]], tuple[Any, ...]]:
        """Return the arguments of the stem, depth and blocks of each stage, and the classifier."""
        widths = zip(self._stem_widths(), STEM_WIDTHS, strict=True)
        middle, width = (derive(function, chosen[name]) for function, name in widths)
        stem = (self._in_channels, middle, width, self._stem_stride, chosen[RESIDUAL])
        stages = []
        for stage in self.stages:
            depth = chosen[stage.depth]
            names = stage.ratios[:depth] if isinstance(depth, int) else stage.ratios
            out = derive(self._scaled(stage.channels), chosen[stage.width])
            blocks: list[tuple[Any, ...]] = []
            for name in names:
                # two objects, because the channels of each are sorted on their own
                hidden = tuple(derive(expanded, out, chosen[name]) for _ in range(2))
                stride = 1 if blocks else stage.stride
                blocks.append((width, out, hidden, stride, not blocks))
                width = out
            stages.append((depth, blocks))
        return (*stem, self._stem_pool), stages, (width, self._classes, None, "relu", self._dropout)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per convolution of the stem, pool, block and classifier."""
        side: Any = architecture[RESOLUTION]
        stem, stages, classifier = self._arguments(architecture)
        in_channels, middle, width, stride, residual, pool = stem
        graph = PartGraph((1, in_channels, side, side))
        side = strided(side, stride)
        module = Module(f"{_BLOCKS}:ConvNorm", (in_channels, middle, 3, stride, "relu"))
        x = graph.add("stem.first", module, NETWORK_INPUT, shape=(1, middle, side, side))
        if residual:
            module = Module(f"{_NETWORKS}:ResidualConvNorm", (middle,))
            x = graph.add("stem.residual", module, x, shape=(1, middle, side, side))
        module = Module(f"{_BLOCKS}:ConvNorm", (middle, width, 3, 1, "relu"))
        x = graph.add("stem.last", module, x, shape=(1, width, side, side))
        if pool:
            side = strided(side, 2)
            module = Module("torch.nn:MaxPool2d", (3, 2, 1))
            x = graph.add("stem.pool", module, x, shape=(1, width, side, side))
        for stage, (_, blocks) in zip(self.stages, stages, strict=True):
            for j, args in enumerate(blocks, start=1):
                side = strided(side, args[3])
                module = Module(f"{_NETWORKS}:Bottleneck", args)
                x = graph.add(f"{stage.name}.block{j}", module, x, shape=(1, args[1], side, side))
        graph.add(
            "classifier", Module(f"{_BLOCKS}:Classifier", classifier), x, shape=(1, self._classes)
        )
        return graph.parts

    # ---------------------------------------------------------------- notation, encoding
    def _read(self, lists: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        d, w = lists["d"], lists["w"]
        residual = self._listed("d[0], the residual convolution of the stem", d[0], (0, 2))
        chosen: dict[str, Any] = {RESIDUAL: residual // 2}
        for i, (name, position) in enumerate(zip(self._widths, w, strict=True)):
            chosen[name] = WIDTHS[self._listed(f"w[{i}], {name}", position, (0, 1, 2))]
        for i, stage in enumerate(self.stages, start=1):
            text = f"d[{i}], the extra blocks of {stage.name}"
            chosen[stage.depth] = stage.least + self._listed(text, d[i], EXTRA)
        return {**chosen, **dict(zip(self._slots, lists["e"], strict=True))}

    def _listed(self, what: str, value: Any, allowed: tuple[int, ...]) -> int:
        position = Decision(what, allowed).index(value)
        if position is None:
            raise InvalidArchitecture(
                f"{self.name}: {what}, must be one of {', '.join(map(str, allowed))}; got {value!r}"
            )
        return allowed[position]

    def format(self, architecture: Architecture) -> str:
        """Return the object as text, with 0 in unused slots."""
        a: Mapping[str, Any] = architecture
        entries = {
            "d": [2 * a[RESIDUAL], *(a[stage.depth] - stage.least for stage in self.stages)],
            "e": [a.get(name, 0) for name in self._slots],
            "w": [WIDTHS.index(a[name]) for name in self._widths],
            "r": a[RESOLUTION],
        }
        return json.dumps(entries)

    def package_encoding(self, resolutions: Sequence[int] | None = None) -> SlotEncoding:
        """Return the encoding of the reference's predictors: side, stem, widths, ratios.

        One 0/1 entry per option: R for R input sides, 2 for the residual convolution of the stem,
        3 for each width, 3 per slot for the ratios. Slots beyond the depth are all 0.

        Args:
            resolutions: The input sides with an entry; None: those of the space.
        """
        sides = self.decisions[0].options if resolutions is None else tuple(resolutions)
        fields = [Entries(RESOLUTION, sides), Entries(RESIDUAL, (0, 1))]
        fields += [Entries(name, WIDTHS) for name in self._widths]
        fields += [Entries(name, RATIOS) for name in self._slots]
        return SlotEncoding(fields, self._finish)

    def _finish(self, chosen: dict[str, Any]) -> Architecture:
        """Return the architecture whose depths are the numbers of slots that are taken."""
        for stage in self.stages:
            chosen[stage.depth] = first_taken(self.name, stage.ratios, chosen)
        return self.architecture(chosen)


def _multiplied(channels: float, multiplier: float) -> int:
    return make_divisible(channels * multiplier)


def _halved(channels: float, multiplier: float) -> int:
    """Return the first width of the stem, about half of what its multiplier makes of the second."""
    return make_divisible(_multiplied(channels, multiplier) // 2)
