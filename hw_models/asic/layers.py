"""From layers of a network to what an array of processing elements computes.

A convolution is a nest of loops; linear layers and matrix products are convolutions of kernel 1
over one row of pixels. Every model of this folder reads these loops and nothing else.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

from ..workload import Layer

ON_ARRAY = frozenset(
    (
        "conv",
        "pointwise_conv",
        "depthwise_conv",
        "grouped_conv",
        "transposed_conv",
        "linear",
        "matmul",
        "attention",
    )
)
# elementary operations per element that a vector unit spends; reading the element is one
PASSES = {"softmax": 3, "norm": 3}
UNSUPPORTED = {
    "rnn": "write its steps as linear layers",
    "other": "replace the operator, or cost the part of the network before it",
}

Rule: TypeAlias = Literal["array", "fused", "vector", "unsupported"]


class Job(NamedTuple):
    """One nest of loops: `b` images, `g` groups, `k` x `c` channels of each, pixels and taps.

    Args:
        b: Images that share the weights.
        g: Groups; nothing is shared between them.
        k: Output channels of a group.
        c: Input channels of a group.
        oy: Rows of the output.
        ox: Columns of the output.
        fy: Rows of the kernel.
        fx: Columns of the kernel.
        sy: Stride down.
        sx: Stride across.
        dy: Dilation down.
        dx: Dilation across.
        iy: Rows of the input, without padding.
        ix: Columns of the input, without padding.
        py: Rows of the input with padding.
        px: Columns of the input with padding.
        pools: Whether it only stands for a pooling: no multiply-add takes energy.
    """

    b: int
    g: int
    k: int
    c: int
    oy: int = 1
    ox: int = 1
    fy: int = 1
    fx: int = 1
    sy: int = 1
    sx: int = 1
    dy: int = 1
    dx: int = 1
    iy: int = 1
    ix: int = 1
    py: int = 1
    px: int = 1
    pools: bool = False

    @property
    def macs(self) -> int:
        """Multiply-adds, those with padding included."""
        return math.prod(self[:8])

    @property
    def rows_read(self) -> int:
        """Rows of the input that the kernel touches, padding included (the halo)."""
        return (self.oy - 1) * self.sy + (self.fy - 1) * self.dy + 1

    @property
    def columns_read(self) -> int:
        """Likewise, columns."""
        return (self.ox - 1) * self.sx + (self.fx - 1) * self.dx + 1

    @property
    def inputs(self) -> int:
        """Elements of the input that are read, halo and padding included."""
        return self.b * self.g * self.c * self.rows_read * self.columns_read

    @property
    def weights(self) -> int:
        """Elements of the weights (of the second operand, in a matrix product)."""
        return self.g * self.k * self.c * self.fy * self.fx

    @property
    def outputs(self) -> int:
        """Elements of the output."""
        return self.b * self.g * self.k * self.oy * self.ox


def rule_of(layer: Layer) -> Rule:
    """Return what becomes of a layer.

    `array`: convolutions and matrix products. `fused`: what is applied to results on their way
    out and costs nothing: activations, batch norms, views. `vector`: everything else. Recurrent
    layers, three-dimensional convolutions and operators without a kind are unsupported.
    """
    if layer.kind in ON_ARRAY:
        plain = len(layer.kernel) == len(layer.stride) <= 2
        return "array" if plain else "unsupported"
    if layer.kind in UNSUPPORTED:
        return "unsupported"
    batch_norm = layer.kind == "norm" and "batch_norm" in layer.op  # constants at inference
    if layer.view or batch_norm or layer.kind == "activation":
        return "fused"
    return "vector"


def remedy_of(layer: Layer) -> str:
    """Return what would make an unsupported layer one that runs."""
    return UNSUPPORTED.get(layer.kind, "use convolutions of one or two dimensions")


def jobs_of(layer: Layer, batch: int) -> tuple[Job, ...]:
    """Return the loops of a layer whose rule is `array`: one nest, two for attention."""
    if layer.kind == "attention":
        return _attention(layer, batch)
    if layer.kind == "matmul":
        return (_product(layer, batch),)
    if layer.kind == "linear":
        return (_linear(layer, batch),)
    return (_conv(layer, batch),)


def pool_as_conv(layer: Layer, batch: int) -> Job:
    """Return the dense convolution from all channels to all, with the window as its kernel."""
    return _conv(layer, batch)._replace(pools=True)


def vector_operations(layer: Layer) -> int:
    """Return the elementary operations of a layer whose rule is `vector`, for one image.

    Windows are read element by element; softmax and norms with statistics of the data pass three
    times; the rest touches each element of its inputs or outputs, whichever are more, once.
    """
    read = sum(map(math.prod, layer.input_shapes))
    written = sum(map(math.prod, layer.output_shapes))
    if layer.kind == "pool":
        return max(read, written * math.prod(layer.kernel))
    if layer.kind in ("embedding", "index", "concat", "pad", "reshape"):
        return written
    return PASSES.get(layer.kind, 1) * max(read, written)


def attention_scores(layer: Layer) -> int:
    """Return how many scores, one per query and key of each head, an image's attention has."""
    query, key = layer.input_shapes[:2]
    return math.prod(query[:-1]) * key[-2]


def _conv(layer: Layer, batch: int) -> Job:
    image, result = layer.input_shapes[0], layer.output_shapes[0]
    (fy, fx), (sy, sx), (dy, dx) = _pair(layer.kernel), _pair(layer.stride), _pair(layer.dilation)
    (iy, ix), (oy, ox) = _pair(image[2:]), _pair(result[2:])
    down, across = _pair(layer.padding, 0) if layer.padding else (0, 0)
    py, px = iy + 2 * down, ix + 2 * across
    if layer.kind == "transposed_conv":  # zeros between the pixels, then a plain convolution
        sy = sx = 1
        py, px = oy + (fy - 1) * dy, ox + (fx - 1) * dx
    g, images = layer.groups, batch * image[0]
    channels = (result[1] // g, image[1] // g)
    return Job(images, g, *channels, oy, ox, fy, fx, sy, sx, dy, dx, iy, ix, py, px)


def _linear(layer: Layer, batch: int) -> Job:
    result = layer.output_shapes[0]
    rows = math.prod(result[:-1])
    return _row(batch, 1, result[-1], layer.macs // math.prod(result), rows)


def _product(layer: Layer, batch: int) -> Job:
    """(..., m, c) x (..., c, n): no image shares its second operand with another."""
    result, inner = layer.output_shapes[0], layer.input_shapes[0][-1]
    if len(result) < 2 or math.prod(result) * inner != layer.macs:
        return _row(1, batch, 1, layer.macs, 1)  # dot products and sums of products: one result
    return _row(1, batch * math.prod(result[:-2]), result[-1], inner, result[-2])


def _attention(layer: Layer, batch: int) -> tuple[Job, ...]:
    """The scores q k^T and their product with v, each head by itself."""
    query, key, value = layer.input_shapes[:3]
    heads = batch * math.prod(query[:-2])
    scores = _row(1, heads, key[-2], query[-1], query[-2])
    return scores, _row(1, heads, value[-1], key[-2], query[-2])


def _row(b: int, g: int, k: int, c: int, pixels: int) -> Job:
    return Job(b, g, k, c, 1, pixels, ix=pixels, px=pixels)


def _pair(sizes: tuple[int, ...], filler: int = 1) -> tuple[int, int]:
    """Return two sizes; one dimension is a single row."""
    if len(sizes) == 2:
        return sizes[0], sizes[1]
    return (filler, sizes[0]) if sizes else (1, 1)
