"""FBNetV5's networks of parallel paths, and their super-network.

Source: arXiv 2111.10007, 1908.07919; facebookresearch/mobile-vision:
mobile_cv/arch/builder/multi_io.py (re-written).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from ..layers import Choice, Mutable
from ..layers.mutable import Context
from .fbnetv5_blocks import InvertedResidual
from .fbnetv5_plan import Lane, Live, Plan, bits_of, block_name, edge_name, operator
from .mobile_blocks import ConvNorm, he_fan_out

Bits = Mapping[str, Choice]  # by the names of blocks and edges, among 0 and 1


def residual(in_channels: int, out_channels: int, code: str, stride: int = 1) -> nn.Module:
    """Return the inverted residual that a code says."""
    found = operator(code)
    assert found is not None, code  # the space has checked it
    return InvertedResidual(in_channels, out_channels, *found, stride)


class Stem(nn.Sequential):
    """A 3x3 convolution with bias, two inverted residuals of ratio 1, the first path's entry.

    Args:
        in_channels: Channels of the image.
        channels: Width of all but the last.
        stride: Of the convolution.
        width: Of the first path.
        entry: Code of the last, which halves the map once more.
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, width: int, entry: str
    ) -> None:
        super().__init__(
            ConvNorm(in_channels, channels, 3, stride, "h_swish", bias=True),
            residual(channels, channels, "k3_e1"),
            residual(channels, channels, "k3_e1"),
            residual(channels, width, entry, 2),
        )


class Down(nn.Sequential):
    """To the next path: depthwise 3x3 convolution of stride 2, norm, 1x1 convolution, norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvNorm(in_channels, in_channels, 3, 2, depthwise=True),
            ConvNorm(in_channels, out_channels),
        )


class Up(nn.Sequential):
    """To the path before: 1x1 convolution, norm, each pixel twice in both directions."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(ConvNorm(in_channels, out_channels), nn.Upsample(scale_factor=2))


def edge(source: int, target: int, widths: Sequence[int]) -> nn.Module:
    """Return what makes a map of one path one of another."""
    kind = Down if source < target else Up
    return kind(widths[source], widths[target])


class Fusion(nn.Module):
    """A path's map plus those of other paths: what a stage begins with.

    Args:
        path: Whose map.
        sources: The other paths.
        widths: Of all paths.
    """

    def __init__(self, path: int, sources: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edge(source, path, widths) for source in sources)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """(N, C, H, W), and a map of each source -> (N, C, H, W)."""
        return fuse(x, self.edges, others)


def fuse(x: Tensor, edges: Sequence[nn.Module] | nn.ModuleList, others: Sequence[Tensor]) -> Tensor:
    """Return `x` plus what each edge makes of its map."""
    for layer, other in zip(edges, others, strict=True):
        x = x + layer(other)
    return x


class Backbone(nn.Module):
    """Stage 0, which makes the paths one from another, then edges and blocks, stage by stage.

    Args:
        entries: What makes each path.
        units: The blocks and edges by name.
        live: What is run.
    """

    def __init__(
        self, entries: Sequence[nn.Module], units: Mapping[str, nn.Module], live: Live
    ) -> None:
        super().__init__()
        self.stage0 = nn.ModuleList(entries)
        # names of modules have no dots
        self.units = nn.ModuleDict({_flat(name): unit for name, unit in units.items()})
        self.live = live

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, H, W) -> the map of each path that is read."""
        return self.run(self.enter(x, self.live.depth), self.live)

    def enter(self, x: Tensor, depth: int) -> list[Tensor]:
        """Return the maps of the first `depth` paths after stage 0."""
        maps = []
        for entry in self.stage0[:depth]:
            x = entry(x)
            maps.append(x)
        return maps

    def run(self, entered: Sequence[Tensor], live: Live) -> list[Tensor]:
        """Return the maps of the paths that are read, from those after stage 0."""
        maps = dict(enumerate(entered))
        for stage, lanes in enumerate(live.stages, start=1):
            fused = [self._fused(stage, lane, maps) for lane in lanes]
            maps = {
                lane.path: self._through(stage, lane, x)
                for lane, x in zip(lanes, fused, strict=True)
            }
        return [maps[path] for path in live.reads]

    def _fused(self, stage: int, lane: Lane, maps: Mapping[int, Tensor]) -> Tensor:
        edges = [self.unit(edge_name(stage, i, lane.path)) for i in lane.sources]
        return fuse(maps[lane.path], edges, [maps[i] for i in lane.sources])

    def _through(self, stage: int, lane: Lane, x: Tensor) -> Tensor:
        for block in lane.blocks:
            x = self.unit(block_name(stage, lane.path, block))(x)
        return x

    def unit(self, name: str) -> nn.Module:
        """Return a block or an edge by its name."""
        return self.units[_flat(name)]

    def only(self, live: Live) -> Backbone:
        """Return a backbone of these layers with nothing but what is live."""
        return Backbone(
            list(self.stage0[: live.depth]), {name: self.unit(name) for name in bits_of(live)}, live
        )


def backbone(plan: Plan, live: Live) -> Backbone:
    """Return a backbone of new layers."""
    stem = Stem(*plan.stem, plan.widths[0], plan.entries[0])
    pairs = zip(plan.widths, plan.widths[1:], plan.entries[1:], strict=False)
    entries = [stem, *(residual(a, b, code, 2) for a, b, code in pairs)][: live.depth]
    units: dict[str, nn.Module] = {}
    for stage, lanes in enumerate(live.stages, start=1):
        for lane in lanes:
            width, code = plan.widths[lane.path], plan.operators[lane.path]
            for i in lane.sources:
                units[edge_name(stage, i, lane.path)] = edge(i, lane.path, plan.widths)
            for block in lane.blocks:
                units[block_name(stage, lane.path, block)] = residual(width, width, code)
    return Backbone(entries, units, live)


class Backbones(nn.ModuleList):
    """One backbone for all tasks, or one for each."""

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, H, W) -> the maps of the first, of the second, ..."""
        return [one for each in self for one in each(x)]


