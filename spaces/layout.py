"""Where the parts of a network stand in a drawing, and which way tensors go between them.

Columns follow the data. A tensor that is read further on keeps a place of its own in the columns
between, so that no line runs behind a box. Long networks go on in another line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

COLUMN, GAP, LANE, MARGIN, HEAD = 118, 26, 86, 16, 52  # pixels
_PASSING = 18  # of a tensor that passes a column
_CROSSING = 4  # tensors that may go on into another line
_Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """Where a part stands.

    Args:
        x: Left edge.
        y: Upper edge.
        width: In pixels, like everything here.
        height: Likewise.
        line: Which line of the drawing.
        column: Of the line.
    """

    x: float
    y: float
    width: float
    height: float
    line: int
    column: int


class Layout(NamedTuple):
    """A drawing without its words.

    Args:
        boxes: Of each part.
        spans: Top and bottom of each line.
        paths: (source, reader) -> the way between both, as SVG writes paths.
        middles: (source, reader) -> the middle of the last piece of that way.
    """

    boxes: list[Box]
    spans: list[tuple[float, float]]
    paths: dict[tuple[int, int], str]
    middles: dict[tuple[int, int], _Point]


def layout(
    sources: Sequence[Sequence[int]],
    sizes: Sequence[tuple[float, float]],
    groups: Sequence[str],
    per_line: int,
) -> Layout:
    """Return where everything stands.

    Args:
        sources: For each part, those that it reads, each before it.
        sizes: Width and height of each part; at most `COLUMN` and `LANE`.
        groups: What each belongs to; lines end where groups end, if they can.
        per_line: Columns after which a new line begins, where few tensors go on.
    """
    ranks = _ranks(sources)
    places = _lines(sources, ranks, groups, per_line)
    centres, spans = _centres(sources, ranks, places)
    boxes = []
    for part, ((width, height), rank) in enumerate(zip(sizes, ranks, strict=True)):
        line, column = places[rank]
        x = MARGIN + column * (COLUMN + GAP) + (COLUMN - width) / 2
        boxes.append(Box(x, centres[part, rank] - height / 2, width, height, line, column))
    paths, middles = _ways(sources, ranks, boxes, centres, spans)
    return Layout(boxes, spans, paths, middles)


def _ranks(sources: Sequence[Sequence[int]]) -> list[int]:
    """Return the column of each part: as far to the right as its readers leave it."""
    first: list[int] = []
    for reads in sources:
        first.append(max((first[s] for s in reads), default=-1) + 1)
    ranks = [max(first)] * len(sources)
    for part in reversed(range(len(sources))):
        for source in sources[part]:
            ranks[source] = min(ranks[source], ranks[part] - 1)
    return ranks


def _lines(
    sources: Sequence[Sequence[int]], ranks: Sequence[int], groups: Sequence[str], per_line: int
) -> list[tuple[int, int]]:
    """Return line and column of each rank: lines end where few tensors go on, and a group ends."""
    last = list(ranks)  # the furthest reader of each part
    for reads, rank in zip(sources, ranks, strict=True):
        for source in reads:
            last[source] = max(last[source], rank)
    count = max(ranks) + 1
    there = [{g for g, r in zip(groups, ranks, strict=True) if r == n} for n in range(count)]
    going_on = [
        sum(r <= rank < end for r, end in zip(ranks, last, strict=True)) for rank in range(count)
    ]

    def worth(rank: int) -> tuple[int, bool, int]:
        ends = there[rank] != {""} and not there[rank] & there[rank + 1]
        return going_on[rank], not ends, -rank

    places: list[tuple[int, int]] = []
    start, line = 0, 0
    while count - start > per_line:
        window = range(start + (per_line - 1) // 2, count - 2)
        ends = [r for r in window if going_on[r] <= _CROSSING]
        near = [r for r in ends if r < start + per_line] or ends[:1]
        if not near:
            break
        end = min(near, key=worth) + 1
        places += [(line, rank - start) for rank in range(start, end)]
        start, line = end, line + 1
    return places + [(line, rank - start) for rank in range(start, count)]


def _centres(
    sources: Sequence[Sequence[int]], ranks: Sequence[int], places: Sequence[tuple[int, int]]
) -> tuple[dict[tuple[int, int], float], list[tuple[float, float]]]:
    """Return the height of each part and of each tensor that passes, by part and rank."""
    passes = _passing(sources, ranks, places)
    centres: dict[tuple[int, int], float] = {}
    spans: list[tuple[float, float]] = []
    for rank, (_, column) in enumerate(places):
        if column == 0:
            top = bottom = HEAD if rank == 0 else spans[-1][1] + 2 * GAP
            spans.append((top, bottom))
        own = [part for part, r in enumerate(ranks) if r == rank]
        wanted = {
            (part in own, part): _mean(
                [
                    centres[s, rank - 1]
                    for s in (sources[part] if part in own else [part])
                    if column and (s, rank - 1) in centres
                ],
                top + LANE / 2,
            )
            for part in (*own, *passes[rank])
        }
        y = top
        for is_own, part in sorted(wanted, key=lambda i: (wanted[i], not i[0], i[1])):
            height = LANE if is_own else _PASSING
            centres[part, rank] = max(y + height / 2, wanted[is_own, part])
            y = centres[part, rank] + height / 2
        spans[-1] = top, max(spans[-1][1], y)
    return centres, spans


def _passing(
    sources: Sequence[Sequence[int]], ranks: Sequence[int], places: Sequence[tuple[int, int]]
) -> list[list[int]]:
    """Return for each rank the parts whose tensor passes it on the way to a reader.

    One from another line comes in where the line begins, so that cells look alike everywhere.
    """
    last: dict[tuple[int, int], int] = {}  # (part, line) -> its furthest reader there
    for reads, rank in zip(sources, ranks, strict=True):
        for source in reads:
            at = source, places[rank][0]
            last[at] = max(last.get(at, 0), rank)
    return [
        [part for part, rank in enumerate(ranks) if rank < at < last.get((part, line), 0)]
        for at, (line, _) in enumerate(places)
    ]


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _ways(
    sources: Sequence[Sequence[int]],
    ranks: Sequence[int],
    boxes: Sequence[Box],
    centres: Mapping[tuple[int, int], float],
    spans: Sequence[tuple[float, float]],
) -> tuple[dict[tuple[int, int], str], dict[tuple[int, int], _Point]]:
    paths, middles = {}, {}
    crossing: dict[int, list[int]] = {}  # per line, the tensors that come from another one
    for reader, reads in enumerate(sources):
        end = boxes[reader]
        x2, y2 = end.x, end.y + end.height / 2
        for source in reads:
            start = boxes[source]
            x, y = start.x + start.width, start.y + start.height / 2
            path = f"M{x:g} {y:g}"
            between = range(ranks[source] + 1, ranks[reader])
            if start.line != end.line:
                others = crossing.setdefault(end.line, [])
                others += [source] if source not in others else []
                aside = 3 * others.index(source)
                right = MARGIN + start.column * (COLUMN + GAP) + COLUMN + GAP / 2 - aside
                between = range(ranks[reader] - end.column, ranks[reader])
                over = spans[end.line][0] - GAP + aside
                x, y = MARGIN - GAP / 2 + aside, centres[source, between[0]] if between else y2
                path += f" H{right:g} V{over:g} H{x:g} V{y:g}"
            for rank in between:
                left = MARGIN + (end.column + rank - ranks[reader]) * (COLUMN + GAP)
                path += _bend(x, y, left, centres[source, rank]) + f" H{left + COLUMN:g}"
                x, y = left + COLUMN, centres[source, rank]
            path += _bend(x, y, x2, y2)
            paths[source, reader] = path
            middles[source, reader] = ((x + x2) / 2, (y + y2) / 2)
    return paths, middles


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    middle = (x1 + x2) / 2
    return f" C{middle:g} {y1:g} {middle:g} {y2:g} {x2:g} {y2:g}"
