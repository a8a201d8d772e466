"""The drawing of a network whose space gives no parts: the layers that were traced, one by one."""

from __future__ import annotations

from ...hw_models import Workload
from ...hw_models.workload import Layer
from ...spaces.drawing import Drawn
from ...spaces.part import NETWORK_INPUT, Input

MOST = 200  # layers; more cannot be told apart in a picture


def drawn_layers(workload: Workload) -> list[Drawn]:
    """Return the layers as boxes of a drawing, in execution order.

    Layers that only rename memory are no boxes: what reads them reads what they rename.
    """
    boxes: list[Drawn] = []
    box_of: dict[int, int] = {}  # tensor -> the box that it comes from
    for layer in workload.layers:
        sources = [box_of.get(i, NETWORK_INPUT) for i in layer.inputs]
        if layer.view:
            box_of |= dict.fromkeys(layer.outputs, sources[0] if sources else NETWORK_INPUT)
            continue
        shapes = zip(sources, layer.input_shapes, strict=True)
        inputs = tuple(dict.fromkeys(Input(source, tuple(shape)) for source, shape in shapes))
        box_of |= dict.fromkeys(layer.outputs, len(boxes))
        shape = tuple(layer.output_shapes[0])
        boxes.append(Drawn(layer.op, _facts(layer), layer.name, inputs, shape))
    return boxes


def _facts(layer: Layer) -> tuple[str, ...]:
    """Return what tells a layer from others of its kind: window, stride, groups."""
    words = []
    if layer.kernel:
        words.append("x".join(map(str, layer.kernel)))
    if layer.stride and any(step != 1 for step in layer.stride):
        words.append(f"stride {max(layer.stride)}")
    if layer.groups > 1:
        words.append(f"groups {layer.groups}")
    return tuple(words)
