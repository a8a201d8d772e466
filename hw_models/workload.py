"""A network as the hardware sees it: typed layers, the tensors between them, their lifetimes.

A `Workload` is plain data (no torch): `trace` writes it, `compose` joins it from parts, hardware
models read it. Numbers in it hold for the traced example input, which has batch 1 by convention.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from .dtypes import DTYPE_BYTES, FLOAT_BYTES, Dtype
from .graph import depends_on, reaches_output
from .liveness import MemoryProfile, liveness

WORKLOAD_VERSION = 1  # raise it when the same network gives other numbers than before

AGAIN = "again"  # key of `Workload.memo`: traces the network anew, for inputs of other shapes

Shape: TypeAlias = tuple[int, ...]
Role: TypeAlias = Literal["input", "activation", "constant"]
Kind: TypeAlias = Literal[
    "conv",  # dense convolution with a kernel beyond 1
    "pointwise_conv",  # dense, kernel 1
    "depthwise_conv",  # groups = input channels
    "grouped_conv",  # 1 < groups < input channels
    "transposed_conv",
    "linear",
    "matmul",  # a product of two activations
    "attention",  # fused softmax(q k^T) v
    "rnn",  # LSTM, GRU and plain recurrent layers, all time steps
    "norm",
    "activation",
    "softmax",
    "pool",
    "reduce",  # mean, sum, max over dimensions
    "add",  # also subtraction
    "mul",  # also division
    "elementwise",  # any other function of each element
    "concat",
    "reshape",  # view, permute, slice, copy; `view` tells whether bytes move
    "pad",
    "resize",
    "embedding",
    "index",  # gather, scatter, sort: moves elements by computed positions
    "other",  # an operator without a kind of its own: `op` names it
]


class Tensor(NamedTuple):
    """A tensor between layers; its index in `Workload.tensors` is its identity.

    Args:
        shape: With the batch dimension, where it has one.
        dtype: `float32`, `int64`, ...
        size_bytes: Elements times element size.
        role: `input` of the network, `activation`, or `constant` (no layer computes it from the
            input, and it is not a parameter: masks, position tables).
        storage: Index of the tensor that owns the memory; views and in-place results share it.
        producer: Index of the layer that writes it; None for inputs and constants.
        consumers: Indices of the layers that read it.
    """

    shape: Shape
    dtype: str
    size_bytes: int
    role: Role
    storage: int
    producer: int | None
    consumers: tuple[int, ...]


class Layer(NamedTuple):
    """One operation in execution order.

    Args:
        name: Dotted path of the module that ran it, unique in the workload
            (`stage1.0.conv`; `stage1.0.add` for a function called in `stage1.0`).
        kind: What it is; fixes which of the fields below mean something.
        op: The operator's own name (`conv2d`, `relu`, `scaled_dot_product_attention`).
        inputs: Indices of the tensors read, without weights.
        outputs: Indices of the tensors written.
        input_shapes: Their shapes, aligned with `inputs`.
        output_shapes: Their shapes, aligned with `outputs`.
        macs: Multiply-adds of the convolution or matrix product; 0 for every other kind.
        params: Elements of the parameters it reads.
        weight_bytes: Bytes of the parameters and buffers it reads.
        input_bytes: Bytes of the tensors read (a tensor read twice counts twice).
        output_bytes: Bytes of the tensors written.
        view: No bytes move: the outputs are other names for the memory of an input.
        kernel: Spatial kernel size of convolutions and pools.
        stride: Likewise; of a resize by a whole factor, the factor.
        padding: Likewise, on both sides of each spatial dimension.
        dilation: Likewise.
        groups: Of convolutions.
        axes: The dimensions that a reduction takes away or a concatenation goes along; those that
            a transposition or a selection takes, in order. Empty for every other layer, and where
            the operator does not tell.
        weight_shapes: Shapes of the parameters and buffers it reads.
        ceil: Of pools: the last window may run over the edge, so that sizes are rounded up.
        bounds: Of a slice: start, stop and step for each dimension of its input (step 0: the one
            element at start, the dimension is gone). Empty for every other layer, and where the
            operator does not tell.
        sized: Of pools, pads, slices and resizes: what it was called with (window, bounds, factor)
            may have been worked out from the size of a tensor.
    """

    name: str
    kind: Kind
    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    macs: int = 0
    params: int = 0
    weight_bytes: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    view: bool = False
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    axes: tuple[int, ...] = ()
    weight_shapes: tuple[Shape, ...] = ()
    ceil: bool = False
    bounds: tuple[tuple[int | None, int | None, int | None], ...] = ()
    sized: bool = False

    @property
    def signature(self) -> tuple[Any, ...]:
        """All that costs depend on: equal signatures cost the same anywhere.

        Not the name, the tensor indices, nor the last two fields, which only say how a shape came
        about. Tables of fitted device files are keyed by it: a new field that costs nothing goes
        to the end and stays out.
        """
        return (self.kind, self.op, *self[5:-2])


class Workload:
    """The directed graph of one network.

    Args:
        layers: In execution order.
        tensors: `Layer.inputs` and `Layer.outputs` index into it.
        inputs: Indices of the network's inputs.
        outputs: Indices of what the network returns.
        params: Elements of all parameters of the module, shared ones once, unused ones too.
        weight_bytes: Bytes of all parameters and buffers, shared ones once.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        tensors: Sequence[Tensor],
        *,
        inputs: Sequence[int],
        outputs: Sequence[int],
        params: int,
        weight_bytes: int,
    ) -> None:
        self._layers, self._tensors = tuple(layers), tuple(tensors)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)
        self.params, self.weight_bytes = params, weight_bytes
        #: by number format, those that `cast` has made
        self.casts: dict[str, Workload] = {}

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in execution order."""
        return self._layers

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors; their position is their identity."""
        return self._tensors

    @property
    def inputs(self) -> tuple[int, ...]:
        """Indices of the network's inputs."""
        return self._inputs

    @property
    def outputs(self) -> tuple[int, ...]:
        """Indices of what the network returns."""
        return self._outputs

    @cached_property
    def arity(self) -> tuple[int, int]:
        """The numbers of inputs and of outputs."""
        return (len(self.inputs), len(self.outputs))

    @property
    def pieces(self) -> tuple[tuple[str, Workload], ...]:
        """The labelled workloads this one is composed of; a traced one is its own only piece.

        A model whose cost is a sum over layers may cost each piece once.
        """
        return (("", self),)

    @property
    def parts(self) -> Sequence[Workload]:
        """The pieces without their labels."""
        return (self,)

    @property
    def distinct(self) -> Sequence[Workload]:
        """The parts, each once, for what does not depend on how often they come."""
        return self.parts

    @property
    def sources(self) -> tuple[tuple[int, ...], ...]:
        """For each piece, where its inputs come from: the position of a piece, or -1."""
        return ((-1,) * len(self.inputs),)

    @cached_property
    def memo(self) -> dict[Any, Any]:
        """What others worked out about this workload, to be kept as long as it lives."""
        return {}

    @cached_property
    def reaches_output(self) -> tuple[bool, ...]:
        """For each layer, whether a path leads from it to an output; exporters drop the others."""
        return reaches_output(self.layers, self.tensors, self.outputs)

    @cached_property
    def depends_on_input(self) -> tuple[bool, ...]:
        """For each layer, whether its result depends on an input; the others are constants."""
        return depends_on(self.layers, self.tensors, self.inputs)

    @cached_property
    def macs(self) -> int:
        """Multiply-adds of all convolutions, linear layers and matrix products."""
        return sum(layer.macs for layer in self.layers)

    @cached_property
    def dtype(self) -> str:
        """The floating-point format it was traced in: that of the first such tensor."""
        return next((t.dtype for t in self.tensors if t.dtype in FLOAT_BYTES), "float32")

    @cached_property
    def only_floats(self) -> bool:
        """Whether every tensor is of floating-point numbers, so that a cast scales all bytes."""
        return all(t.dtype in FLOAT_BYTES for t in self.tensors)

    def cast(self, dtype: Dtype) -> Workload:
        """Return the same network with floating-point tensors and weights in another format.

        Tensors of integers keep theirs. The same object is returned for the same format.
        """
        if dtype == self.dtype:
            return self
        known = self.casts.get(dtype)
        if known is None:
            known = self.casts[dtype] = self._cast(dtype)
            if (again := self.memo.get(AGAIN)) is not None:
                known.memo[AGAIN] = lambda shapes: again(shapes).cast(dtype)
        return known

    def at_resolution(self, height: int, width: int) -> Workload:
        """Return the same network for images of another size, as if traced with one.

        Sizes inside the network are taken to come from the image. Where shapes do not tell, a
        network whose builder is known (`trace_built`, parts of a space) is traced anew. The same
        object is returned for the same size.

        Raises:
            SpecError: If the network does not take one image, or a layer does not tell how its
                output depends on its input, or cannot take its input any more.
        """
        from .resolution import image_shape, refusal
        from .shape_rules import Refused

        shape = image_shape([self.tensors[i].shape for i in self.inputs], height, width)
        try:
            return self.at_shapes((shape,))
        except Refused as refused:
            raise refusal(refused.layer, refused, height, width) from refused

    def at_shapes(self, shapes: tuple[Shape, ...]) -> Workload:
        """Return the same network with inputs of other shapes; see `at_resolution`.

        Raises:
            shape_rules.Refused: If a layer does not tell its shape, or cannot take its input.
        """
        from .resolution import at_shapes

        if shapes == tuple([self.tensors[i].shape for i in self.inputs]):
            return self
        key = ("shapes", shapes)
        known: Workload | None = self.memo.get(key)
        if known is None:
            known = self.memo[key] = at_shapes(self, shapes)
        return known

    def _cast(self, dtype: Dtype) -> Workload:
        def scaled(size_bytes: int) -> int:
            return size_bytes * DTYPE_BYTES[dtype] // FLOAT_BYTES[self.dtype]

        tensors = [
            t._replace(dtype=dtype, size_bytes=math.prod(t.shape) * DTYPE_BYTES[dtype])
            if t.dtype in FLOAT_BYTES
            else t
            for t in self.tensors
        ]
        layers = [
            layer._replace(
                weight_bytes=scaled(layer.weight_bytes),
                input_bytes=sum([tensors[i].size_bytes for i in layer.inputs]),
                output_bytes=sum([tensors[i].size_bytes for i in layer.outputs]),
            )
            for layer in self.layers
        ]
        return Workload(
            layers,
            tensors,
            inputs=self.inputs,
            outputs=self.outputs,
            params=self.params,
            weight_bytes=scaled(self.weight_bytes),
        )

    @cached_property
    def live_bytes(self) -> tuple[int, ...]:
        """Bytes of activations alive at each step: before the first layer, then during each layer.

        A tensor lives from the layer that writes it to the last layer that reads it; inputs from
        the start, outputs to the end. Views and in-place results live in the memory of their
        owner. Weights and constants do not count.
        """
        return liveness(self.tensors, len(self.layers), self.outputs)

    @cached_property
    def peak_activation_bytes(self) -> int:
        """Largest number of bytes of activations alive at once (no allocator, no fusion)."""
        return max(self.live_bytes)

    @cached_property
    def profile(self) -> MemoryProfile:
        """How this workload uses memory as a part whose output is read later."""
        return MemoryProfile(self, read_later=True)

    @cached_property
    def profile_unread(self) -> MemoryProfile:
        """How this workload uses memory as a part whose output nobody reads."""
        return MemoryProfile(self, read_later=False)

    @property
    def peak_layer(self) -> str:
        """Name of the first layer at which the peak is reached (empty for no layers)."""
        step = self.live_bytes.index(self.peak_activation_bytes)
        return self.layers[max(step - 1, 0)].name if self.layers else ""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "memo"}

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.layers)} layers, {self.params} params, "
            f"{self.macs} MACs, peak {self.peak_activation_bytes} bytes)"
        )
