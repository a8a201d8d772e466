"""The shapes that a recorded layer writes when its inputs have other shapes than were traced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeAlias

from .workload import Kind, Layer, Shape

Shapes: TypeAlias = tuple[Shape, ...]
_SIZED = "its numbers may have been worked out from the size of a tensor"


class Refused(Exception):
    """What a layer writes for these inputs is not known, or nothing.

    Args:
        layer: The layer.
        reason: What is unknown or impossible.
    """

    def __init__(self, layer: Layer, reason: str) -> None:
        super().__init__(f"{layer.op}: {reason}")
        self.layer = layer.name


def output_shapes(layer: Layer, given: Shapes) -> Shapes:
    """Return the shapes that `layer` writes for inputs of the shapes `given`.

    Raises:
        Refused: If they do not follow from what was recorded.
    """
    rule = _RULES.get(layer.kind)
    if rule is None:
        raise Refused(layer, f"how a layer of kind {layer.kind} changes with its input is unknown")
    return rule(layer, given)


# ---------------------------------------------------------------- sizes kept
def broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """Return the common shape of operands; None if they have none."""
    rank = max(map(len, shapes))
    padded = [(1,) * (rank - len(s)) + tuple(s) for s in shapes]
    found = []
    for sizes in zip(*padded, strict=True):
        wide = {size for size in sizes if size != 1}
        if len(wide) > 1:
            return None
        found.append(wide.pop() if wide else 1)
    return tuple(found)


def _element_wise(layer: Layer, given: Shapes) -> Shapes:
    if layer.kind == "activation" and layer.weight_shapes:  # one slope per channel
        _kept(layer, given, 1)
        return _like_input(layer, given)
    if broadcast((*layer.input_shapes, *layer.weight_shapes)) != layer.output_shapes[0]:
        raise Refused(layer, "its output is no broadcast of its inputs")
    shape = broadcast((*given, *layer.weight_shapes))
    if shape is None:
        operands = ", ".join(map(str, (*given, *layer.weight_shapes)))
        raise Refused(layer, f"operands of shapes {operands} do not fit together")
    return (shape,)


def _like_input(layer: Layer, given: Shapes) -> Shapes:
    if any(shape != layer.input_shapes[0] for shape in layer.output_shapes):
        raise Refused(layer, "its output has another shape than its input")
    return tuple([given[0]] * len(layer.output_shapes))


def _norm(layer: Layer, given: Shapes) -> Shapes:
    if "layer" in layer.op or "rms" in layer.op:
        if not layer.weight_shapes:
            raise Refused(layer, "without weights it does not tell what it normalises")
        size = layer.weight_shapes[0]
        if given[0][len(given[0]) - len(size) :] != size:
            raise Refused(layer, f"it normalises {size}, and its input would be {given[0]}")
    elif layer.op != "normalize":
        _kept(layer, given, 1)
    return _like_input(layer, given)


def _kept(layer: Layer, given: Shapes, dim: int) -> None:
    """Refuse another size of a dimension that weights belong to."""
    old, new = layer.input_shapes[0], given[0]
    if len(old) != len(new) or old[dim] != new[dim]:
        raise Refused(layer, f"its weights are for {old[dim]} features, its input would be {new}")


# ---------------------------------------------------------------- windows
def _window(layer: Layer, given: Shapes) -> Shapes:
    """Convolutions and pools with a window."""
    n = len(layer.kernel)
    if layer.op.startswith("adaptive_"):
        return _adaptive(layer, given)
    if not n or len(layer.outputs) != 1:
        raise Refused(layer, "its window was not recorded")
    if layer.kind != "pool":
        _kept(layer, given, -n - 1)
    if layer.sized:
        whole = layer.input_shapes[0][-n:]
        if layer.kernel == layer.stride == whole and not any(layer.padding):
            return ((*given[0][:-n], *[1] * n),)  # over the whole map, whatever its size
        raise Refused(layer, _SIZED)
    if _slid(layer, layer.input_shapes[0]) != layer.output_shapes[0][-n:]:
        raise Refused(layer, "its output does not follow from kernel, stride and padding")
    return ((*given[0][: -n - 1], layer.output_shapes[0][-n - 1], *_slid(layer, given[0])),)


def _slid(layer: Layer, shape: Shape) -> Shape:
    n = len(layer.kernel)
    window = zip(
        *(shape[-n:], layer.kernel, layer.stride, layer.padding, layer.dilation), strict=True
    )
    return tuple([windows(h, k, s, p, d, layer.ceil) for h, k, s, p, d in window])


def windows(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> int:
    """Return how many windows fit; with `ceil` one may run over the end, if it begins before."""
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _transposed(layer: Layer, given: Shapes) -> Shapes:
    n = len(layer.kernel)
    _kept(layer, given, -n - 1)
    old, out, new = layer.input_shapes[0][-n:], layer.output_shapes[0], given[0][-n:]
    # one step of the input is one stride of the output; what is beyond stays
    size = [w + (h - g) * s for g, w, h, s in zip(old, out[-n:], new, layer.stride, strict=True)]
    return ((*given[0][: -n - 1], out[-n - 1], *size),)


def _adaptive(layer: Layer, given: Shapes) -> Shapes:
    old, new, out = layer.input_shapes[0], given[0], layer.output_shapes[0]
    if layer.sized and out[2:] != (1,) * len(out[2:]):
        raise Refused(layer, _SIZED)
    for a, b, c in zip(old[2:], new[2:], out[2:], strict=True):
        if a != b and a == c != 1:
            raise Refused(
                layer, f"whether it always gives {c} or keeps its input's size is unknown"
            )
    return ((*new[:2], *out[2:]),)


def _pad(layer: Layer, given: Shapes) -> Shapes:
    if layer.sized:
        raise Refused(layer, _SIZED)
    old, out = layer.input_shapes[0], layer.output_shapes[0]
    return (tuple([w + b - a for a, w, b in zip(old, out, given[0], strict=True)]),)


def _resize(layer: Layer, given: Shapes) -> Shapes:
    if layer.stride and layer.sized:
        raise Refused(layer, _SIZED)
    if layer.stride:  # by a factor
        n = len(layer.stride)
        size = [h * s for h, s in zip(given[0][-n:], layer.stride, strict=True)]
        return ((*given[0][:-n], *size),)
    if layer.op in ("pixel_shuffle", "pixel_unshuffle"):
        _kept(layer, given, -3)
        old, out = layer.input_shapes[0], layer.output_shapes[0]
        if any(h * w % g for g, w, h in zip(old[-2:], out[-2:], given[0][-2:], strict=True)):
            raise Refused(layer, f"maps of {given[0][-2:]} do not divide")
        size = [h * w // g for g, w, h in zip(old[-2:], out[-2:], given[0][-2:], strict=True)]
        return ((*given[0][:-3], *out[-3:-2], *size),)
    raise Refused(layer, "whether it resizes by a factor or to a size was not recorded")


# ---------------------------------------------------------------- products
def _linear(layer: Layer, given: Shapes) -> Shapes:
    old, out = layer.input_shapes[0], layer.output_shapes[0]
    if len(given) != 1 or old[:-1] != out[:-1]:
        raise Refused(layer, "which side of the product is the weight was not recorded")
    _kept(layer, given, -1)
    return ((*given[0][:-1], out[-1]),)


def _matmul(layer: Layer, given: Shapes) -> Shapes:
    if min(map(len, given)) < 2 or len(given) > 3:
        raise Refused(layer, "how its operands are multiplied was not recorded")
    a, b = given[-2:]
    batch = broadcast([a[:-2], b[:-2]]) if a[:-2] or b[:-2] else ()
    if a[-1] != b[-2] or batch is None:
        raise Refused(layer, f"{a} times {b} is no product")
    return ((*batch, a[-2], b[-1]),)


def _attention(layer: Layer, given: Shapes) -> Shapes:
    query, key, value, *masks = given
    scores = (*query[:-1], key[-2])
    if any(broadcast([scores, mask]) != scores for mask in masks):
        raise Refused(layer, f"a mask of {masks[0]} does not fit scores of {scores}")
    return ((*query[:-1], value[-1]),)


# ---------------------------------------------------------------- dimensions moved about
def _reduce(layer: Layer, given: Shapes) -> Shapes:
    if not layer.axes:
        raise Refused(layer, "which dimensions it reduces was not recorded")
    keeps = len(layer.output_shapes[0]) == len(given[0])
    sizes = enumerate(given[0])
    return (tuple([1 if i in layer.axes else n for i, n in sizes if keeps or i not in layer.axes]),)


def _concat(layer: Layer, given: Shapes) -> Shapes:
    if not layer.axes:
        raise Refused(layer, "along which dimension it joins was not recorded")
    (axis,) = layer.axes
    if len({(s[:axis], s[axis + 1 :]) for s in (*given, *layer.weight_shapes)}) != 1:
        parts = ", ".join(map(str, (*given, *layer.weight_shapes)))
        raise Refused(layer, f"{parts} do not fit beside each other")
    # what is beside them is a weight, or a view of one
    beside = layer.output_shapes[0][axis] - sum([s[axis] for s in layer.input_shapes])
    size = beside + sum([s[axis] for s in given])
    return ((*given[0][:axis], size, *given[0][axis + 1 :]),)


def _reshape(layer: Layer, given: Shapes) -> Shapes:
    old, new = layer.input_shapes[0], given[0]
    if layer.axes:
        if layer.op == "unbind":
            (along,) = set(range(len(new))).difference(layer.axes)
            if old[along] != new[along]:
                raise Refused(layer, f"it would give {new[along]} tensors, not {old[along]}")
        return (tuple([new[i] for i in layer.axes]),) * len(layer.outputs)
    if layer.op.endswith("_as"):  # as another tensor is
        return (given[1],)
    if layer.op in ("copy", "set_item"):
        return (new,)
    if layer.bounds and not layer.sized:
        return (_cut(layer, new),)
    return tuple([_rearranged(layer, old, new, out) for out in layer.output_shapes])


def _cut(layer: Layer, new: Shape) -> Shape:
    """Return what a slice leaves of each dimension, by the numbers it was called with."""
    parts = zip(new, layer.bounds, strict=True)
    return tuple([len(range(*slice(*ends).indices(n))) for n, ends in parts if ends[2] != 0])


def _rearranged(layer: Layer, old: Shape, new: Shape, out: Shape) -> Shape:
    if old == out:
        return new
    if math.prod(old) == math.prod(out):
        return _folded(layer, old, new, out)
    if len(out) > len(old):
        raise Refused(layer, f"how {old} became {out} was not recorded")
    # dimensions were taken away, or cut: those that were must not change
    found = set()
    for gone in combinations(range(len(old)), len(old) - len(out)):
        kept = [i for i in range(len(old)) if i not in gone]
        pairs = [(old[i], new[i], n) for i, n in zip(kept, out, strict=True)]
        if all(a in (n, b) for a, b, n in pairs):
            found.add(tuple([b if a == n else n for a, b, n in pairs]))
    if len(found) != 1:
        raise Refused(layer, f"which part of {old} its output {out} is was not recorded")
    return found.pop()


def _folded(layer: Layer, old: Shape, new: Shape, out: Shape) -> Shape:
    """Return `out` for another input: runs of dimensions with one product belong together."""
    found: list[int] = []
    i = j = 0
    while i < len(old) and j < len(out):
        a, b, first, start = old[i], out[j], i, j
        while a != b:
            if a < b:
                i += 1
                a *= old[i]
            else:
                j += 1
                b *= out[j]
        i, j = i + 1, j + 1
        found += _run(layer, old[first:i], new[first:i], out[start:j])
    if old[i:] != new[i:]:  # sizes of 1 that were dropped
        raise Refused(layer, f"it drops dimensions of {old}, which would be {new}")
    return (*found, *out[j:])


def _run(layer: Layer, old: Shape, new: Shape, out: Shape) -> Shape:
    if old == new:
        return out
    wide = [n for n in out if n != 1]
    if len(out) == 1:
        return (math.prod(new),)
    if len(wide) == 1:
        return tuple([n if n == 1 else math.prod(new) for n in out])
    raise Refused(layer, f"{new} can be arranged as {len(out)} dimensions in several ways")


_RULES: dict[Kind, Callable[[Layer, Shapes], Shapes]] = {
    "conv": _window,
    "pointwise_conv": _window,
    "depthwise_conv": _window,
    "grouped_conv": _window,
    "transposed_conv": _transposed,
    "pool": _window,
    "linear": _linear,
    "matmul": _matmul,
    "attention": _attention,
    "norm": _norm,
    "activation": _element_wise,
    "softmax": _like_input,
    "elementwise": _element_wise,
    "add": _element_wise,
    "mul": _element_wise,
    "reduce": _reduce,
    "concat": _concat,
    "reshape": _reshape,
    "pad": _pad,
    "resize": _resize,
}
