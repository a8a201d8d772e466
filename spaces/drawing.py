"""A network drawn from its parts: boxes in the order of the data, as SVG; needs no torch.

Parts are placed by their distance from the input, parallel ones below each other; long networks
run over several lines. A box says what the part is and the shape that it makes; its height grows
with the number of channels, its colour stands for the kind of layer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import log2
from typing import NamedTuple, TypeAlias

from .part import NETWORK_INPUT, Input, Part

_COLUMN, _GAP, _LANE, _MARGIN, _HEAD = 100, 28, 76, 24, 48  # pixels
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#e15759")


class Drawn(NamedTuple):
    """What is drawn of a part, where there is no part but a layer; its fields are those of `Part`.

    Args:
        key: `package.module:Class(arguments) @ shapes`, as much of it as there is.
        label: What is written into the box.
        inputs: Where the inputs come from.
    """

    key: str
    label: str
    inputs: tuple[Input, ...]


_Part: TypeAlias = Part | Drawn


@dataclass(frozen=True)
class _Box:
    """Where a part stands."""

    x: float
    y: float
    height: float
    line: int
    top: float  # of the line


def draw(parts: Sequence[Part | Drawn], *, title: str = "", per_line: int = 10) -> str:
    """Return the drawing of a network as an SVG document.

    Args:
        parts: As `Space.parts` gives them, or the layers of a network without parts.
        title: Written above.
        per_line: Boxes next to each other after which a new line begins, where one tensor goes on.
    """
    ranks = _ranks(parts)
    shapes = _shapes(parts)
    lines = _lines(parts, ranks, per_line)
    boxes = _place(ranks, shapes, lines)
    kinds = list(dict.fromkeys(_kind(part) for part in parts))
    colours = {kind: _COLOURS[i % len(_COLOURS)] for i, kind in enumerate(kinds)}
    columns = max(column for _, column in lines) + 1
    width = 2 * _MARGIN + columns * _COLUMN + (columns - 1) * _GAP
    bottom = max(box.y + box.height for box in boxes)
    body = [
        *_edges(parts, boxes),
        *(
            line
            for part, box, shape in zip(parts, boxes, shapes, strict=True)
            for line in _box(part, box, shape, colours[_kind(part)])
        ),
        *_legend(colours, bottom + _HEAD),
    ]
    height = bottom + _HEAD + 18 * (1 + (len(kinds) - 1) // 4) + _MARGIN
    head = f'<text x="{_MARGIN}" y="20" font-size="12">{escape(_short(title, width // 7))}</text>'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" font-size="9">',
            f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
            head,
            *body,
            "</svg>\n",
        ]
    )


def _ranks(parts: Sequence[Part | Drawn]) -> list[int]:
    """Return the distance of each part from the input of the network."""
    ranks: list[int] = []
    for part in parts:
        before = [ranks[i.source] for i in part.inputs if i.source != NETWORK_INPUT]
        ranks.append(max(before, default=-1) + 1)
    return ranks


def _shapes(parts: Sequence[Part | Drawn]) -> list[tuple[int, ...]]:
    """Return the shape that each part makes, as its readers see it; () for the output."""
    shapes: list[tuple[int, ...]] = [()] * len(parts)
    for part in parts:
        for source in part.inputs:
            if source.source != NETWORK_INPUT:
                shapes[source.source] = source.shape
    return shapes


def _lines(
    parts: Sequence[Part | Drawn], ranks: Sequence[int], per_line: int
) -> list[tuple[int, int]]:
    """Return line and column of each rank; lines end where a single tensor goes on."""
    last = list(ranks)  # the furthest reader of each part
    for part, rank in zip(parts, ranks, strict=True):
        for source in part.inputs:
            if source.source != NETWORK_INPUT:
                last[source.source] = max(last[source.source], rank)
    places: list[tuple[int, int]] = []
    line = column = 0
    for rank in range(max(ranks) + 1):
        places.append((line, column))
        column += 1
        going_on = sum(r <= rank < end for r, end in zip(ranks, last, strict=True))
        if going_on == 1 and column >= 0.6 * per_line and rank + 2 < max(ranks):
            line, column = line + 1, 0
    return places


def _place(
    ranks: Sequence[int], shapes: Sequence[tuple[int, ...]], lines: Sequence[tuple[int, int]]
) -> list[_Box]:
    lanes: dict[int, int] = {}  # per rank, how many parts are placed
    depth: dict[int, int] = {}  # per line, how many lanes it needs
    places = []
    for rank in ranks:
        lane = lanes[rank] = lanes.get(rank, -1) + 1
        line, column = lines[rank]
        depth[line] = max(depth.get(line, 0), lane + 1)
        places.append((column, line, lane))
    tops, y = {}, float(_HEAD)
    for line in sorted(depth):
        tops[line] = y
        y += depth[line] * _LANE + _GAP
    boxes = []
    for (column, line, lane), shape in zip(places, shapes, strict=True):
        height = 38 + 3 * min(8.0, log2(max(1, shape[1] if len(shape) > 1 else 1)))
        x = _MARGIN + column * (_COLUMN + _GAP)
        boxes.append(
            _Box(x, tops[line] + lane * _LANE + (_LANE - height) / 2, height, line, tops[line])
        )
    return boxes


def _edges(parts: Sequence[Part | Drawn], boxes: Sequence[_Box]) -> list[str]:
    lines = []
    for part, box in zip(parts, boxes, strict=True):
        for source in part.inputs:
            if source.source != NETWORK_INPUT:
                path = _path(boxes[source.source], box)
                lines.append(f'<path d="{path}" fill="none" stroke="#888888" stroke-width="1.2"/>')
    return lines


def _path(start: _Box, end: _Box) -> str:
    """Return the way between two boxes: straight, over those between, or into another line."""
    x1, y1 = start.x + _COLUMN, start.y + start.height / 2
    x2, y2 = end.x, end.y + end.height / 2
    if start.line != end.line:
        out, back, between = x1 + _GAP / 2, x2 - _GAP / 2, end.top - _GAP / 2
        return f"M{x1:g} {y1:g} H{out:g} V{between:g} H{back:g} V{y2:g} H{x2:g}"
    bend, lift = max(_GAP, (x2 - x1) / 2), 0.75 * _LANE if x2 - x1 > _COLUMN else 0.0
    return f"M{x1:g} {y1:g} C{x1 + bend:g} {y1 - lift:g} {x2 - bend:g} {y2 - lift:g} {x2:g} {y2:g}"


def _box(part: _Part, box: _Box, shape: tuple[int, ...], colour: str) -> list[str]:
    middle, centre = box.x + _COLUMN / 2, box.y + box.height / 2
    place = f'x="{box.x:g}" y="{box.y:g}" width="{_COLUMN}" height="{box.height:g}" rx="4"'
    size = " x ".join(map(str, shape[1:])) or "output"
    return [
        f"<g><title>{escape(f'{part.label}: {part.key}')}</title>",
        f'<rect {place} fill="#ffffff"/>',
        f'<rect {place} fill="{colour}" fill-opacity="0.22" stroke="{colour}"/>',
        *(
            f'<text x="{middle:g}" y="{centre + offset:g}" text-anchor="middle" fill="{grey}">'
            f"{escape(_short(text, 21))}</text>"
            for text, offset, grey in (
                (part.label, -8, "#000000"),
                (_arguments(part), 3, "#555555"),
                (size, 14, "#555555"),
            )
        ),
        "</g>",
    ]


def _legend(colours: dict[str, str], top: float) -> list[str]:
    lines = []
    for i, (kind, colour) in enumerate(colours.items()):
        x, y = _MARGIN + i % 4 * 220, top + i // 4 * 18
        lines.append(
            f'<rect x="{x}" y="{y - 9:g}" width="10" height="10" rx="2" fill="{colour}" '
            f'fill-opacity="0.35" stroke="{colour}"/><text x="{x + 15}" y="{y:g}">'
            f"{escape(_short(kind, 38))}</text>"
        )
    return lines


def _kind(part: _Part) -> str:
    """Return the class of a part, from its key `package.module:Class(arguments) @ shapes`."""
    found = re.match(r"[\w.]+:(\w+)", part.key)
    return found[1] if found else "layer"


def _arguments(part: _Part) -> str:
    """Return what the class of a part was made with."""
    found = re.match(r"[\w.]+:\w+\((.*)\) @", part.key)
    return re.sub(r"['()]", "", found[1]) if found else ""


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
