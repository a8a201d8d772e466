"""An exported program as Python code that needs torch alone."""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from ...errors import EvaluationError
from .program import Program

_CHECKS = ("aten._assert_", "aten.sym_constrain_range", "aten._assert_async")
_WORDS = frozenset({"self", "t", "torch", "operator", "math", "nn", "x", "check"})


def forward_code(program: Program) -> list[str]:
    """Return the lines of a function body: `x` and the tensors `t[name]` in, outputs returned.

    Raises:
        EvaluationError: If the program has an operator that is not torch's own.
    """
    names, lines = _inputs(program), list[str]()
    nodes = _alive(program.exported.graph)
    last = _last_uses(nodes)
    for node in nodes:
        if node.op == "call_function":
            names[node] = f"{node.name}_" if node.name in _WORDS else node.name
            given = [_text(a, names) for a in node.args]
            given += [f"{k}={_text(v, names)}" for k, v in node.kwargs.items()]
            called = _function(program, node)
            lines.append(f"{names[node]} = {called}({', '.join(given)})")
            done = [names[n] for n in last.get(node, ()) if n.op == "call_function"]
            lines += [f"del {', '.join(done)}"] if done else []
        elif node.op == "output":
            lines.append(f"return {_output(program, node, names)}")
        elif node.op != "placeholder":
            raise _unknown(program, node, f"{node.op} {node.target}")
    return lines


def tensors(program: Program) -> Iterator[tuple[str, Tensor, str]]:
    """Yield name, tensor and kind (parameter, buffer, constant) of all that the program holds."""
    given, signature = program.exported, program.exported.graph_signature
    parameters = set(signature.parameters)
    for name, value in given.state_dict.items():
        yield name, value.detach(), "parameter" if name in parameters else "buffer"
    for name, value in given.constants.items():
        if not isinstance(value, Tensor):
            raise EvaluationError(
                f"a network to export as code must hold tensors alone, got {name}, a "
                f"{type(value).__name__}; export it as pt2"
            )
        yield name, value.detach(), "constant"


def _inputs(program: Program) -> dict[fx.Node, str]:
    """Return what each placeholder is called in the code."""
    signature = program.exported.graph_signature
    held: Mapping[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    places = [n for n in program.exported.graph.nodes if n.op == "placeholder"]
    return {n: f"t[{held[n.name]!r}]" if n.name in held else "x" for n in places}


def _alive(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes without checks, and without the sizes that nothing but them asked for."""
    kept: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        target = str(node.target)
        check = node.op == "call_function" and target.startswith(_CHECKS)
        pure = node.target is operator.getitem or "sym_" in target or _on_numbers(node.target)
        unused = node.op == "call_function" and pure and not any(u in kept for u in node.users)
        if not check and not unused:
            kept.add(node)
    return [node for node in graph.nodes if node in kept]


def _on_numbers(target: Any) -> bool:
    return isinstance(target, types.BuiltinFunctionType) and target.__module__ == "_operator"


def _last_uses(nodes: Sequence[fx.Node]) -> dict[fx.Node, list[fx.Node]]:
    """Return, for each node, the values that nothing after it reads: they can be freed there."""
    last: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        for used in node.all_input_nodes:
            last[used] = node
    found: dict[fx.Node, list[fx.Node]] = {}
    for used, node in last.items():
        if node.op != "output":
            found.setdefault(node, []).append(used)
    return found


def _function(program: Program, node: fx.Node) -> str:
    """Return how the code calls a node's operator."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return f"torch.ops.{target}"
    name = getattr(target, "__name__", "")
    for module in (operator, math, torch):
        if name and getattr(module, name, None) is target:
            return f"{module.__name__}.{name}"
    raise _unknown(program, node, str(target))


def _unknown(program: Program, node: fx.Node, what: str) -> EvaluationError:
    return EvaluationError(
        f"a network to export as code must be made of torch's own operators, got {what} in the "
        f"layer {program.layer(node)}; export it as pt2, or write the layer with torch's functions"
    )


def _output(program: Program, node: fx.Node, names: Mapping[fx.Node, str]) -> str:
    spec = program.exported.call_spec.out_spec
    flat = [_text(value, names) for value in node.args[0]]  # type: ignore[union-attr]
    return _nested(pytree.tree_unflatten(flat, spec))


def _nested(value: Any) -> str:
    """Return the code of tuples, lists and mappings of names."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!r}: {_nested(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_nested, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_nested, value))}{',' if len(value) == 1 else ''})"
    raise EvaluationError(
        f"a network to export as code must return tensors in lists, tuples or mappings, got "
        f"{type(value).__name__}; export it as pt2"
    )


def _text(value: Any, names: Mapping[fx.Node, str]) -> str:
    """Return an argument as code."""
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, list | tuple):
        inner = ", ".join(_text(v, names) for v in value)
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, slice):
        return f"slice({', '.join(_text(v, names) for v in (value.start, value.stop, value.step))})"
    if isinstance(value, torch.device):
        return "x.device"  # the network runs where its input is
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return str(value)
    raise EvaluationError(
        f"a network to export as code must call operators with plain values, got "
        f"{type(value).__name__} {value!r}; export it as pt2"
    )
