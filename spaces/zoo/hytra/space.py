"""HyTra: layers of convolution or attention, and free places at which the resolution falls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ....errors import InvalidArchitecture, SpecError
from ...arguments import with_preset
from ...chain import ChainSpace
from ...decision import Architecture, Decision
from ...graph import Module, PartGraph, known_module
from ...networks.hytra_plan import (
    ATTENTION,
    CODES,
    FOLLOWING,
    HIGHEST,
    Layer,
    block_paths,
    codes_up_to,
    heads_of,
    levels_of,
    plan,
    resolution_of,
)
from ...part import NETWORK_INPUT, Part
from ..checks import LONGEST, at_least, probability, true_or_false
from .notation import RULE, read_levels, whole

if TYPE_CHECKING:
    from torch import nn

    from ...networks.hytra_search import HytraSupernet

_NETWORKS = "netloom.spaces.networks.hytra"
_T0 = [[1], [1], [1, 1, 1, 0, 1], [0, 0, 0, 1, 0, 0, 0, 0, 0]]


class Hytra(ChainSpace):
    """The space of BossNAS: 16 layers in four blocks, each a ResConv or ResAtt of some resolution.

    A decision is an operator code: 5 and 4 are ResConv at 1/4 and 1/8, 3 and 1 ResConv at 1/16 and
    1/32, 2 and 0 ResAtt there. The resolution stays from layer to layer or falls by one step; the
    first layer works at 1/4 or 1/8. Written as the four lists of the stand-alone network, for 1/4
    to 1/32, of 0 (ResAtt) and 1 (ResConv), or as the path through the super-network, `5 4 3 3 |
    3 2 3 0 | 0 0 1 0 | 0 0 0 0`.

    The super-network is not made of the layers of the stand-alone networks: see
    `networks.hytra_search`. Its blocks run one by one too.

    Source: arXiv 2103.12424; changlin31/BossNAS.

    Args:
        preset: `full` or `tiny`; sets the options left out.
        channels: Of the stem; maps have 4 times that at 1/4, doubled with each step, and attention
            4 or 8 heads of this width.
        layers: In all.
        blocks: What the layers are divided into, evenly; the super-network is trained block by
            block.
        scales: The highest resolution of each block, 3 (1/4) to 0 (1/32); None: 3. The released
            super-network has 3, 2, 1, 1 and cannot run the other paths.
        first: The resolutions that the first layer may have; `parse` reads the others too.
        se: Whether ResConv has squeeze-and-excitation.
        activation: Of stand-alone networks.
        stage4_stride: Of the first layer at 1/32, 2 or 1; with 1 it is 1/16 as well.
        stem_stride: Of the first convolution, 2 or 1; the latter suits small images.
        stem_pool: Whether a maximum of stride 2 follows it.
        drop_path: Probability with which training drops the branch of a last ResConv; rises
            linearly from 0 at the first layer.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "hytra"
    notation = (
        "four lists of 0 (ResAtt) and 1 (ResConv), for 1/4 to 1/32, or an operator code 0 to 5 for "
        "each layer, blocks separated by |"
    )
    presets: ClassVar = {
        "full": {"channels": 64, "classes": 1000, "resolution": 224},
        "tiny": {"channels": 4, "classes": 10, "resolution": 32},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        channels: int | None = None,
        layers: int = 16,
        blocks: int = 4,
        scales: Sequence[int] | None = None,
        first: Sequence[int] = (3, 2),
        se: bool = True,
        activation: Literal["relu", "silu"] = "silu",
        stage4_stride: Literal[1, 2] = 2,
        stem_stride: Literal[1, 2] = 2,
        stem_pool: bool = True,
        drop_path: float = 0.0,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {"channels": channels, "classes": classes, "resolution": resolution}
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        sizes = {name: o[name] for name in own}
        at_least(1, **sizes, in_channels=in_channels)
        at_least(1, LONGEST, layers=layers, blocks=blocks)
        true_or_false(se=se, stem_pool=stem_pool)
        if layers % blocks:
            raise SpecError(f"layers must divide into {blocks} equal blocks, got {layers}")
        _check(activation, stage4_stride=stage4_stride, stem_stride=stem_stride)
        probability(drop_path=drop_path)
        self._scales = _resolutions("scales", [HIGHEST] * blocks if scales is None else scales)
        if len(self._scales) != blocks or self._scales != sorted(self._scales, reverse=True):
            raise SpecError(
                f"scales must have a resolution for each of the {blocks} blocks, none higher than "
                f"the one before; got {self._scales}"
            )
        self._first = _resolutions("first", first)
        self._stem = (in_channels, o["channels"], stem_stride, stem_pool)
        self._maps = tuple(f"1/{stem_stride * (1 + stem_pool) << level}" for level in range(4))
        self._side, self._classes = o["resolution"], o["classes"]
        self._style = (activation, se)
        self._stride4, self._drop = stage4_stride, float(drop_path)
        self._names = [
            [f"block{b}.layer{i}" for i in range(1, layers // blocks + 1)]
            for b in range(1, blocks + 1)
        ]
        super().__init__(self._decisions(), FOLLOWING, RULE)

    def _decisions(self) -> list[Decision]:
        """Return the decisions; their options are the codes that some path takes there."""
        limits = self._limits()
        reached = [[c for c in codes_up_to(limits[0]) if resolution_of(c) in self._first]]
        for limit in limits[1:]:
            before = reached[-1]
            reached.append(
                [c for c in codes_up_to(limit) if any(c in FOLLOWING[b] for b in before)]
            )
        for place in reversed(range(len(reached) - 1)):
            after = reached[place + 1]
            reached[place] = [c for c in reached[place] if any(a in FOLLOWING[c] for a in after)]
        if not reached[0]:
            raise SpecError(
                f"no path begins at one of the resolutions {self._first} (first) and keeps to the "
                f"highest of each block, {self._scales} (scales)"
            )
        names = (name for block in self._names for name in block)
        return [
            Decision(name, tuple(codes), accepts=Below(limit))
            for name, codes, limit in zip(names, reached, limits, strict=True)
        ]

    def _limits(self) -> list[int]:
        """Return the highest resolution of each layer.

        Operators of a block's highest resolution cannot come from above, so that the layer before
        them, in the block before, must have it already.
        """
        limits = [scale for scale in self._scales for _ in self._names[0]]
        return [min(pair) for pair in zip(limits, [*limits[1:], HIGHEST], strict=True)]

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the stand-alone network, freshly initialised."""
        from ...networks.hytra import BossNet

        layers = self._layers(architecture)
        return BossNet(self._stem, layers, self._classes, *self._style, self._drop)

    def build_path(self, architecture: Architecture, *, classifier: bool = True) -> nn.Module:
        """Return the network of a path as the super-network has it, freshly initialised.

        Args:
            architecture: Which path.
            classifier: As for `supernet`.
        """
        from ...networks.hytra_search import Fabric

        path = iter(self.path(architecture))
        blocks = [[next(path) for _ in block] for block in self._names]
        return Fabric(self._stem, blocks, self._classes if classifier else None, self._scales)

    def supernet(self, *, classifier: bool = True) -> HytraSupernet:
        """Return a super-network with every operator of its block in every layer.

        Args:
            classifier: Whether it ends in one for each resolution, which the original, trained
                without labels, does not have; else its output is the map of the last layer.
        """
        from ...layers import Choice
        from ...networks.hytra_search import Fabric, HytraSupernet

        # also the operators of paths that `parse` reads and `sample` does not draw
        blocks = [
            [Choice(name, codes_up_to(scale), ordered=False) for name in block]
            for block, scale in zip(self._names, self._scales, strict=True)
        ]
        classes = self._classes if classifier else None
        fabric = Fabric(self._stem, blocks, classes, self._scales)
        supernet = HytraSupernet(self, fabric, self._names)
        supernet.activate(self.at(0))
        return supernet

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, layer and head."""
        in_channels, channels, stride, pool = self._stem
        activation, se = self._style
        side = self._side
        graph = PartGraph((1, in_channels, side, side))
        side = -(-side // stride)
        side = -(-side // 2) if pool else side
        stem = known_module(f"{_NETWORKS}:Stem", *self._stem, activation)
        x = graph.add("stem", stem, NETWORK_INPUT, shape=(1, channels, side, side))
        layers = self._layers(architecture)
        for layer in layers:
            side = -(-side // layer.stride)
            label, module = _part(layer, self._maps[layer.level], activation, se)
            x = graph.add(label, module, x, shape=(1, layer.width, side, side))
        head = known_module(f"{_NETWORKS}:Head", layers[-1].width, self._classes)
        graph.add("head", head, x, shape=(1, self._classes))
        return graph.parts

    def _layers(self, a: Mapping[str, Any]) -> tuple[Layer, ...]:
        return plan(tuple(self.path(a)), self._stem[1], self._stride4)

    # ---------------------------------------------------------------- blocks
    def block_paths(self, number: int, last: int | None = None) -> list[tuple[int, ...]]:
        """Return the paths through a block: what its layers may be, after what came before.

        There are none where the block cannot continue: behind a resolution above its highest one.

        Args:
            number: Of the block, from 0.
            last: The operator code that the block before ends with; None for the first block.

        Raises:
            SpecError: If there is no such block.
            InvalidArchitecture: If the code is none, or missing behind the first block.
        """
        if not 0 <= number < len(self._names):
            raise SpecError(f"the blocks are 0 to {len(self._names) - 1}, got {number}")
        if (last is None) != (number == 0) or last not in (None, *CODES):
            raise InvalidArchitecture(
                "every block but the first continues an operator code, one of "
                f"{', '.join(map(str, CODES))}; got block {number} after {last}"
            )
        begin: Sequence[int] = CODES
        if last is not None:
            before = self._decision(self._names[number - 1][-1])
            begin = FOLLOWING[last] if before.accepted(last) else ()
        options = [frozenset(self._decision(name).options) for name in self._names[number]]
        return [
            path
            for path in block_paths([c for c in begin if c in options[0]], len(options))
            if all(code in allowed for code, allowed in zip(path, options, strict=True))
        ]

    def _decision(self, name: str) -> Decision:
        return self.decisions[self._position[name]]

    def counts(self) -> dict[str, int]:
        """Return the paths, those with a free first resolution, and those through each block.

        A block's paths are counted by the resolution before it.
        """
        counts = {"architectures": self.size, "first resolution free": self._anywhere()}
        for number in range(len(self._names)):
            if number == 0:
                counts["paths of block 1"] = len(self.block_paths(0))
                continue
            for resolution in range(HIGHEST, -1, -1):
                paths = self.block_paths(number, codes_up_to(resolution)[0])
                if paths:
                    key = f"paths of block {number + 1} after {self._maps[HIGHEST - resolution]}"
                    counts[key] = len(paths)
        return counts

    def _anywhere(self) -> int:
        """Return the number of paths with any first resolution."""
        *before, last = self._limits()
        ways = dict.fromkeys(codes_up_to(last), 1)
        for limit in reversed(before):
            ways = {c: sum(ways.get(a, 0) for a in FOLLOWING[c]) for c in codes_up_to(limit)}
        return sum(ways.values())

    # ---------------------------------------------------------------- notation
    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read four lists, or a path: a text, or a list of codes."""
        if isinstance(value, str):
            return self._of(self._path(value))
        if not isinstance(value, list | tuple):
            raise self.unreadable(value)
        if any(isinstance(part, list | tuple) for part in value):
            return self._of(read_levels(self.name, value, self._maps))
        return self._of([whole(code) for code in value])

    def _path(self, text: str) -> list[Any]:
        blocks = [block.split() for block in text.split("|")]
        per_block = len(self._names[0])
        if len(blocks) > 1 and [len(b) for b in blocks] != [per_block] * len(self._names):
            raise self.unreadable(
                text,
                f"there are {len(self._names)} blocks of {per_block} layers; this has "
                f"{', '.join(str(len(b)) for b in blocks)}",
            )
        return [whole(code) for block in blocks for code in block]

    def _of(self, path: Sequence[Any]) -> Architecture:
        """Return the architecture of operator codes."""
        names = [name for block in self._names for name in block]
        if len(path) != len(names):
            raise self.unreadable(
                path, f"a network has {len(names)} layers (option layers), this has {len(path)}"
            )
        return self.architecture(dict(zip(names, path, strict=True)))

    def format(self, architecture: Architecture) -> str:
        """Return the four lists."""
        return json.dumps(levels_of(self.path(architecture)))

    def path(self, architecture: Mapping[str, Any]) -> list[int]:
        """Return the operator codes, layer by layer."""
        return [architecture[name] for block in self._names for name in block]

    def format_path(self, architecture: Mapping[str, Any]) -> str:
        """Return the path, which `parse` reads too: `5 4 3 3 | 3 2 3 0 | ...`."""
        return " | ".join(" ".join(str(architecture[n]) for n in block) for block in self._names)

    def published(self) -> dict[str, Architecture]:
        """Return BossNet-T0, or T1 where the stride is its one, at their widths and depth."""
        if self._stem[1:] != (64, 2, True) or sum(map(len, self._names)) != 16:
            return {}
        name = "BossNet-T0" if self._stride4 == 2 else "BossNet-T1"
        return {name: self.parse_notation(_T0)}


def _part(layer: Layer, where: str, activation: str, se: bool) -> tuple[str, Module]:
    """Return label and module of a layer."""
    shape = (layer.in_width, layer.width, layer.stride)
    if layer.kind is None:
        return f"down to {where}", known_module(f"{_NETWORKS}:Down", *shape, activation)
    label = f"layer{layer.place + 1} at {where}"
    if layer.kind == ATTENTION:
        heads = heads_of(HIGHEST - layer.level)
        return label, known_module(f"{_NETWORKS}:ResAtt", *shape, heads, activation)
    return label, known_module(f"{_NETWORKS}:ResConv", *shape, activation, se)


@dataclass(frozen=True)
class Below:
    """The rule for the operator codes of a layer, also such that `sample` does not draw.

    Args:
        limit: Highest resolution.
    """

    limit: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is such a code."""
        return not isinstance(value, bool) and value in codes_up_to(self.limit)


def _resolutions(option: str, value: Any) -> list[int]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SpecError(f"{option} must be a list of resolutions, got {value!r}")
    for each in value:
        if isinstance(each, bool) or each not in range(HIGHEST + 1):
            raise SpecError(f"{option}: a resolution is 3 (1/4), 2, 1 or 0 (1/32), got {each!r}")
    return [int(each) for each in value]


def _check(activation: Any, **strides: Any) -> None:
    if activation not in ("relu", "silu"):
        raise SpecError(f"activation must be relu or silu, got {activation!r}")
    for name, stride in strides.items():
        if isinstance(stride, bool) or stride not in (1, 2):
            raise SpecError(f"{name} must be 1 or 2, got {stride!r}")
