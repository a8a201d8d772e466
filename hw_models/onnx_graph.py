"""Workloads of ONNX files, by shape inference; no code is run, and few integers are computed.

Initialisers are the weights: floating-point and 8-bit ones of at least one dimension are
parameters, but for the statistics of norms and the scales of quantisation, which are stored only.
What is computed from weights and shapes alone is known before the network runs: no layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import MissingDependency, SpecError, TraceError
from .input_shapes import fitted
from .onnx_numbers import fold_numbers
from .onnx_ops import (
    CONSTANTS,
    CONVOLUTIONS,
    OPS,
    SHAPES,
    STATISTICS,
    VIEWS,
    axes,
    conv_kind,
    macs,
    torch_name,
    window,
)
from .workload import Kind, Layer, Role, Shape, Tensor, Workload

_MAX_NAMED = 8
_FEW = 16  # numbers that can be an operator's options: bounds, axes
_WHOLE = frozenset(
    {"int64", "int32", "int16", "uint16", "uint32", "uint64", "bool", "str", "object"}
)


def read_onnx(path: Path, shapes: Sequence[Shape] = ()) -> Workload:
    """Return the workload of an ONNX file.

    Args:
        path: The file; weights beside it are not needed.
        shapes: Of its inputs, in order; needed where sizes other than the batch are open.

    Raises:
        MissingDependency: If the package `onnx` is not installed.
        SpecError: If the file is no ONNX model, or its inputs do not fit the shapes.
        TraceError: If it holds operators that cannot be costed, or shapes that depend on data.
    """
    try:
        import onnx
        from onnx import checker, inliner, shape_inference
    except ImportError as error:
        raise MissingDependency(
            "reading an ONNX file needs the package onnx; pip install 'netloom[onnx]'"
        ) from error
    try:
        model = onnx.load(path, load_external_data=False)
        if model.functions:
            model = inliner.inline_local_functions(model)
    except MemoryError:
        raise
    except Exception as error:  # whatever its parser stumbles over
        raise SpecError(
            f"{path} must be an ONNX model; reading it raised {type(error).__name__}: {error}; "
            "export it again"
        ) from error
    _refuse_unknown(model.graph, path)
    _set_inputs(model.graph, path, shapes)
    try:
        fold_numbers(model)
        inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, checker.ValidationError) as error:
        raise SpecError(
            f"{path}: the shapes of its tensors contradict each other: {error}; check --input, or "
            "export it again"
        ) from error
    return _Reader(inferred.graph, path).read()


def _refuse_unknown(graph: Any, path: Path) -> None:
    """Name the operators that have no cost.

    Raises:
        TraceError: If there are any.
    """
    unknown = [
        f"{node.op_type} ({node.name or f'node {number}'})"
        for number, node in enumerate(graph.node)
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPS.keys() | CONSTANTS
    ]
    if unknown:
        more = f" and {len(unknown) - _MAX_NAMED} more" if len(unknown) > _MAX_NAMED else ""
        raise TraceError(
            f"{path} holds operators that have no cost here: {', '.join(unknown[:_MAX_NAMED])}"
            f"{more}; export the network without them (plain operators of ONNX, no control flow, "
            "quantised ones as QuantizeLinear and DequantizeLinear)"
        )


def _set_inputs(graph: Any, path: Path, shapes: Sequence[Shape]) -> None:
    """Write sizes into the inputs: as asked for, an open batch as 1.

    Raises:
        SpecError: If the shapes do not fit, or a size is open and not asked for.
    """
    weights = {initializer.name for initializer in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    if shapes and len(shapes) != len(inputs):
        raise SpecError(
            f"{path} takes {len(inputs)} inputs ({', '.join(v.name for v in inputs)}), got "
            f"{len(shapes)} shapes; give one shape for each"
        )
    was_open = False
    for position, value in enumerate(inputs):
        dims = value.type.tensor_type.shape.dim
        fixed = [d.dim_value if d.HasField("dim_value") else None for d in dims]
        was_open |= None in fixed
        chosen = fitted(path, value.name, fixed, shapes[position] if shapes else None)
        for dim, size in zip(dims, chosen, strict=True):
            dim.dim_value = size
    if was_open:  # what was worked out for open sizes says less than what is inferred now
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")


class _Reader:
    """Turns the nodes of a graph, in their order, into layers."""

    def __init__(self, graph: Any, path: Path) -> None:
        self._graph, self._path = graph, path
        self._facts = dict(_facts(graph))
        self._stored = {i.name: i for i in graph.initializer}
        self._read = {name for node in graph.node for name in node.input}
        self._read |= {value.name for value in graph.output}
        #: value -> the initialisers that it is made of; empty: known, and no weight
        self._known = {name: self._weights(name) for name in self._stored}
        self._statistics: set[str] = set()
        self._numbers = dict(_numbers(graph))
        self._index: dict[str, int] = {}
        self._tensors: list[tuple[Shape, str, int, Role, int, int | None]] = []
        self._layers: list[Layer] = []
        self._names: dict[str, int] = {}

    def read(self) -> Workload:
        """Return the workload.

        Raises:
            TraceError: If products cannot be counted, or shapes are not known.
        """
        self._statistics = self._stored_only()
        inputs = [
            self._new(value.name, "input", None)
            for value in self._graph.input
            if value.name not in self._stored
        ]
        for node in self._graph.node:
            self._node(node)
        outputs = [self._index[v.name] for v in self._graph.output if v.name in self._index]
        consumers: list[list[int]] = [[] for _ in self._tensors]
        for number, layer in enumerate(self._layers):
            for index in set(layer.inputs):
                consumers[index].append(number)
        tensors = [
            Tensor(*facts, consumers=tuple(readers))
            for facts, readers in zip(self._tensors, consumers, strict=True)
        ]
        weights = {name for made_of in self._known.values() for name in made_of}
        params, stored = self._size(weights)
        return Workload(
            self._layers,
            tensors,
            inputs=inputs,
            outputs=outputs,
            params=params,
            weight_bytes=stored,
        )

    def _stored_only(self) -> set[str]:
        """Return the initialisers that are read as statistics alone."""
        places = [
            (name, position in STATISTICS.get(node.op_type, ()))
            for node in self._graph.node
            for position, name in enumerate(node.input)
        ]
        return {name for name, only in places if only} - {name for name, only in places if not only}

    def _node(self, node: Any) -> None:
        """Append the layer of a node, or note that its results are known."""
        given = [name for name in node.input if name]
        if node.op_type in SHAPES or all(name in self._known for name in given):
            made_of = frozenset(w for name in given for w in self._known.get(name, ()))
            for name in filter(None, node.output):
                self._known[name] = frozenset() if node.op_type in SHAPES else made_of
            return
        self._layer(node, [name for name in given if name not in self._known])

    def _layer(self, node: Any, operands: Sequence[str]) -> None:
        here, op = len(self._layers), node.op_type
        facts = {a.name: _value(a) for a in node.attribute}
        shapes = [self._shape(name, node) if name else () for name in node.input]
        sources = [self._index[name] for name in operands]
        read = {w for name in node.input for w in self._known.get(name, ())}
        params, weight_bytes = self._size(read)
        view = op in VIEWS
        memory = self._tensors[sources[0]][4] if view else None
        results = [
            self._new(name, "activation", here, memory)
            for name in node.output
            if name in self._read
        ] or [self._new(node.output[0], "activation", here, memory)]
        output = self._tensors[results[0]][0]
        count = macs(op, shapes, output, facts)
        if count is None:
            raise TraceError(
                f"{self._path}: the products of {node.name or op} ({op} {facts.get('equation')}) "
                "cannot be counted; write it as MatMul"
            )
        dimensions = len(self._tensors[sources[0]][0])
        called = torch_name(op, dimensions, self._bounds(node, facts))
        self._layers.append(
            Layer(
                name=self._name(node),
                kind=self._kind(node, called, shapes, facts),
                op=called,
                inputs=tuple(sources),
                outputs=tuple(results),
                input_shapes=tuple(self._tensors[i][0] for i in sources),
                output_shapes=tuple(self._tensors[i][0] for i in results),
                macs=count,
                params=params,
                weight_bytes=weight_bytes,
                input_bytes=sum(self._tensors[i][2] for i in sources),
                output_bytes=sum(self._tensors[i][2] for i in results),
                view=view,
                groups=int(facts.get("group", 1)) if op in CONVOLUTIONS else 1,
                axes=axes(op, dimensions, facts, self._numbers_of(node, 1)),
                weight_shapes=tuple(self._facts[w][0] or () for w in sorted(read)),
                ceil=bool(facts.get("ceil_mode", 0)),
                sized=op == "Pad",  # nothing tells what its numbers were worked out from
                **window(op, shapes, output, facts),
            )
        )

    def _numbers_of(self, node: Any, position: int) -> tuple[float, ...]:
        """Return the numbers of an operand, where they stand in the file."""
        name = node.input[position] if position < len(node.input) else ""
        return self._numbers.get(name, ())

    def _bounds(self, node: Any, facts: dict[str, Any]) -> tuple[float, ...]:
        """Return both bounds of a Clip, which old files have as attributes."""
        if {"min", "max"} <= facts.keys():
            return (facts["min"], facts["max"])
        return (*self._numbers_of(node, 1), *self._numbers_of(node, 2))

    def _kind(self, node: Any, called: str, shapes: Sequence[Shape], facts: dict[str, Any]) -> Kind:
        op = node.op_type
        weights = any(self._known.get(name) for name in node.input)
        if called == "relu6":
            return "activation"
        if op in CONVOLUTIONS:
            return conv_kind(op, shapes[1], int(facts.get("group", 1)))
        if op in ("MatMul", "Einsum", "Gemm"):
            return "linear" if weights else "matmul"
        if op == "Gather" and weights and facts.get("axis", 0) == 0:
            return "embedding"
        if op == "Gather" and node.input[1] in self._known:
            return "reshape"  # rows that the network names, whatever its input
        return OPS[op]

    def _new(self, name: str, role: Role, producer: int | None, memory: int | None = None) -> int:
        """Return the index of a new tensor; `memory` is the tensor whose memory it shares."""
        shape = self._shape(name, None)
        _, dtype, size = self._facts[name]
        index = self._index[name] = len(self._tensors)
        owner = index if memory is None else memory
        self._tensors.append((shape, dtype, math.prod(shape) * size, role, owner, producer))
        return index

    def _shape(self, name: str, node: Any) -> Shape:
        """Return the shape of a value.

        Raises:
            TraceError: If it is not known, or holds nothing.
        """
        shape = self._facts[name][0] if name in self._facts else None
        if shape is None:
            if node is not None and name in self._known:
                return ()  # such as the target of a Reshape: its values count, not its shape
            raise TraceError(
                f"{self._path}: the shape of {name!r} cannot be told without data; fix the sizes "
                "of the inputs (--input), and export the network without shapes that depend on data"
            )
        if 0 in shape and name not in self._known:
            raise TraceError(
                f"{self._path}: {name!r} has the shape {'x'.join(map(str, shape))} and holds "
                "nothing; give a larger input"
            )
        return shape

    def _weights(self, name: str) -> frozenset[str]:
        """Return the initialiser as a weight, unless it holds positions, sizes or one number."""
        shape, dtype, _ = self._facts[name]
        return frozenset() if not shape or dtype in _WHOLE else frozenset({name})

    def _size(self, weights: Iterable[str]) -> tuple[int, int]:
        """Return the elements of the parameters among weights, and the bytes of them all."""
        params = stored = 0
        for name in weights:
            shape, _, size = self._facts[name]
            elements = math.prod(shape or ())
            stored += elements * size
            params += 0 if name in self._statistics else elements
        return params, stored

    def _name(self, node: Any) -> str:
        name = str(node.name or node.output[0] or node.op_type).strip("/").replace("/", ".")
        repeat = self._names.get(name, 0)
        self._names[name] = repeat + 1
        return f"{name}#{repeat + 1}" if repeat else name


def _facts(graph: Any) -> Iterable[tuple[str, tuple[Shape | None, str, int]]]:
    """Yield name -> shape (None: not known), dtype and bytes per element of every value."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        tensor = value.type.tensor_type
        dims = tensor.shape.dim
        known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        shape = tuple(d.dim_value for d in dims) if known else None
        yield value.name, (shape, *_dtype(tensor.elem_type))
    for initializer in graph.initializer:
        yield initializer.name, (tuple(initializer.dims), *_dtype(initializer.data_type))


def _numbers(graph: Any) -> Iterable[tuple[str, tuple[float, ...]]]:
    """Yield the few numbers of small constants by their names."""
    from onnx import numpy_helper

    tensors = [(initializer.name, initializer) for initializer in graph.initializer]
    for node in graph.node:
        if node.op_type == "Constant":
            tensors += [(node.output[0], a.t) for a in node.attribute if a.name == "value"]
    for name, tensor in tensors:
        external = tensor.data_location == tensor.EXTERNAL
        if not external and math.prod(tensor.dims) <= _FEW and tensor.data_type != tensor.STRING:
            values = numpy_helper.to_array(tensor).reshape(-1)
            yield name, tuple(float(value) for value in values)


def _dtype(code: int) -> tuple[str, int]:
    """Return the name of a number format and its bytes."""
    from onnx import helper

    dtype = helper.tensor_dtype_to_np_dtype(code)
    return str(dtype.name), int(dtype.itemsize)


def _value(attribute: Any) -> Any:
    from onnx import helper

    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value
