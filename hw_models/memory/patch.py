"""Patch-based inference: the first operators run tile by tile, so that their maps are never whole.

The stage is the first operators of the network up to a cut that only one tensor crosses. Its
output is cut into n x n tiles (sides rounded up, the last tile smaller); the region that a tile
needs of each tensor follows backwards through the windows, and halos are computed again. What lies
beyond the borders of a map is left out, or computed in every tile, as TinyEngine does.

Source: MCUNetV2, arXiv 2110.15352; mit-han-lab/tinyengine `PatchBasedUtil.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ...errors import SpecError
from .graph import ELEMENTWISE, LOCAL, Graph, MemOp, MemTensor, spatial

Span: TypeAlias = tuple[int, int]
Region: TypeAlias = tuple[Span, Span]  # rows, columns; half-open


class Tiling(NamedTuple):
    """A stage cut into tiles.

    Args:
        n: Tiles per side; 1 is no patching.
        split: Operators in the stage.
    """

    n: int
    split: int


def splits(graph: Graph) -> list[int]:
    """Return the numbers of first operators that can be a stage, ascending."""
    found = []
    alive = {i for i in graph.inputs if graph.consumers[i]}
    left = [len(readers) for readers in graph.consumers]
    for k, op in enumerate(graph.ops):
        if op.kind not in LOCAL | ELEMENTWISE | {"concat"} or not _is_map(graph, op):
            break
        alive.add(op.output)
        for i in dict.fromkeys(op.inputs):
            left[i] -= 1
            if not left[i] and i not in graph.outputs:
                alive.discard(i)
        if alive == {op.output}:
            found.append(k + 1)
    return found


def _is_map(graph: Graph, op: MemOp) -> bool:
    """Whether input and output are maps of which a tile needs a part."""
    return all(
        len(graph.tensors[i].shape) == 4 and min(spatial(graph.tensors[i].shape)) > 1
        for i in (*op.inputs, op.output)
    )


def uncuttable(graph: Graph, tiling: Tiling) -> str:
    """Return why TinyEngine's code generator cannot cut a stage there; empty where it can.

    It walks the stage as a chain of convolutions with adds in between, knows strides 1 and 2, takes
    equal tiles, and hands the assembled map to one operator.

    Source: mit-han-lab/tinyengine, `PatchBasedUtil.py`, `InputResizer.py`.
    """
    before = graph.inputs[0]
    for op in graph.ops[: tiling.split]:
        windows = {op.kernel[0] - op.kernel[1], op.stride[0] - op.stride[1]}
        if op.kind not in ("conv", "pw", "dw", "add") or before not in op.inputs:
            return f"a chain of convolutions and adds, got {op.name!r} ({op.kind})"
        if windows != {0} or op.stride[0] > 2 or op.dilation != (1, 1):
            return f"square windows with strides 1 and 2, undilated, got {op.name!r}"
        before = op.output
    rows, columns = spatial(graph.tensors[before].shape)
    if rows > columns or rows % tiling.n or columns % tiling.n:
        return f"{tiling.n} x {tiling.n} equal tiles, no higher than wide, got {rows} x {columns}"
    if len(graph.consumers[before]) > 1 or before in graph.outputs:
        return f"an output that one operator reads, got {graph.tensors[before].name!r}"
    return ""


def tiles(graph: Graph, tiling: Tiling) -> Iterator[Region]:
    """Yield the regions of the stage's output."""
    rows, columns = spatial(graph.tensors[graph.ops[tiling.split - 1].output].shape)
    for row in _cut(rows, tiling.n):
        for column in _cut(columns, tiling.n):
            yield row, column


