"""Drawings of networks: every part once, every tensor once, lines broken where one goes on."""

from __future__ import annotations

from xml.etree import ElementTree

from netloom.spaces import SPACES, Input, Part
from netloom.spaces.drawing import draw

SVG = "{http://www.w3.org/2000/svg}"


def part(label: str, *inputs: tuple[int, tuple[int, ...]], key: str = "a.b:Conv(3) @ 1") -> Part:
    return Part(key, label, lambda: None, tuple(Input(*i) for i in inputs))


def drawn(parts: list[Part], **options):
    return ElementTree.fromstring(draw(parts, **options))


def test_every_part_and_every_tensor_is_drawn() -> None:
    space = SPACES.get("nb201")(preset="tiny")
    a = space.parse("ResNet")
    parts = space.parts(a)
    root = drawn(parts, title="<ResNet>")
    groups = root.findall(f"{SVG}g")
    titles = [g.find(f"{SVG}title").text for g in groups]
    assert titles == [f"{p.label}: {p.key}" for p in parts]
    edges = sum(i.source >= 0 for p in parts for i in p.inputs)
    assert len(root.findall(f"{SVG}path")) == edges
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert texts[0] == "<ResNet>"
    assert {"Stem", "ReluConvBN", "Zero", "Sum", "Reduction", "Head"} <= set(texts)
    assert "4 x 16 x 16" in texts


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


def test_long_networks_go_on_in_another_line() -> None:
    chain = [part(f"p{i}", (i - 1, (1, 2, 4, 4))) for i in range(25)]
    root = drawn(chain, per_line=10)
    assert len(lines_of(root)) == 4
    assert float(root.attrib["width"]) < 1300
    # a skip over everything leaves no place to break
    chain[-1] = part("last", (23, (1, 2, 4, 4)), (0, (1, 2, 4, 4)))
    assert len(lines_of(drawn(chain, per_line=10))) == 1


def lines_of(root) -> set[float]:
    """Return the middles of the boxes, from the top."""
    boxes = [g.find(f"{SVG}rect").attrib for g in root.findall(f"{SVG}g")]
    return {float(box["y"]) + float(box["height"]) / 2 for box in boxes}
