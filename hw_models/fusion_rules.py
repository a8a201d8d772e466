"""What the kernels of each runtime take up; `fusion` applies it to networks."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

from .workload import Layer

Runtime: TypeAlias = Literal["eager", "compiled", "tflm", "tinyengine"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)

# what a kernel is, and so what it can take up:
#   product   a convolution or linear layer with what followed it
#   scores    a matrix product of two activations with what followed it
#   weights   `scores` and a softmax
#   chain     element-wise layers, norms, softmax
#   padded    padding that the next convolution does itself
#   alone     a layer that takes up a clipping activation only
#   ""        nothing
State: TypeAlias = Literal["product", "scores", "weights", "chain", "padded", "alone", ""]

CONVOLUTIONS = frozenset(
    {"conv", "pointwise_conv", "depthwise_conv", "grouped_conv", "transposed_conv"}
)
POINTWISE = frozenset({"activation", "add", "mul", "elementwise"})
SAME_SIZE = POINTWISE | {"norm", "softmax"}  # join only what has as many elements
BATCH_NORMS = frozenset(
    {
        "batch_norm",
        "native_batch_norm",
        "native_batch_norm_legit",
        "native_batch_norm_legit_no_training",
    }
)
CLIPS = frozenset({"relu", "relu6", "hardtanh"})  # ReLU6 is a hardtanh to torch
WINDOWED = frozenset({"max_pool1d", "max_pool2d", "avg_pool1d", "avg_pool2d"})


class Rules(NamedTuple):
    """A runtime that fuses.

    Args:
        compiled: A compiler that generates kernels; else a library with fixed ones.
        pads: A convolution does the padding before it.
        folds: What does not depend on the network's input is computed once, before it runs.
    """

    compiled: bool
    pads: bool = False
    folds: bool = False

    def start(self, layer: Layer) -> State:
        """Return what a kernel is that begins with `layer`."""
        kind = layer.kind
        if kind in CONVOLUTIONS or kind == "linear":
            return "product"
        if self.compiled:
            if kind == "matmul":
                return "scores"
            return "chain" if kind in SAME_SIZE else ""
        if kind == "pad":
            return "padded" if self.pads else ""
        alone = kind in ("add", "mul") or layer.op in BATCH_NORMS or layer.op in WINDOWED
        return "alone" if alone else ""

    def takes(self, state: State, layer: Layer) -> State | None:
        """Return what a kernel becomes with `layer`; None: it cannot take it up."""
        kind = layer.kind
        if self.compiled:
            return _compiled(state, layer)
        if state == "padded":
            return "product" if kind in CONVOLUTIONS else None
        if state == "product" and layer.op in BATCH_NORMS:
            return "product"
        return "" if layer.op in CLIPS else None


def _compiled(state: State, layer: Layer) -> State | None:
    kind = layer.kind
    if kind in POINTWISE:
        return state
    if kind == "norm":
        return state if layer.op in BATCH_NORMS or state in ("chain", "weights") else None
    if kind == "softmax":
        return "weights" if state == "scores" else None
    return "" if kind == "matmul" and state == "weights" else None


RULES: dict[Runtime, Rules] = {
    "compiled": Rules(compiled=True),
    "tflm": Rules(compiled=False, folds=True),
    "tinyengine": Rules(compiled=False, pads=True, folds=True),
}
