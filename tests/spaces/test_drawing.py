"""Drawings of networks: every part once, every tensor once, lines broken where one goes on."""

from __future__ import annotations

from xml.etree import ElementTree

from netloom.spaces import SPACES, Input, Part
from netloom.spaces.drawing import draw
from netloom.spaces.layout import COLUMN, LANE, layout

SVG = "{http://www.w3.org/2000/svg}"


def part(label: str, *inputs: tuple[int, tuple[int, ...]], key: str = "a.b:Conv(3) @ 1") -> Part:
    return Part(key, label, lambda: None, tuple(Input(*i) for i in inputs))


def drawn(parts: list[Part], **options):
    return ElementTree.fromstring(draw(parts, **options))


def texts(root) -> list[str]:
    return [t.text for t in root.iter(f"{SVG}text")]


def test_every_part_and_every_tensor_is_drawn() -> None:
    space = SPACES.get("nb201")(preset="tiny")
    a = space.parse("ResNet")
    parts = space.parts(a)
    root = drawn(parts, title="<ResNet>")
    groups = root.findall(f"{SVG}g")
    titles = [g.find(f"{SVG}title").text for g in groups]
    assert [title.partition(":")[0] for title in titles] == [p.label for p in parts]
    assert (
        "layer0.node1.from0: ReluConvBN(in_channels=4, out_channels=4, kernel=3) "
        "makes 4 ch, 16 x 16"
    ) in titles
    edges = sum(i.source >= 0 for p in parts for i in p.inputs)
    assert len(root.findall(f"{SVG}path")) == edges
    assert "".join(root.find(f"{SVG}text").itertext()) == "<ResNet><ResNet>"  # and its tooltip
    said = texts(root)
    assert {"Stem", "ReluConvBN", "Zero", "Sum", "Reduction", "Head"} <= set(said)
    assert {"4 ch, 16 x 16", "3x3", "classes 10"} <= set(said)


def test_a_cell_is_a_graph_of_round_nodes_and_named_edges() -> None:
    space = SPACES.get("nb201")(preset="tiny", cells=1)
    root = drawn(space.parts(space.parse("ResNet")))
    names = [g.find(f"{SVG}title").text.partition(":")[0] for g in root.findall(f"{SVG}g")]
    outlines = [g.find(f"{SVG}rect").attrib for g in root.findall(f"{SVG}g")]
    round_ = {n for n, o in zip(names, outlines, strict=True) if o["width"] == o["height"]}
    assert round_ == {f"layer{cell}.node{node}" for cell in (0, 2, 4) for node in (2, 3)}
    # node 3 adds the input and node 2 as they are, and the edge from node 1: zeros
    assert texts(root).count("skip") == 2 * 3
    assert {"layer0", "layer2", "layer4", "node1.from0", "node3"} <= set(texts(root))


def test_parallel_parts_stand_below_each_other_and_in_order() -> None:
    shape = (1, 4, 8, 8)
    parts = [
        part("in", (-1, (1, 3, 8, 8))),
        part("left", (0, shape)),
        part("right", (0, shape), key="strange"),
        part("sum", (1, shape), (2, shape)),
    ]
    root = drawn(parts)
    boxes = {
        g.find(f"{SVG}title").text.partition(":")[0]: g.find(f"{SVG}rect").attrib
        for g in root.findall(f"{SVG}g")
    }
    x = {name: float(box["x"]) for name, box in boxes.items()}
    y = {name: float(box["y"]) for name, box in boxes.items()}
    assert x["in"] < x["left"] == x["right"] < x["sum"]
    assert y["left"] < y["right"]


def test_equal_cells_stand_in_one_order_in_every_line() -> None:
    """A cell reads what the line before made, as the first one of a stack reads its neighbour."""
    space = SPACES.get("nb201")(preset="tiny", cells=3)
    root = drawn(space.parts(space.parse("ResNet")))
    places: dict[str, list[tuple[float, float, str]]] = {}
    for group in root.findall(f"{SVG}g"):
        cell, _, name = group.find(f"{SVG}title").text.partition(":")[0].partition(".")
        box = group.find(f"{SVG}rect").attrib
        if name:
            places.setdefault(cell, []).append((float(box["x"]), float(box["y"]), name))
    orders = {tuple(name for *_, name in sorted(cell)) for cell in places.values()}
    assert len(places) == 9
    names = ("node1.from0", "node2.from1", "node2.from0", "node3.from1", "node2", "node3")
    assert orders == {names}


