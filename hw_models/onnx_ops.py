"""What the operators of ONNX are: their kinds, multiply-adds and windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .op_names import words
from .workload import Kind, Shape

_KINDS: dict[Kind, str] = {
    "conv": "Conv",  # the weight decides between its kinds
    "transposed_conv": "ConvTranspose",
    "linear": "Gemm",
    "matmul": "MatMul Einsum",
    "attention": "Attention",
    "rnn": "LSTM GRU RNN",
    "norm": """BatchNormalization LayerNormalization GroupNormalization InstanceNormalization
        RMSNormalization LpNormalization MeanVarianceNormalization LRN""",
    "activation": """Relu LeakyRelu PRelu Sigmoid HardSigmoid HardSwish Swish Tanh Elu Selu Celu
        Gelu Mish Softplus Softsign ThresholdedRelu Shrink""",
    "softmax": "Softmax LogSoftmax Hardmax",
    "pool": "MaxPool AveragePool LpPool GlobalAveragePool GlobalMaxPool GlobalLpPool",
    "reduce": """ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum
        ReduceLogSumExp ReduceSumSquare ArgMax ArgMin CumSum""",
    "add": "Add Sub Sum",
    "mul": "Mul Div",
    "elementwise": """Abs Neg Exp Log Sqrt Reciprocal Sin Cos Tan Erf Clip Pow Cast CastLike Where
        Max Min Mean Not And Or Xor Equal Less LessOrEqual Greater GreaterOrEqual Floor Ceil Round
        Sign Mod IsNaN IsInf Trilu BitShift Sinh Cosh Asin Acos Atan Asinh Acosh Atanh""",
    "concat": "Concat",
    "reshape": """Reshape Flatten Squeeze Unsqueeze Identity Dropout Transpose Slice Split Expand
        Tile QuantizeLinear DequantizeLinear""",
    "pad": "Pad",
    "resize": "Resize Upsample DepthToSpace SpaceToDepth GridSample",
    "index": """Gather GatherElements GatherND ScatterElements ScatterND TopK OneHot
        ReverseSequence""",
}
OPS: dict[str, Kind] = {name: kind for kind, text in _KINDS.items() for name in words(text)}
# No bytes move. Quantising an activation is how a file says its number format; a cost is asked
# for in one.
VIEWS = frozenset(
    words("Reshape Flatten Squeeze Unsqueeze Identity Dropout QuantizeLinear DequantizeLinear")
)
# Results that say something of shapes alone: known without data.
SHAPES = frozenset({"Shape", "Size"})
CONSTANTS = SHAPES | {"Constant", "ConstantOfShape", "Range"}
# operator -> positions of operands that are stored but not learned: statistics, scales
STATISTICS = {
    "BatchNormalization": (3, 4),
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
}
CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


# What `trace` calls an operator, where that is not the same word in small letters: models look at
# it. `{n}` is the number of spatial dimensions.
_NAMES = {
    "Conv": "conv{n}d",
    "ConvTranspose": "conv_transpose{n}d",
    "Gemm": "linear",
    "Attention": "scaled_dot_product_attention",
    "BatchNormalization": "batch_norm",
    "LayerNormalization": "layer_norm",
    "GroupNormalization": "group_norm",
    "InstanceNormalization": "instance_norm",
    "RMSNormalization": "rms_norm",
    "LeakyRelu": "leaky_relu",
    "Swish": "silu",
    "LogSoftmax": "log_softmax",
    "MaxPool": "max_pool{n}d",
    "AveragePool": "avg_pool{n}d",
    "GlobalAveragePool": "adaptive_avg_pool{n}d",
    "GlobalMaxPool": "adaptive_max_pool{n}d",
    "ReduceMean": "mean",
    "ReduceSum": "sum",
    "ReduceMax": "amax",
    "ReduceMin": "amin",
    "Clip": "clamp",
    "Concat": "cat",
    "Transpose": "permute",
    "Resize": "interpolate",
    "DepthToSpace": "pixel_shuffle",
    "SpaceToDepth": "pixel_unshuffle",
}
_RELU6 = (0.0, 6.0)


def torch_name(op: str, dimensions: int, bounds: tuple[float, ...] = ()) -> str:
    """Return what `trace` calls an operator.

    Args:
        op: The operator.
        dimensions: Of its first operand.
        bounds: Of a Clip, where both are known.
    """
    if op == "Clip" and bounds == _RELU6:
        return "relu6"
    return _NAMES.get(op, op.lower()).format(n=max(dimensions - 2, 0))


def axes(
    op: str, dimensions: int, attributes: Mapping[str, Any], second: tuple[float, ...]
) -> tuple[int, ...]:
    """Return the dimensions of a reduction, concatenation or transposition; see `Layer.axes`.

    Args:
        op: The operator.
        dimensions: Of its first operand.
        attributes: Its attributes.
        second: The numbers of its second operand, where they are known.
    """
    if op == "Concat":
        return (int(attributes["axis"]) % dimensions,)
    if op == "Transpose":
        return tuple(attributes.get("perm", reversed(range(dimensions))))
    if op.startswith("Reduce"):
        given = attributes.get("axes") or [int(axis) for axis in second]
        return tuple(sorted(axis % dimensions for axis in given))
    return ()


def conv_kind(op: str, weight: Shape, groups: int) -> Kind:
    """Return the kind of a convolution with this weight (out, in / groups, kernel...)."""
    if op == "ConvTranspose":
        return "transposed_conv"
    if groups > 1:
        return "depthwise_conv" if weight[1] == 1 else "grouped_conv"
    return "pointwise_conv" if all(k == 1 for k in weight[2:]) else "conv"


def macs(
    op: str, inputs: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]
) -> int | None:
    """Return the multiply-adds of a product; None: they cannot be told from the shapes.

    Args:
        op: The operator.
        inputs: Shapes of all its operands, weights included; () for one that is left out.
        output: Shape of its first result.
        attributes: Its attributes.
    """
    if op == "Conv":
        return math.prod(output) * math.prod(inputs[1][1:])
    if op == "ConvTranspose":
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])
    if op == "Gemm":
        return math.prod(output) * inputs[0][0 if attributes.get("transA") else 1]
    if op == "MatMul":
        return math.prod(output) * inputs[0][-1]
    if op == "Einsum":
        return _einsum(attributes, inputs)
    if op == "Attention":
        return _attention(inputs, attributes)
    if op in ("LSTM", "GRU", "RNN"):
        steps = math.prod(inputs[0][:2])  # time and batch
        return steps * (math.prod(inputs[1]) + math.prod(inputs[2]))
    return 0


def _einsum(attributes: Mapping[str, Any], inputs: Sequence[Shape]) -> int | None:
    equation = str(attributes["equation"]).replace(" ", "")
    terms = equation.partition("->")[0].split(",")
    if "." in equation or len(terms) > 2:
        return None
    sizes = {
        name: size
        for term, shape in zip(terms, inputs, strict=True)
        for name, size in zip(term, shape, strict=True)
    }
    return math.prod(sizes.values()) if len(terms) == 2 else 0


def _attention(inputs: Sequence[Shape], attributes: Mapping[str, Any]) -> int:
    """Return the products of queries with keys, and of their weights with the values."""
    query, key, value = inputs[:3]
    if len(query) == 4:  # (batch, heads, length, size)
        return math.prod(query[:3]) * key[2] * (query[3] + value[3])
    heads, kv_heads = int(attributes["q_num_heads"]), int(attributes["kv_num_heads"])
    return math.prod(query[:2]) * key[1] * (query[2] + value[2] // kv_heads * heads)


def window(
    op: str, inputs: Sequence[Shape], output: Shape, attributes: Mapping[str, Any]
) -> dict[str, Any]:
    """Return kernel, stride, padding and dilation of a convolution or pool; else nothing.

    Where the padding of the two sides differs it is that of the wider side.
    """
    size = inputs[0][2:]
    if op.startswith("Global"):
        return {"kernel": size, "stride": size}
    if op not in CONVOLUTIONS and "kernel_shape" not in attributes:
        return {}
    n = len(size)
    kernel = tuple(inputs[1][2:]) if op in CONVOLUTIONS else tuple(attributes["kernel_shape"])
    stride = tuple(attributes.get("strides", (1,) * n))
    dilation = tuple(attributes.get("dilations", (1,) * n))
    pads = attributes.get("pads", (0,) * 2 * n)
    padding = tuple(max(pads[i], pads[n + i]) for i in range(n))
    if str(attributes.get("auto_pad", "NOTSET")).startswith("SAME") and op != "ConvTranspose":
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        missing = [
            max((o - 1) * s + span - i, 0)
            for o, s, span, i in zip(output[2:], stride, spans, size, strict=True)
        ]
        padding = tuple(-(-m // 2) for m in missing)
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
