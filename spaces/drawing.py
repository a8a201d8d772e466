"""A network drawn from its parts, as SVG: boxes in the order of the data, cells as graphs.

Parts are placed by their distance from the output, parallel ones below each other; long networks
run over several lines. A box says what the part is, how it was made and the size of what it makes;
its height grows with the number of channels, its colour stands for the kind. What joins tensors
and has nothing to say is a round node. Parts whose labels begin alike (`stage1.`) share a frame.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from html import escape
from math import log2
from typing import NamedTuple, TypeAlias

from ..jsonio import digest
from .box_words import Words, size, words
from .layout import COLUMN, GAP, HEAD, MARGIN, Box, Layout, layout
from .part import NETWORK_INPUT, Input, Part

_RADIUS, _FRAME, _LINE = 21, 9, 11  # pixels
_BOLD = ' font-weight="bold"'
_LEAST = 4  # columns of a drawing, for its words
_LETTERS, _LINES = 24, 3  # that fit into a box, the lines of facts
_COLOURS = (
    *("#7f7f7f", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#e15759"),
    *("#17a2d6", "#d4459c", "#8a8a00", "#6a51a3", "#4e79a7", "#ff9da7", "#9ccc3c", "#0b6e5f"),
)


class Drawn(NamedTuple):
    """What is drawn where there is no part but a layer.

    Args:
        kind: Of the layer.
        facts: What tells it from others of its kind, each a word or two.
        label: What is written into the box.
        inputs: Where the inputs come from.
        shape: Of what it makes.
    """

    kind: str
    facts: tuple[str, ...]
    label: str
    inputs: tuple[Input, ...]
    shape: tuple[int, ...]


_Part: TypeAlias = Part | Drawn


def draw(parts: Sequence[Part | Drawn], *, title: str = "", per_line: int = 8) -> str:
    """Return the drawing of a network as an SVG document.

    Args:
        parts: As `Space.parts` gives them, or the layers of a network without parts.
        title: Written above.
        per_line: Boxes next to each other after which a new line begins, where one tensor goes on
            or a frame ends.
    """
    texts = [_words(part, shape) for part, shape in zip(parts, _shapes(parts), strict=True)]
    nodes = [said.bare and len(p.inputs) > 1 for p, said in zip(parts, texts, strict=True)]
    sizes = [_size(said, node) for said, node in zip(texts, nodes, strict=True)]
    groups = _groups(parts)
    placed = layout([_sources(part) for part in parts], sizes, groups, per_line)
    kinds = list(dict.fromkeys(said.kind for said in texts))
    colours = _coloured(kinds)
    columns = max(max(box.column for box in placed.boxes) + 1, _LEAST)
    width = 2 * MARGIN + columns * (COLUMN + GAP) - GAP
    bottom = placed.spans[-1][1]
    body = [*_frames(groups, placed), *_edges(parts, nodes, placed)]
    for part, said, box, group in zip(parts, texts, placed.boxes, groups, strict=True):
        body += _drawn(part.label, _name(part.label, group), said, box, colours[said.kind])
    body += _legend(texts, {kind: colours[kind] for kind in kinds}, bottom + HEAD, int(width))
    height = bottom + HEAD + 16 * (len(kinds) - 1) + MARGIN
    head = _short(title, int(width) // 7)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="sans-serif" font-size="9">',
            f'<rect width="{width:g}" height="{height:g}" fill="#ffffff"/>',
            f'<text x="{MARGIN}" y="20" font-size="12"><title>{escape(title)}</title>'
            f"{escape(head)}</text>",
            *body,
            "</svg>\n",
        ]
    )


# ---------------------------------------------------------------- what is said
def _words(part: _Part, shape: tuple[int, ...]) -> Words:
    if isinstance(part, Part):
        return words(part, shape)
    whole = ", ".join([part.kind, *part.facts])
    return Words(part.kind, part.facts, *size(part.shape), "", whole, not part.facts)


def _shapes(parts: Sequence[_Part]) -> list[tuple[int, ...]]:
    """Return the shape that each part makes, as its readers see it; () for the output."""
    shapes: list[tuple[int, ...]] = [()] * len(parts)
    for part in parts:
        for source in part.inputs:
            if source.source != NETWORK_INPUT:
                shapes[source.source] = source.shape
    return shapes


def _groups(parts: Sequence[_Part]) -> list[str]:
    """Return what the label of each part begins with, where others begin so; else nothing."""
    firsts = [part.label.partition(".")[0] for part in parts]
    dotted = Counter(first for p, first in zip(parts, firsts, strict=True) if p.label != first)
    return [first if dotted[first] else "" for first in firsts]


def _name(label: str, group: str) -> str:
    return label[len(group) + 1 :] if group and label != group else label


def _coloured(kinds: Collection[str]) -> dict[str, str]:
    """Return the colour of each kind: by its name alone, so that drawings can be compared.

    Where two names want one colour, the second of the alphabet gets the next that is free.
    """
    count = len(_COLOURS)
    wanted = {kind: int(digest(kind), 16) % count for kind in sorted(kinds)}
    owners = {slot: kind for kind, slot in reversed(wanted.items())}
    for kind, slot in wanted.items():
        if kind not in owners.values():
            free = ((slot + step) % count for step in range(count))
            owners[next((each for each in free if each not in owners), count + len(owners))] = kind
    return {kind: _COLOURS[slot % count] for slot, kind in owners.items()}


# ---------------------------------------------------------------- frames and lines
def _frames(groups: Sequence[str], placed: Layout) -> list[str]:
    """Draw a frame around neighbours of one group, in each line that they reach."""
    members: dict[tuple[int, str], set[int]] = {}
    for group, box in zip(groups, placed.boxes, strict=True):
        members.setdefault((box.line, group), set()).add(box.column)
    drawn = []
    for (line, group), own in members.items():
        others = {c for (n, g), some in members.items() if n == line and g != group for c in some}
        first, last = min(own), max(own)
        if not group or others & set(range(first, last + 1)):
            continue
        top, bottom = placed.spans[line]
        x, y = MARGIN + first * (COLUMN + GAP) - _FRAME, top - _FRAME
        width = (last - first) * (COLUMN + GAP) + COLUMN + 2 * _FRAME
        drawn.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{bottom - y:g}" rx="6" '
            f'fill="#f4f4f4" stroke="#cccccc"/><text x="{x + 6:g}" y="{y + 10:g}" '
            f'fill="#333333"{_BOLD}>{escape(_short(group, 22))}</text>'
        )
    return drawn


def _edges(parts: Sequence[_Part], nodes: Sequence[bool], placed: Layout) -> list[str]:
    """Draw every tensor that is read; what a node reads of no layer of its own is a skip."""
    lines, names = [], []
    for reader, (part, node) in enumerate(zip(parts, nodes, strict=True)):
        own = [s for s in _sources(part) if parts[s].label.startswith(f"{part.label}.")]
        for source in _sources(part):
            path = placed.paths[source, reader]
            lines.append(f'<path d="{path}" fill="none" stroke="#888888" stroke-width="1.2"/>')
            if node and own and source not in own:
                x, y = placed.middles[source, reader]
                names.append(
                    f'<text x="{x:g}" y="{y:g}" text-anchor="middle" fill="#333333" '
                    'stroke="#f4f4f4" stroke-width="3" paint-order="stroke">skip</text>'
                )
    return lines + names


def _sources(part: _Part) -> list[int]:
    found = [i.source for i in part.inputs if i.source != NETWORK_INPUT]
    return list(dict.fromkeys(found))


# ---------------------------------------------------------------- boxes
def _drawn(label: str, name: str, said: Words, box: Box, colour: str) -> list[str]:
    """Draw a part: name, kind, facts and size in a box; of a node name and size stand outside."""
    middle, centre = box.x + box.width / 2, box.y + box.height / 2
    rows = [(said.kind, "#000000")]
    if name.lower() != said.kind.lower():  # a stem is a Stem
        rows.insert(0, (name, "#555555"))
    rows += [(text, "#000000") for text in _fitted(said.facts)]
    rows.append((said.size, "#555555"))
    first = centre - _LINE * (len(rows) / 2 - 0.75)
    heights = [first + _LINE * i for i in range(len(rows))]
    if _is_round(box):
        heights = [box.y - 3, centre + 3, box.y + box.height + 9][-len(rows) :]
    return [
        f"<g><title>{escape(f'{label}: {said.whole} makes {said.size}')}</title>",
        f'<rect {_outline(box)} fill="#ffffff"/>',
        f'<rect {_outline(box)} fill="{colour}" fill-opacity="0.22" stroke="{colour}"/>',
        *(
            f'<text x="{middle:g}" y="{y:g}" text-anchor="middle" fill="{grey}"'
            f"{_BOLD if text == said.kind else ''}>{escape(_short(text, _LETTERS))}</text>"
            for (text, grey), y in zip(rows, heights, strict=True)
        ),
        "</g>",
    ]


def _size(said: Words, node: bool) -> tuple[float, float]:
    """Return width and height of a box, or of a node."""
    if node:
        return 2 * _RADIUS, 2 * _RADIUS
    rows = 3 + len(_fitted(said.facts))
    return COLUMN, max(48 + 2.5 * min(8.0, log2(said.channels)), _LINE * rows + 8)


def _is_round(box: Box) -> bool:
    return box.width < COLUMN


def _outline(box: Box) -> str:
    corner = box.height / 2 if _is_round(box) else 4
    return (
        f'x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" rx="{corner:g}"'
    )


def _fitted(facts: Sequence[str]) -> list[str]:
    """Return facts in a few lines; those that have no room are left to the pointer."""
    lines: list[str] = []
    for fact in facts:
        if lines and len(lines[-1]) + len(fact) + 2 <= _LETTERS:
            lines[-1] += f", {fact}"
        elif len(lines) == _LINES:
            lines[-1] += ", …"
            break
        else:
            lines.append(fact)
    return lines


def _legend(
    texts: Sequence[Words], colours: Mapping[str, str], top: float, width: int
) -> list[str]:
    """Return a line for each kind: its colour, its name, what it says of itself."""
    about = {said.kind: said.about for said in texts}
    lines = []
    for i, (kind, colour) in enumerate(colours.items()):
        y = top + i * 16
        text = escape(_short(about[kind], width // 5 - len(kind) - 10))
        lines.append(
            f'<rect x="{MARGIN}" y="{y - 9:g}" width="10" height="10" rx="2" fill="{colour}" '
            f'fill-opacity="0.35" stroke="{colour}"/><text x="{MARGIN + 15}" y="{y:g}">'
            f"<tspan{_BOLD}>{escape(kind)}</tspan> {text}</text>"
        )
    return lines


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