def test_a_kind_has_one_colour_in_all_drawings() -> None:
    space = SPACES.get("nb201")(preset="tiny", cells=1)
    drawings = [
        colours_of(drawn(space.parts(space.parse(text))))
        for text in (
            "|avg_pool_3x3~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|skip_connect~2|",
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|",
        )
    ]
    assert drawings[0] == drawings[1]
    assert list(drawings[0]) != list(drawings[1])  # in the order of their first boxes
    assert len(set(drawings[0].values())) == len(drawings[0]) == 7


def test_names_that_want_one_colour_get_two() -> None:
    shape = (1, 4, 8, 8)
    kinds = [f"a.b:Kind{i}(3) @ 1" for i in range(16)]  # as many as there are colours
    parts = [part(f"p{i}", (i - 1, shape), key=key) for i, key in enumerate(kinds)]
    first, second = colours_of(drawn(parts)), colours_of(drawn(parts[:1]))
    assert len(first) == len(set(first.values())) == 16
    assert second["Kind0"] == first["Kind0"]
    more = [*parts, part("last", (15, shape), key="a.b:Other() @ 1")]
    assert len(set(colours_of(drawn(more)).values())) == 16


def colours_of(root) -> dict[str, str]:
    """Return the colour of each kind, from the legend."""
    marks = [each for each in root.findall(f"{SVG}rect") if each.get("fill-opacity") == "0.35"]
    names = [each.text for each in root.iter(f"{SVG}tspan")]
    return {n: str(mark.get("fill")) for n, mark in zip(names, marks, strict=True)}


def test_long_networks_go_on_in_another_line() -> None:
    chain = [part(f"p{i}", (i - 1, (1, 2, 4, 4))) for i in range(25)]
    assert lines_of(drawn(chain, per_line=10)) == [10, 10, 5]
    # a skip over everything goes along, outside the boxes
    chain[-1] = part("last", (23, (1, 2, 4, 4)), (0, (1, 2, 4, 4)))
    assert lines_of(drawn(chain, per_line=10)) == [10, 10, 5]


def test_lines_end_where_a_stage_does() -> None:
    stages = [f"stage{s}.block{b}" for s in range(3) for b in range(4)]
    chain = [part(label, (i - 1, (1, 2, 4, 4))) for i, label in enumerate(stages)]
    root = drawn(chain, per_line=6)
    assert lines_of(root) == [4, 4, 4]
    assert [t for t in texts(root) if t and t.startswith("stage")] == ["stage0", "stage1", "stage2"]


def test_what_five_tensors_cross_is_one_line() -> None:
    """One part, chains of twelve from there side by side, and their sum."""

    def chains(count: int) -> int:
        reads = [(), *((max(0, i - count),) for i in range(1, 12 * count + 1))]
        reads.append(tuple(range(11 * count + 1, 12 * count + 1)))
        placed = layout(reads, [(20.0, 20.0)] * len(reads), [""] * len(reads), 8)
        return len(placed.spans)

    assert (chains(1), chains(4), chains(5)) == (2, 2, 1)


def test_no_tensor_runs_behind_a_box() -> None:
    """0 -> 1 -> 2, and 0 -> 2 on its way around 1."""
    placed = layout([(), (0,), (0, 1)], [(COLUMN, 60.0)] * 3, [""] * 3, 8)
    middle = placed.boxes[1]
    [(_, height)] = [(x, y) for x, y in points(placed.paths[0, 2]) if x == middle.x]
    assert not middle.y <= height <= middle.y + middle.height


def points(path: str) -> list[tuple[float, float]]:
    """Return where the curves of a path end."""
    ends = []
    for piece in path.split("C")[1:]:
        numbers = [float(word) for word in piece.partition("H")[0].split()]
        ends.append((numbers[-2], numbers[-1]))
    return ends


def lines_of(root) -> list[int]:
    """Return how many boxes stand in each line, from the top; in chains alone."""
    boxes = [g.find(f"{SVG}rect").attrib for g in root.findall(f"{SVG}g")]
    middles = sorted(float(box["y"]) + float(box["height"]) / 2 for box in boxes)
    starts = [i for i, y in enumerate(middles) if i == 0 or y - middles[i - 1] > LANE / 2]
    return [end - i for i, end in zip(starts, [*starts[1:], len(middles)], strict=True)]
