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
        boxes.append(Drawn(f"traced:{layer.op}({_arguments(layer)}) @", layer.name, inputs))
    return boxes


def _arguments(layer: Layer) -> str:
    """Return what tells a layer from others of its kind: channels, window, stride, groups."""
    words = []
    if layer.kind == "linear" or layer.kind.endswith("conv"):
        words.append(str(layer.output_shapes[0][-1 if layer.kind == "linear" else 1]))
    if layer.kernel:
        words.append("x".join(map(str, layer.kernel)))
    if layer.stride and any(step != 1 for step in layer.stride):
        words.append(f"/{max(layer.stride)}")
    if layer.groups > 1:
        words.append(f"groups {layer.groups}")
    return ", ".join(words)
