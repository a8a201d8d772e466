"""A traced network at another image size: the shapes of all its tensors, worked out again.

Sizes are taken to come from the image, as in a network that accepts images of any size. A layer
that does not tell how its shape depends on its input is not guessed (`shape_rules`): the network is
traced anew where its builder is known, else refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

from ..errors import SpecError, TraceError
from .graph import is_empty
from .shape_rules import Refused, output_shapes
from .workload import AGAIN, Layer, Shape, Tensor, Workload

Resolution: TypeAlias = int | tuple[int, int]  # side, or height and width, of images in pixels


def sides(resolution: Resolution) -> tuple[int, int]:
    """Return height and width.

    Raises:
        SpecError: If it is neither a side nor two of them, or one is no positive integer.
    """
    pair = (resolution, resolution) if isinstance(resolution, int) else resolution
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise SpecError(
            f"a resolution is a side, or a height and a width, in pixels; got {resolution!r}"
        )
    for value in pair:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(
                f"a resolution is a height and a width of at least 1 pixel, got "
                f"{pair[0]!r} x {pair[1]!r}"
            )
    return (pair[0], pair[1])


def image_shape(shapes: Sequence[Shape], height: int, width: int) -> Shape:
    """Return the shape of the only input, an image, at another size.

    Raises:
        SpecError: If a size is not a positive integer, or the network does not take one image.
    """
    height, width = sides((height, width))
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise SpecError(
            "only a network with one image (batch, channels, height, width) as input has a "
            f"resolution; this one takes {', '.join(map(str, shapes)) or 'nothing'}"
        )
    return (*shapes[0][:2], height, width)


def refusal(name: str, refused: Refused, height: int, width: int) -> SpecError:
    """Return the error that says which layer was refused, and why."""
    return SpecError(
        f"layer {name!r} cannot be costed for images of {height} x {width}: {refused}; build and "
        "trace the network for that size, or choose one that its strides divide"
    )


def at_shapes(workload: Workload, inputs: tuple[Shape, ...]) -> Workload:
    """Return a network with inputs of other shapes: by its shapes, else traced anew.

    Raises:
        Refused: If a layer does not tell its shape, and the network's builder is not known or makes
            one that cannot take these inputs.
    """
    try:
        return resized(workload, inputs)
    except Refused as refused:
        again = workload.memo.get(AGAIN)
        if again is None:
            raise
        try:
            found: Workload = again(inputs)
        except TraceError:
            raise refused from None
        return found


def resized(workload: Workload, inputs: Sequence[Shape]) -> Workload:
    """Return a traced network with inputs of other shapes.

    Raises:
        Refused: If a layer does not tell its shape, or cannot take its input any more.
    """
    shapes = [tensor.shape for tensor in workload.tensors]
    for index, shape in zip(workload.inputs, inputs, strict=True):
        shapes[index] = shape
    layers = []
    for layer in workload.layers:
        given = tuple([shapes[i] for i in layer.inputs])
        if given != layer.input_shapes:
            layer = _resized(layer, given)
            for index, shape in zip(layer.outputs, layer.output_shapes, strict=True):
                shapes[index] = shape
        layers.append(layer)
    tensors = [_reshaped(t, shape) for t, shape in zip(workload.tensors, shapes, strict=True)]
    return Workload(
        [
            layer._replace(
                input_bytes=sum([tensors[i].size_bytes for i in layer.inputs]),
                output_bytes=sum([tensors[i].size_bytes for i in layer.outputs]),
            )
            for layer in layers
        ],
        tensors,
        inputs=workload.inputs,
        outputs=workload.outputs,
        params=workload.params,
        weight_bytes=workload.weight_bytes,
    )


def _reshaped(tensor: Tensor, shape: Shape) -> Tensor:
    if tensor.shape == shape:
        return tensor
    item_bytes = tensor.size_bytes // math.prod(tensor.shape)
    return tensor._replace(shape=shape, size_bytes=math.prod(shape) * item_bytes)


def _resized(layer: Layer, given: tuple[Shape, ...]) -> Layer:
    outputs = output_shapes(layer, given)
    found = layer._replace(input_shapes=given, output_shapes=outputs)
    if is_empty(found) or min(min(shape, default=0) for shape in outputs) < 0:
        raise Refused(layer, f"it would write a tensor of shape {outputs[0]}, which is empty")
    if layer.op.startswith("adaptive_") or (layer.kind == "pool" and layer.sized):
        size = list(zip(given[0][2:], outputs[0][2:], strict=True))
        found = found._replace(
            kernel=tuple([-(-h // w) for h, w in size]), stride=tuple([h // w for h, w in size])
        )
    return found._replace(macs=_macs(found, layer)) if layer.macs else found


def _macs(layer: Layer, old: Layer) -> int:
    """Return the multiply-adds at the new shapes; `old`: the layer as it was traced."""
    if layer.kind == "attention":
        query, key, value = layer.input_shapes[:3]
        return math.prod(query[:-1]) * key[-2] * (query[-1] + value[-1])
    if layer.kind == "matmul":
        return math.prod(layer.output_shapes[0]) * layer.input_shapes[-2][-1]
    if layer.kind == "transposed_conv":
        before, now = old.input_shapes[0], layer.input_shapes[0]
    else:
        before, now = old.output_shapes[0], layer.output_shapes[0]
    return old.macs * math.prod(now) // math.prod(before)