class Fabric(Mutable):
    """Every block and edge once, and one or several topologies that run on them.

    What is not connected to what is read at the end does not run, whatever its bit says.

    Args:
        plan: The super-network.
        topologies: For each, its bits and the paths that are read.
    """

    def __init__(self, plan: Plan, topologies: Sequence[tuple[Bits, tuple[int, ...]]]) -> None:
        super().__init__()
        self.plan, self.topologies = plan, list(topologies)
        every = range(len(plan.widths))
        self.body = backbone(plan, plan.live(plan.bits(), every))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The bits of all topologies, each once."""
        return tuple(dict.fromkeys(c for bits, _ in self.topologies for c in bits.values()))

    def live(self) -> list[Live]:
        """Return what runs of each topology."""
        return [
            self.plan.live({name for name, choice in bits.items() if choice.value}, reads)
            for bits, reads in self.topologies
        ]

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, channels, H, W) -> the maps of the first topology, of the second, ..."""
        if self.together:
            return self._together(x)
        live = self.live()
        entered = self.body.enter(x, max((each.depth for each in live), default=0))
        return [one for each in live for one in self.body.run(entered, each)]

    def _together(self, x: Tensor) -> list[Tensor]:
        """Run, for each sample, the topologies of its own architecture."""
        entered = self.body.enter(x, len(self.plan.widths))
        found = []
        for bits, reads in self.topologies:
            each = {name: choice.each(len(x)) for name, choice in bits.items()}
            some = self.plan.live({name for name, row in each.items() if any(row)}, reads)
            maps = dict(enumerate(entered))
            for stage, lanes in enumerate(some.stages, start=1):
                fused = {lane.path: self._fused_each(stage, lane, maps, each) for lane in lanes}
                maps = {
                    lane.path: self._through_each(stage, lane, fused[lane.path], each)
                    for lane in lanes
                }
            found += [maps[path] for path in some.reads]
        return found

    def _fused_each(
        self,
        stage: int,
        lane: Lane,
        maps: Mapping[int, Tensor],
        each: Mapping[str, Sequence[int]],
    ) -> Tensor:
        x = maps[lane.path]
        for i in lane.sources:
            name = edge_name(stage, i, lane.path)
            x = _where(each[name], x + self.body.unit(name)(maps[i]), x)
        return x

    def _through_each(
        self, stage: int, lane: Lane, x: Tensor, each: Mapping[str, Sequence[int]]
    ) -> Tensor:
        for block in lane.blocks:
            name = block_name(stage, lane.path, block)
            x = _where(each[name], self.body.unit(name)(x), x)
        return x

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield all entries, blocks and edges; what does not run now stands under no option."""
        live = self.live()
        never: Context = dict.fromkeys(self.choices[:1], ())
        for path, entry in enumerate(self.body.stage0):
            yield entry, {} if any(path < each.depth for each in live) else never
        runs = {name for each in live for name in bits_of(each)}
        for name in self.plan.bits():
            yield self.body.unit(name), {} if name in runs else never

    def cut(self, inherit: bool) -> nn.Module:
        """Return a backbone for each topology, of what runs of it; layers are not shared."""
        first, *others = (self.body.only(each) for each in self.live())
        return Backbones([first, *map(deepcopy, others)])


class FBNetV5(nn.Module):
    """Backbone and heads.

    Args:
        backbones: From the image to maps, or an edge of that.
        heads: From the maps to the outputs.
    """

    def __init__(self, backbones: nn.Module, heads: nn.Module) -> None:
        super().__init__()
        self.backbones, self.heads = backbones, heads
        he_fan_out(self.backbones)

    def forward(self, x: Tensor) -> object:
        """(N, channels, H, W) -> the output of the task, or those of several by name."""
        return self.heads(*self.backbones(x))


def _where(bits: Sequence[int], new: Tensor, old: Tensor) -> Tensor:
    """Return the new values of the samples whose bit is 1; the others keep the old ones."""
    if all(bits):
        return new
    mine = torch.tensor(bits, dtype=torch.bool, device=new.device)
    return torch.where(mine.view(len(new), 1, 1, 1), new, old)


def _flat(name: str) -> str:
    return name.replace(".", "_")
