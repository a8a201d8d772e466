"""Numbers that an ONNX graph works out from numbers alone, on which shapes may depend.

Exporters write the widths of a pad, or the bounds of a slice, as chains of small operators; the
inference of shapes follows only some of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .op_names import words

_MOST = 64  # elements of a tensor of numbers
# none of them makes many numbers of few, but for ConstantOfShape
_OPS = words("""
    Add Cast Concat Constant ConstantOfShape Gather Identity Mul Neg Reshape Slice Squeeze Sub
    Transpose Unsqueeze
""")


def fold_numbers(model: Any) -> None:
    """Replace nodes that compute few integers from integers in the file by what they give.

    Weights are left alone, and so is a node that fails: the inference of shapes says why.
    """
    from onnx import numpy_helper

    graph = model.graph
    versions = {entry.domain: entry.version for entry in model.opset_import}
    known = {i.name: numpy_helper.to_array(i) for i in graph.initializer if _is_number(i)}
    stored, kept = set(known), []
    for node in graph.node:
        found = _value(node, known, versions)
        if found is None:
            kept.append(node)
        else:
            known[node.output[0]] = found
    if len(kept) < len(graph.node):
        del graph.node[:]
        graph.node.extend(kept)
        graph.initializer.extend(
            [numpy_helper.from_array(v, name) for name, v in known.items() if name not in stored]
        )


def _is_number(tensor: Any) -> bool:
    external = tensor.data_location == tensor.EXTERNAL
    whole = tensor.data_type in (tensor.INT64, tensor.INT32)
    return whole and not external and math.prod(tensor.dims) <= _MOST


def _value(node: Any, known: dict[str, Any], versions: dict[str, int]) -> Any:
    """Return the integers that a node gives; None if it gives others, or reads what is unknown."""
    from onnx.reference import ReferenceEvaluator

    inputs = [name for name in node.input if name]
    if node.domain or node.op_type not in _OPS or len(node.output) != 1:
        return None
    if any(name not in known for name in inputs):
        return None
    if node.op_type == "ConstantOfShape" and math.prod(known[inputs[0]].tolist()) > _MOST:
        return None
    if node.op_type == "Constant" and not all(
        a.name == "value" and _is_number(a.t) for a in node.attribute
    ):
        return None
    evaluator = ReferenceEvaluator(node, opsets=versions)
    try:
        (found,) = evaluator.run(None, {name: known[name] for name in inputs})
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError):
        return None  # a wrong node, which the inference of shapes names
    value = np.asarray(found)
    return value if value.dtype in (np.int64, np.int32) and value.size <= _MOST else None