def _cut(length: int, n: int) -> list[Span]:
    side = -(-length // n)
    return [(a, min(a + side, length)) for a in range(0, length, side)]


def regions(graph: Graph, split: int, tile: Region, *, clip: bool = True) -> dict[int, Region]:
    """Return the region of each tensor of the stage that one tile of its output needs.

    Args:
        graph: The operators.
        split: How many of them are the stage.
        tile: Rows and columns of the stage's output.
        clip: Whether what lies beyond a map is left out; without, as TinyEngine computes it.
    """
    rows, columns = (_spans(graph, split, tile[axis], axis, clip) for axis in (0, 1))
    return {i: (span, columns[i]) for i, span in rows.items()}


def _spans(graph: Graph, split: int, span: Span, axis: int, clip: bool) -> dict[int, Span]:
    """Return the interval of each tensor that an interval of the stage's output needs."""
    needed = {graph.ops[split - 1].output: span}
    for op in reversed(graph.ops[:split]):
        before = _before(
            needed[op.output],
            op.kernel[axis],
            op.stride[axis],
            op.padding[2 * axis],
            op.dilation[axis],
        )
        for i in dict.fromkeys(op.inputs):
            length = spatial(graph.tensors[i].shape)[axis]
            here = _clipped(before, length) if clip else before
            known = needed.get(i, here)
            needed[i] = (min(known[0], here[0]), max(known[1], here[1]))
    return needed


def _axes(graph: Graph, tiling: Tiling, clip: bool) -> list[list[dict[int, Span]]]:
    """Return, for rows and for columns, what each cut of the stage's output needs."""
    sides = spatial(graph.tensors[graph.ops[tiling.split - 1].output].shape)
    return [
        [_spans(graph, tiling.split, span, axis, clip) for span in _cut(sides[axis], tiling.n)]
        for axis in (0, 1)
    ]


def _before(span: Span, kernel: int, stride: int, padding: int, dilation: int) -> Span:
    """Return the interval of the input that an interval of the output reads."""
    reach = dilation * (kernel - 1) + 1
    return span[0] * stride - padding, (span[1] - 1) * stride - padding + reach


def _clipped(span: Span, length: int) -> Span:
    """Return what lies within a map: at least one row, also of a tile that reads only padding."""
    low = min(max(span[0], 0), length - 1)
    return low, max(min(span[1], length), low + 1)


def field(graph: Graph, split: int, outputs: int = 1) -> int:
    """Return how many rows of the input `outputs` rows of the stage's output depend on."""
    span = ((0, outputs), (0, outputs))
    rows, _ = regions(graph, split, span, clip=False)[graph.inputs[0]]
    return rows[1] - rows[0]


def op_macs(graph: Graph, tiling: Tiling, *, clip: bool = True) -> list[int]:
    """Return the multiply-adds of each operator when the stage runs in tiles."""
    macs = [op.macs for op in graph.ops]
    if tiling.n == 1:
        return macs
    rows, columns = _axes(graph, tiling, clip)
    for k in range(tiling.split):
        result = graph.ops[k].output
        high, wide = (sum([s[result][1] - s[result][0] for s in cuts]) for cuts in (rows, columns))
        whole = math.prod(spatial(graph.tensors[result].shape))
        macs[k] = macs[k] * high * wide // whole
    return macs


class Patched(NamedTuple):
    """The network as one tile sees it.

    Args:
        graph: The stage with the tensors of one tile, a copy into the stage's output, the rest.
        assembled: Id of the stage's whole output, which lives from the start.
        image: Id of the whole input, which lives through the stage; None where it is not kept.
        tile: Id of the tile of the stage's output.
        end: Time of the copy.
    """

    graph: Graph
    assembled: int
    image: int | None
    tile: int
    end: int


def patched(graph: Graph, tiling: Tiling, *, resident: bool, clip: bool = True) -> list[Patched]:
    """Return the network once per kind of tile: equal tiles need equal memory.

    Args:
        graph: The operators.
        tiling: Where to cut.
        resident: Whether the whole input lies in memory during the stage; otherwise each tile of
            it is fetched.
        clip: As in `regions`.

    Raises:
        SpecError: If the network cannot be cut there.
    """
    if tiling.split not in splits(graph):
        allowed = splits(graph)
        raise SpecError(
            f"a patch stage must end where one map is left alive, after one of {allowed} operators,"
            f" got {tiling.split}"
        )
    rows, columns = (
        {tuple([(i, b - a) for i, (a, b) in sorted(spans.items())]) for spans in cuts}
        for cuts in _axes(graph, tiling, clip)
    )
    kinds = [
        [(i, height, width) for (i, height), (_, width) in zip(high, wide, strict=True)]
        for high in sorted(rows)
        for wide in sorted(columns)
    ]
    return [_one_tile(graph, tiling.split, sides, resident) for sides in kinds]


def _one_tile(
    graph: Graph, split: int, sides: Sequence[tuple[int, int, int]], resident: bool
) -> Patched:
    tensors = list(graph.tensors)
    result = graph.ops[split - 1].output
    for i, rows, columns in sides:
        if resident and i in graph.inputs:
            continue
        shape = (*tensors[i].shape[:2], rows, columns)
        tensors[i] = MemTensor(tensors[i].name, shape, math.prod(shape), tensors[i].dtype)
    assembled = len(tensors)
    whole = graph.tensors[result]
    tensors.append(MemTensor(f"{whole.name} (all tiles)", whole.shape, whole.size_bytes))
    copy = MemOp("tiles", "copy", (result,), assembled)
    rest = [
        op._replace(inputs=tuple([assembled if i == result else i for i in op.inputs]))
        for op in graph.ops[split:]
    ]
    outputs = [assembled if i == result else i for i in graph.outputs]
    combined = Graph(
        tensors, [*graph.ops[:split], copy, *rest], inputs=graph.inputs, outputs=outputs
    )
    image = graph.inputs[0] if resident else None
    return Patched(combined, assembled, image, result, split + 1)
