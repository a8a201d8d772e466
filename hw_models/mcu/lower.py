"""The operators that a microcontroller runs, from the layers of a `Workload`.

What a converter to int8 does: layers without a path to the output go, what does not depend on the
input becomes a constant, batch norms fold into the convolution before them (which leaves one
int32 bias per channel), ReLU and ReLU6 fuse into the operator before them, reshapes rename memory,
fused attention becomes two products and a softmax. Padding that `SAME` cannot express is an
operator of its own with a padded copy, unless the runtime pads inside its kernels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...errors import SpecError, UnsupportedLayer
from ..dtypes import FLOAT_BYTES
from ..memory.graph import Graph, MemOp, MemTensor, OpKind, spatial
from ..workload import Kind, Layer, Shape, Workload

FUSED = frozenset({"relu", "relu6", "hardtanh"})
CARRIERS = frozenset({"conv", "pw", "dw", "fc", "add", "mul", "pool"})  # can clamp their output
FOLDING = frozenset({"conv", "pw", "dw", "fc"})  # can take in a norm
TRANSPOSES = frozenset(
    {"permute", "transpose", "movedim", "swapaxes", "swapdims", "adjoint", "t", "T", "mT", "H"}
)
INTEGER_BYTES = {"bool": 1, "int8": 1, "uint8": 1, "int16": 2}  # wider ones are int32 on a device
SIMPLE: dict[Kind, OpKind] = {
    "softmax": "softmax",
    "activation": "lut",
    "elementwise": "lut",
    "add": "add",
    "mul": "mul",
    "concat": "concat",
    "resize": "resize",
    "reduce": "pool",
    "reshape": "copy",
    "pad": "pad",
}
REMEDIES: dict[Kind, str] = {
    "transposed_conv": "use a resize and a convolution",
    "rnn": "use convolutions over time",
    "embedding": "look up outside the network and pass the vectors as its input",
    "index": "choose a network whose positions do not depend on data",
    "other": "use the operators of the kinds that `docs/hardware/mcu.md` lists",
}


class Lowering(NamedTuple):
    """How a runtime wants its graph.

    Args:
        pad_fused: Whether kernels pad themselves; otherwise padding beyond `SAME` is an operator.
        float_input: Whether the network is fed float32 and quantises on the device.
    """

    pad_fused: bool = False
    float_input: bool = False


PLAIN = Lowering()


def lower(workload: Workload, how: Lowering = PLAIN, batch: int = 1) -> Graph:
    """Return the int8 graph of a network that was traced at batch 1.

    The graph is kept with the workload.

    Raises:
        UnsupportedLayer: If a layer has no operator on microcontrollers.
        SpecError: If a tensor is empty.
    """
    key = ("mcu.lower", how, batch)
    known = workload.memo.get(key)
    if known is None:
        known = workload.memo[key] = Lowerer(workload, how, batch).graph()
    found: Graph = known
    return found


class Lowerer:
    """Builds one graph."""

    def __init__(
        self, workload: Workload, how: Lowering, batch: int, given: Sequence[int] = ()
    ) -> None:
        self.workload, self.how, self.batch = workload, how, batch
        self.given = given  # what each input can take in, of a part of a network
        self.tensors: list[MemTensor] = []
        self.ops: list[MemOp] = []
        self.place: dict[int, int] = {}  # workload tensor -> tensor of the graph
        self.open: dict[int, int] = {}  # tensor -> what it can take: 2 a norm, 1 a clamp
        self.padded: dict[int, tuple[int, tuple[int, int, int, int]]] = {}
        used, dynamic = workload.reaches_output, workload.depends_on_input
        self.layers = [
            layer for layer, u, d in zip(workload.layers, used, dynamic, strict=True) if u and d
        ]
        self.root = self._roots()
        self.readers = self._count_readers()

    def graph(self) -> Graph:
        """Return the graph of the whole network."""
        for index in self.workload.inputs:
            self._input(index)
        for index, state in zip(self.workload.inputs, self.given, strict=False):
            self.open[self.place[index]] = state
        for layer in self.layers:
            self._layer(layer)
        outputs = [self.place[i] for i in self.workload.outputs if i in self.place]
        inputs = [self.place[i] for i in self.workload.inputs]
        if self.how.float_input:
            inputs = list(range(len(inputs)))
        return Graph(self.tensors, self.ops, inputs=inputs, outputs=outputs)

    def _roots(self) -> list[int]:
        """Return, for each tensor, the one whose bytes it names."""
        root = list(range(len(self.workload.tensors)))
        for layer in self.layers:
            if self._renames(layer):
                root[layer.outputs[0]] = root[layer.inputs[0]]
        return root

    def _count_readers(self) -> list[int]:
        """Return how many operators read each tensor, under any of its names."""
        readers = [0] * len(self.root)
        for i in self.workload.outputs:
            readers[self.root[i]] += 1
        for layer in self.layers:
            if not self._renames(layer):
                for i in {self.root[i] for i in layer.inputs}:
                    readers[i] += 1
        return [readers[i] for i in self.root]

    def _renames(self, layer: Layer) -> bool:
        """Whether the layer moves no byte on a device: reshapes, and swaps with sides of 1."""
        if not layer.view or len(layer.outputs) != 1:
            return False
        before, after = layer.input_shapes[0], layer.output_shapes[0]
        if layer.op in TRANSPOSES:
            return sum([side > 1 for side in before]) < 2
        return math.prod(before) == math.prod(after) or layer.op.startswith("expand")

    def _input(self, index: int) -> None:
        """Add an input; a float one is followed by the operator that quantises it."""
        tensor = self.workload.tensors[index]
        is_float = tensor.dtype in FLOAT_BYTES
        quantised = self.how.float_input and is_float
        dtype = "float32" if quantised else "int8" if is_float else tensor.dtype
        width = 4 if quantised else element_bytes(tensor.dtype)
        self.place[index] = self._tensor("input", tensor.shape, dtype, width)
        if quantised:
            source = self.place[index]
            self.place[index] = self._tensor("quantize", tensor.shape)
            first = self.layers[0].name if self.layers else ""
            op = MemOp("quantize", "quantize", (source,), self.place[index], layer=first)
            self.ops.append(op)

    def _tensor(self, name: str, shape: Shape, dtype: str = "int8", width: int = 1) -> int:
        if not all(isinstance(side, int) for side in shape):
            raise SpecError(
                f"shapes must be known numbers, got {shape} for {name!r}; trace the network at "
                "the input size that the device will see"
            )
        scaled = (shape[0] * self.batch, *shape[1:]) if shape else (self.batch,)
        self.tensors.append(MemTensor(name, scaled, math.prod(scaled) * width, dtype))
        return len(self.tensors) - 1

    def _layer(self, layer: Layer) -> None:
        operands = [self.place[i] for i in layer.inputs if i in self.place]
        if self._renames(layer):
            self.place[layer.outputs[0]] = operands[0]
            return
        if self._absorbed(layer, operands):
            self.place[layer.outputs[0]] = operands[0]
            return
        self._rule(layer)(layer, operands)
        for extra in layer.outputs[1:]:  # chunks of a split, states: each is copied out
            if self.readers[extra]:
                shape = self.workload.tensors[extra].shape
                self.place[extra] = self._append(layer, "copy", operands, shape)

    def _rule(self, layer: Layer) -> Callable[[Layer, list[int]], None]:
        if layer.kind in ("conv", "pointwise_conv", "depthwise_conv", "grouped_conv"):
            return self._convolution
        if layer.kind == "pool":
            return self._pool
        if layer.kind in ("linear", "matmul"):
            return self._product
        if layer.kind == "attention":
            return self._attention
        if layer.kind == "norm":
            return self._norm
        if layer.kind == "pad":
            return self._pad
        if layer.kind in SIMPLE:
            return self._simple
        raise UnsupportedLayer(
            f"microcontrollers run no layer of kind {layer.kind!r}, got {layer.name!r} "
            f"({layer.op}); {REMEDIES[layer.kind]}",
            layer=layer.name,
        )

    def _absorbed(self, layer: Layer, operands: list[int]) -> bool:
        """Whether the layer disappears into the operator before it."""
        if len(operands) != 1 or len(layer.inputs) != 1 or self.readers[layer.inputs[0]] != 1:
            return False
        state = self.open.get(operands[0], 0)
        if layer.kind == "norm" and "batch_norm" in layer.op and state == 2:
            self.open[operands[0]] = 1
            return True
        if layer.kind == "activation" and layer.op in FUSED and state:
            self.open[operands[0]] = 0
            return True
        return False

    def _append(
        self, layer: Layer, kind: OpKind, inputs: Sequence[int], shape: Shape, **facts: object
    ) -> int:
        """Add an operator with its output; return the output."""
        output = self._tensor(layer.name, shape)
        name = layer.name if "name" not in facts else str(facts.pop("name"))
        self.ops.append(
            MemOp(name, kind, tuple(inputs), output, layer=layer.name, **facts)  # type: ignore
        )
        if kind in CARRIERS:
            self.open[output] = 2 if kind in FOLDING else 1
        return output

    def _simple(self, layer: Layer, operands: list[int]) -> None:
        shape = layer.output_shapes[0]
        output = self._append(layer, SIMPLE[layer.kind], operands, shape, weights=layer.params)
        self.place[layer.outputs[0]] = output

    def _norm(self, layer: Layer, operands: list[int]) -> None:
        """A norm that nothing takes in: of a batch a scale and a shift, else over elements."""
        kind: OpKind = "mul" if "batch_norm" in layer.op else "layernorm"
        weights = layer.params
        output = self._append(layer, kind, operands, layer.output_shapes[0], weights=weights)
        self.place[layer.outputs[0]] = output

    def _product(self, layer: Layer, operands: list[int]) -> None:
        shape = layer.output_shapes[0]
        macs = layer.macs * self.batch
        if len(operands) > 1 or not layer.params:
            output = self._append(layer, "matmul", operands, shape, macs=macs)
        else:
            rows = math.prod(shape[:-1])
            facts = {"weights": layer.macs // rows, "channels": shape[-1], "macs": macs}
            output = self._append(layer, "fc", operands, shape, **facts)
        self.place[layer.outputs[0]] = output

    def _attention(self, layer: Layer, operands: list[int]) -> None:
        query, key, value = layer.input_shapes[:3]
        q, k, v, *mask = operands
        scores = (*query[:-1], key[-2])
        first = math.prod(query) * key[-2] * self.batch
        second = math.prod(scores) * value[-1] * self.batch
        name = f"{layer.name}.scores"
        out = self._append(layer, "matmul", (q, k), scores, macs=first, name=name)
        if mask:
            out = self._append(layer, "add", (out, *mask), scores, name=f"{layer.name}.mask")
        out = self._append(layer, "softmax", (out,), scores, name=f"{layer.name}.softmax")
        shape = layer.output_shapes[0]
        self.place[layer.outputs[0]] = self._append(layer, "matmul", (out, v), shape, macs=second)

    def _pad(self, layer: Layer, operands: list[int]) -> None:
        """Add a pad, or keep it for the only window that reads it; an odd row goes behind."""
        before, after = layer.input_shapes[0], layer.output_shapes[0]
        result = layer.outputs[0]
        sides = []
        for small, large in zip(spatial(before), spatial(after), strict=True):
            sides += [(large - small) // 2, large - small - (large - small) // 2]
        padding = (sides[0], sides[1], sides[2], sides[3])
        reader = [n for n in self.layers if result in n.inputs]
        windows = ("conv", "depthwise_conv", "grouped_conv", "pool")
        if self.how.pad_fused and self.readers[result] == 1 and reader[0].kind in windows:
            self.padded[result] = (operands[0], padding)
            self.place[result] = operands[0]
            return
        self.place[result] = self._append(layer, "pad", operands, after, padding=padding)

    def _window(self, layer: Layer, operands: list[int]) -> tuple[int, dict[str, object]]:
        """Return the tensor that a convolution or pool reads, padded if it must be, and its facts.

        Raises:
            UnsupportedLayer: If the window has three dimensions.
        """
        if len(layer.kernel) > 2:
            raise UnsupportedLayer(
                f"windows on microcontrollers have at most 2 dimensions, got {layer.name!r} with "
                f"{len(layer.kernel)}; use two-dimensional layers",
                layer=layer.name,
            )
        facts: dict[str, object]
        kernel, stride = _pair(layer.kernel), _pair(layer.stride)
        dilation, pads = _pair(layer.dilation), _pair(layer.padding, 0)
        padding = (pads[0], pads[0], pads[1], pads[1])
        source = operands[0]
        if layer.inputs[0] in self.padded:
            source, before = self.padded[layer.inputs[0]]
            padding = tuple(a + b for a, b in zip(before, padding, strict=True))  # type: ignore
        elif not self.how.pad_fused and any(padding):
            shape = layer.input_shapes[0]
            reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
            result = spatial(layer.output_shapes[0])
            if not is_same(spatial(shape), result, reach, stride, pads):
                rows = [*spatial(shape)]
                rows = [rows[0] + 2 * pads[0], rows[1] + 2 * pads[1]]
                grown = (*shape[:2], *rows[-len(layer.kernel) :])
                facts = {"padding": padding, "name": f"{layer.name}.pad"}
                source = self._append(layer, "pad", (source,), grown, **facts)
                padding = (0, 0, 0, 0)
        facts = {
            "kernel": kernel,
            "stride": stride,
            "dilation": dilation,
            "padding": padding,
        }
        return source, facts

    def _convolution(self, layer: Layer, operands: list[int]) -> None:
        source, facts = self._window(layer, operands)
        shape = layer.output_shapes[0]
        channels = shape[1]
        pixels = math.prod(shape[2:])
        kind: OpKind = "conv"
        if layer.kind == "depthwise_conv":
            kind = "dw"
        elif facts["kernel"] == (1, 1) and layer.groups == 1:
            kind = "pw"
        weights = layer.macs // pixels if pixels else 0
        output = self._append(
            layer,
            kind,
            (source,),
            shape,
            macs=layer.macs * self.batch,
            groups=layer.groups,
            weights=weights,
            channels=channels,
            **facts,
        )
        self.place[layer.outputs[0]] = output

    def _pool(self, layer: Layer, operands: list[int]) -> None:
        source, facts = self._window(layer, operands)
        self.place[layer.outputs[0]] = self._append(
            layer, "pool", (source,), layer.output_shapes[0], **facts
        )


def element_bytes(dtype: str) -> int:
    """Return what an element occupies on the device: floats are quantised to int8."""
    return 1 if dtype in FLOAT_BYTES else INTEGER_BYTES.get(dtype, 4)


def is_same(
    source: tuple[int, int],
    result: tuple[int, int],
    reach: Sequence[int],
    stride: Sequence[int],
    pads: Sequence[int],
) -> bool:
    """Whether padding both sides by `pads` is what TensorFlow calls SAME.

    SAME gives ceil(side / stride) outputs and puts the odd row of its padding behind.
    """
    for side, out, window, step, pad in zip(source, result, reach, stride, pads, strict=True):
        total = max((out - 1) * step + window - side, 0)
        if out != -(-side // step) or total // 2 != pad:
            return False
    return True


def _pair(value: Sequence[int], default: int = 1) -> tuple[int, int]:
    """Return rows and columns; a window over time has one row."""
    if not value:
        return default, default
    return (default, value[0]) if len(value) == 1 else (value[0], value[1])
