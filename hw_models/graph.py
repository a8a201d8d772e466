"""What follows from a network's graph alone: which layers matter, which names are one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .workload import Layer, Tensor


def in_place(layer: Layer, tensors: Sequence[Tensor]) -> bool:
    """Return whether a layer writes into memory that existed before it."""
    return not layer.view and any(tensors[i].storage != i for i in layer.outputs)


def is_empty(layer: Layer) -> bool:
    """Return whether a layer computes a tensor without elements; to cut one out is no computing."""
    return bool(layer.outputs) and 0 in layer.output_shapes[0] and layer.kind != "reshape"


def reaches_output(
    layers: Sequence[Layer], tensors: Sequence[Tensor], outputs: Sequence[int]
) -> tuple[bool, ...]:
    """Return, for each layer, whether a path leads from it to one of `outputs`.

    A layer that writes in place also matters to whoever reads that memory later, by any name.
    """
    wanted = set(outputs)
    touched = {tensors[i].storage for i in outputs}
    found = [False] * len(layers)
    for number in range(len(layers) - 1, -1, -1):
        layer = layers[number]
        if not wanted.isdisjoint(layer.outputs) or (
            in_place(layer, tensors) and any(tensors[i].storage in touched for i in layer.outputs)
        ):
            found[number] = True
            read = layer.inputs[:1] if layer.view else layer.inputs  # `view_as` reads a shape
            wanted.update(read)
            touched.update([tensors[i].storage for i in read])
    return tuple(found)


def depends_on(
    layers: Sequence[Layer], tensors: Sequence[Tensor], inputs: Sequence[int]
) -> tuple[bool, ...]:
    """Return, for each layer, whether it computes something from one of `inputs`.

    The others compute with constants and weights alone, always the same.
    """
    known = set(inputs)
    written: set[int] = set()  # memories that hold something computed from them
    found = []
    for layer in layers:
        read = layer.inputs[:1] if layer.view else layer.inputs
        depends = not known.isdisjoint(read) or any(tensors[i].storage in written for i in read)
        found.append(depends)
        if depends:
            known.update(layer.outputs)
            if in_place(layer, tensors):
                written.update([tensors[i].storage for i in layer.outputs])
    return tuple(found)


def values(layers: Sequence[Layer], tensors: Sequence[Tensor]) -> tuple[int, ...]:
    """Return, for each tensor, the tensor that it is a view of in the end: itself for most."""
    found = list(range(len(tensors)))
    for layer in layers:
        if layer.view and layer.inputs:
            for index in layer.outputs:
                found[index] = found[layer.inputs[0]]
    return tuple(found)
