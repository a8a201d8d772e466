"""What the networks of FBNetV5 are, in numbers; loads no torch.

Paths run side by side, each at half the resolution of the one before. Stage 0 makes them one from
another; in every further stage, paths next to each other exchange their maps (edges), then each
runs its blocks. A topology says which blocks and which edges are there.

Source: arXiv 2111.10007; facebookresearch/mobile-vision: mobile_cv/arch/builder/multi_io.py.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from itertools import combinations
from typing import NamedTuple


class Operator(NamedTuple):
    """An inverted residual: kernel, expansion ratio, squeeze-and-excitation."""

    kernel: int
    expand: int
    excite: bool


def operator(code: str) -> Operator | None:
    """Return what a code says: `k5_e3`, or `k5_e3_se`; None if it is none."""
    found = re.fullmatch(r"k([13579])_e([1-9]\d?)(_se)?", code) if isinstance(code, str) else None
    return Operator(int(found[1]), int(found[2]), bool(found[3])) if found else None


class Lane(NamedTuple):
    """What a path does in a stage.

    Args:
        path: Which.
        sources: The paths whose maps are added to its own, before the blocks.
        blocks: The blocks that are there, numbered from 0.
    """

    path: int
    sources: tuple[int, ...]
    blocks: tuple[int, ...]


class Live(NamedTuple):
    """What of a topology reaches those who read it.

    Args:
        depth: How many paths stage 0 makes.
        stages: The lanes of each further stage.
        reads: The paths that are read at the end.
    """

    depth: int
    stages: tuple[tuple[Lane, ...], ...]
    reads: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """The super-network.

    Args:
        stem: Channels of the image, width and stride of the first convolution.
        widths: Of each path.
        entries: The operator of stage 0 that makes each path.
        operators: That of each path's blocks.
        blocks: How many each path has per stage.
        stages: How many there are after stage 0.
    """

    stem: tuple[int, int, int]
    widths: tuple[int, ...]
    entries: tuple[str, ...]
    operators: tuple[str, ...]
    blocks: tuple[int, ...]
    stages: int

    def strides(self) -> list[int]:
        """Return how much smaller than the image the map of each path is."""
        return [self.stem[2] * 2 ** (path + 1) for path in range(len(self.widths))]

    def edges(self) -> list[tuple[int, int]]:
        """Return the pairs of paths (from, to) that may be connected."""
        places = range(len(self.widths))
        return [(i, j) for i in places for j in places if abs(i - j) == 1]

    def bits(self) -> list[str]:
        """Return the name of each block and edge, in the order of the stages."""
        names = []
        for stage in range(1, self.stages + 1):
            names += [edge_name(stage, *edge) for edge in self.edges()]
            for path, count in enumerate(self.blocks):
                names += [block_name(stage, path, block) for block in range(count)]
        return names

    def live(self, on: Collection[str], reads: Iterable[int]) -> Live:
        """Return what of a topology is connected to the paths that are read.

        Args:
            on: The names of the blocks and edges that are there.
            reads: Paths.
        """
        last = tuple(sorted(set(reads)))
        needed = set(last)
        stages: list[tuple[Lane, ...]] = []
        for stage in range(self.stages, 0, -1):
            lanes = tuple([self._lane(stage, path, on) for path in sorted(needed)])
            needed = needed.union(*(lane.sources for lane in lanes))
            stages.append(lanes)
        return Live(max(needed, default=-1) + 1, tuple(reversed(stages)), last)

    def _lane(self, stage: int, path: int, on: Collection[str]) -> Lane:
        near = [i for i in (path - 1, path + 1) if 0 <= i < len(self.widths)]
        blocks = range(self.blocks[path])
        return Lane(
            path,
            tuple([i for i in near if edge_name(stage, i, path) in on]),
            tuple([b for b in blocks if block_name(stage, path, b) in on]),
        )

    def connected(self, reads: Iterable[int]) -> int:
        """Return how many topologies there are without what does not reach the paths read."""
        edges = self.edges()

        @cache
        def count(stage: int, needed: frozenset[int]) -> int:
            if stage == 0:
                return 1
            found = 0
            into = [edge for edge in edges if edge[1] in needed]
            for n in range(len(into) + 1):
                for chosen in combinations(into, n):
                    found += count(stage - 1, needed.union(i for i, _ in chosen))
            return int(found * 2 ** sum(self.blocks[path] for path in needed))

        return count(self.stages, frozenset(reads))


def block_name(stage: int, path: int, block: int) -> str:
    """Return the name of a block's bit; stages and blocks are counted from 1 and 0 in it."""
    return f"stage{stage}.path{path}.block{block + 1}"


def edge_name(stage: int, source: int, target: int) -> str:
    """Return the name of an edge's bit."""
    return f"stage{stage}.edge{source}_{target}"


def bits_of(live: Live) -> Iterator[str]:
    """Yield the names of the blocks and edges that are there."""
    for stage, lanes in enumerate(live.stages, start=1):
        for lane in lanes:
            yield from (edge_name(stage, i, lane.path) for i in lane.sources)
            yield from (block_name(stage, lane.path, b) for b in lane.blocks)


def identity(live: Live) -> str:
    """Return a text that equal networks share, and no others.

    Blocks of a path are alike, so that which of them are there does not matter, nor in which
    stage, unless an edge comes between; nor the order in which maps are added up.
    """
    maps = {path: _Map(f"path {path}") for path in range(live.depth)}
    for lanes in live.stages:
        maps = {
            lane.path: maps[lane.path].plus([maps[i] for i in lane.sources]).after(len(lane.blocks))
            for lane in lanes
        }
    return _digest(str(live.reads), *(maps[path].text for path in live.reads))


class _Map:
    """A tensor, told by how it is made: a tensor, and those that are added to it in any order."""

    def __init__(self, base: str, added: Iterable[str] = ()) -> None:
        self._base, self._added = base, sorted(added)

    @property
    def text(self) -> str:
        """Return a digest of how it is made."""
        return _digest(self._base, *self._added) if self._added else self._base

    def plus(self, others: Iterable[_Map]) -> _Map:
        """Return the sum with other maps."""
        return _Map(self._base, [*self._added, *(other.text for other in others)])

    def after(self, blocks: int) -> _Map:
        """Return what blocks of its path make of it."""
        text = self.text
        for _ in range(blocks):
            text = _digest("block", text)
        return _Map(text) if blocks else self


def _digest(*texts: str) -> str:
    return sha256("|".join(texts).encode()).hexdigest()
