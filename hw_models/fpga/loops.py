"""Layers as the loop nests that an FPGA engine runs, and as streams that pass through its ports."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from ...errors import UnsupportedLayer
from ..workload import Layer

# Applied to words on their way in or out of a buffer, or a matter of addresses: no time.
_FREE = frozenset({"activation", "elementwise", "concat", "pad"})
# Words go in and out through the ports; a small unit beside the engine keeps their pace.
_STREAMED = frozenset(
    {"pool", "reduce", "add", "mul", "norm", "softmax", "resize", "reshape", "embedding"}
)
# Statistics of the whole input first: the input is read twice.
_TWICE = frozenset({"norm", "softmax"})
_PERMUTATIONS = frozenset({"channel_shuffle", "native_channel_shuffle"})  # as a reshape
_CONVOLUTIONS = frozenset({"conv", "pointwise_conv", "depthwise_conv", "grouped_conv"})
_REMEDIES = {
    "transposed_conv": "write it as a resize and a convolution",
    "rnn": "write it as linear layers, one time step after another",
    "index": "choose positions that are known in advance, so that it is a slice",
}


class Loops(NamedTuple):
    """The loop nest of a convolution or matrix product.

    Args:
        groups: Nests that run one after another: groups of channels, heads, images.
        outputs: Output channels of a group (M).
        inputs: Input channels of a group (N).
        rows: Rows of the output (R); 1 for matrix products.
        columns: Columns of the output (C); the rows of matrix products.
        kernel: Height and width (K).
        stride: Likewise (S).
        extent: Height and width of the kernel with its dilation.
        depthwise: Each output channel reads one input channel; then all channels are in `outputs`.
        flat: Output positions are independent, so that a tile may be any set of them.
    """

    groups: int
    outputs: int
    inputs: int
    rows: int
    columns: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    extent: tuple[int, int] = (1, 1)
    depthwise: bool = False
    flat: bool = False

    @property
    def macs(self) -> int:
        """Multiply-adds."""
        return prod((*self[:5], *self.kernel))


def is_free(layer: Layer) -> bool:
    """Whether a layer takes no time on either engine; batch norms are folded into weights."""
    return layer.view or layer.kind in _FREE or layer.op == "batch_norm"


def is_streamed(layer: Layer) -> bool:
    """Whether a layer only passes words through the ports."""
    return layer.kind in _STREAMED or layer.op in _PERMUTATIONS


def passes_over(layer: Layer) -> int:
    """Return how often a streamed layer reads its input."""
    return 2 if layer.kind in _TWICE else 1


def loops_of(layer: Layer, batch: int = 1) -> tuple[Loops, ...]:
    """Return the loop nests of a layer with multiply-adds: one, or two for attention.

    Raises:
        UnsupportedLayer: If no engine can run it.
    """
    out = layer.output_shapes[0]
    if layer.kind in _CONVOLUTIONS and 1 <= len(layer.kernel) <= 2:
        return (_convolution(layer, batch),)
    if layer.kind == "linear":
        depth, rows = layer.macs // prod(out), prod(out[:-1])
        return (Loops(1, out[-1], depth, 1, rows * batch, flat=True),)
    if layer.kind == "matmul":
        depth, products = layer.macs // prod(out), prod(out[:-2])
        return (Loops(products * batch, out[-1], depth, 1, out[-2], flat=True),)
    if layer.kind == "attention":
        q, k, v = layer.input_shapes[:3]
        heads = prod(q[:-2]) * batch
        scores = Loops(heads, k[-2], q[-1], 1, q[-2], flat=True)
        return (scores, Loops(heads, v[-1], k[-2], 1, q[-2], flat=True))
    raise unsupported(layer, "an FPGA engine")


def unsupported(layer: Layer, engine: str, remedy: str = "") -> UnsupportedLayer:
    """Return the error for a layer that an engine cannot run."""
    remedy = remedy or _REMEDIES.get(layer.kind, "replace it by convolutions or linear layers")
    if layer.kind in _CONVOLUTIONS:
        remedy = "replace it by convolutions over one or two dimensions"
    return UnsupportedLayer(
        f"{engine} runs convolutions over one or two dimensions and matrix products; layer "
        f"{layer.name!r} is {layer.kind} ({layer.op}): {remedy}",
        layer=layer.name,
    )


def _convolution(layer: Layer, batch: int) -> Loops:
    images, channels, *size = layer.output_shapes[0]
    kernel, stride = _plane(layer.kernel), _plane(layer.stride)
    dilation = _plane(layer.dilation or (1, 1))
    extent = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    rows, columns = _plane(tuple(size))
    groups = layer.groups
    inputs = layer.input_shapes[0][1] // groups
    place = (rows, columns, kernel, stride, (extent[0], extent[1]))
    if groups > 1 and inputs == 1:
        return Loops(images * batch, channels, 1, *place, depthwise=True)
    return Loops(images * batch * groups, channels // groups, inputs, *place)


def _plane(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Return two sizes; a convolution over one dimension has one row."""
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])
