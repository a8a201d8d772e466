"""ONNX: written by torch's current exporter, compared with torch in onnxruntime."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table

from ...errors import EvaluationError, MissingDependency
from ..run.evaluation import one_line
from .program import Difference, Program, differences, quiet

ONNX_FILE = "network.onnx"
INPUT = "input"
_LIMIT = 1e-3  # relative; kernels of onnxruntime add in another order, and fuse
_LARGEST = 2**31 - 2**20  # bytes of one protobuf message
_NODE = re.compile(r"translating node %(\w+)")
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


def require_onnx() -> None:
    """Check that the packages are there before anything is computed.

    Raises:
        MissingDependency: If one is not.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise MissingDependency(
            f"the formats onnx and onnx-int8 need {', '.join(_NEEDED)}, got no "
            f"{', '.join(missing)}; pip install 'netloom[export]'"
        )


def write_onnx(folder: Path, program: Program) -> list[Difference]:
    """Write `network.onnx` and compare its outputs with the network's.

    Args:
        folder: Where to.
        program: What is written; its batch size stays free where it is.

    Returns:
        How far the outputs are from the network's.

    Raises:
        EvaluationError: If ONNX lacks an operator (the layer is named), or the outputs differ.
    """
    path = folder / ONNX_FILE
    with quiet():
        try:
            converted: Any = torch.onnx.export(
                program.exported,
                (),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(program.outputs),
            )
        except torch.onnx.OnnxExporterError as error:
            raise _explained(program, error) from error
        _tidy(converted.model)
        converted.save(path, external_data=_size(program) > _LARGEST)
    return differences(program, runner(path), limit=_LIMIT, what=ONNX_FILE)


def runner(path: Path) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs an ONNX file on the CPU."""
    session = _session(path)
    return lambda x: [torch.from_numpy(y) for y in session.run(None, {INPUT: x.numpy()})]


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; what it removes from a graph is no news
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise EvaluationError(
            f"{path.name} must run in onnxruntime, got {one_line(error)}; export another format"
        ) from error


def _size(program: Program) -> int:
    return sum(t.nbytes for t in program.exported.state_dict.values())


def _tidy(model: Any) -> None:
    """Name the free dimension `batch`, and drop notes on the code that the network came from."""
    for value in (*model.graph.inputs, *model.graph.outputs, *_values(model.graph)):
        value.metadata_props.clear()
        if value.shape is not None and not value.shape.frozen:
            for i, size in enumerate(value.shape):
                if not isinstance(size, int) and size.value is not None:
                    value.shape[i] = re.sub(r"\bs\d+\b", "batch", str(size.value))
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()


def _values(graph: Any) -> Iterator[Any]:
    for node in graph.all_nodes():
        yield from node.outputs


def _explained(program: Program, error: BaseException) -> EvaluationError:
    """Return which layer has the operator that cannot be converted, and what to do."""
    cause: BaseException | None = error
    name, reason = "", one_line(error)
    while cause is not None:
        if found := _NODE.search(str(cause)):
            name = found[1]
        reason, cause = one_line(cause), cause.__cause__
    layer = _layer(program, name)
    where = f"the layer {layer}" if layer else "a layer that the exporter does not name"
    return EvaluationError(
        f"a network to export as ONNX must be made of operators that ONNX has, got {reason} in "
        f"{where}; write that layer with other functions of torch, or export torch or pt2"
    )


def _layer(program: Program, name: str) -> str:
    """Return the layer of a node of the program in the form that the exporter converts."""
    if not name:
        return ""
    with quiet():  # the exporter has taken operators apart until it met the one that it lacks
        apart = program.exported.run_decompositions(dict(decomposition_table))
    for graph in (program.exported.graph, apart.graph):
        for node in graph.nodes:
            if node.name == name:
                return program.layer(node)
    return ""
