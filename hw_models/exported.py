"""Workloads of exported programs (`torch.export`, files `.pt2`), read without running a pickle.

`torch.export.load` unpickles the example inputs of a file, and weights of unusual types, without
limits: a file could run any code. Here an archive is copied without its example inputs, and one
that holds further pickles, compiled code or parts that are not known is refused.
"""

from __future__ import annotations

import io
import json
import operator
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.utils import _pytree as pytree

from ..errors import SpecError
from .input_shapes import fitted
from .tracer import trace
from .workload import Shape, Workload

_HARMLESS = re.compile(
    r"^(models/[^/]+\.json|archive_format|archive_version|byteorder|\.data/[a-z_]+|version"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+|extra/.*"
    r"|data/(weights|constants)/[^/]+_config\.json)$"
)
_SAMPLES = "data/sample_inputs/"


def read_exported(path: Path, shapes: Sequence[Shape] = ()) -> Workload:
    """Return the workload of the program in a `.pt2` file.

    Args:
        path: The file, as `torch.export.save` writes it.
        shapes: Of its inputs, in order; needed where the program leaves dimensions open.

    Raises:
        SpecError: If the file is none, holds pickles, has open dimensions and no shapes, or does
            not take these shapes.
        TraceError: If the program cannot be followed without data.
    """
    try:
        program = torch.export.load(without_pickles(path))
    except (SpecError, MemoryError):
        raise
    except Exception as error:
        raise SpecError(
            f"{path} must be a program that torch.export.save wrote with this version of torch "
            f"({torch.__version__}); loading it raised {type(error).__name__}: {error}"
        ) from error
    args, kwargs = _inputs(program, path, shapes)
    if args and kwargs:
        raise SpecError(
            f"{path} takes positional and keyword inputs, and only one kind can be given; export "
            "it with positional ones"
        )
    return trace(_Scoped(program.module()), kwargs or tuple(args))


class _Scoped(nn.Module):
    """Runs a program node by node, each inside a module named as the one that it came from.

    The program itself is a flat list of operators; layers are to be called as in the network that
    was exported.
    """

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__()
        self._program = program
        paths = {node: _path(node) for node in program.graph.nodes if _computes(node)}
        steps = Counter(paths.values())
        self._scopes = {
            node: _scope(self, path, several=steps[path] > 1)
            for node, path in paths.items()
            if path
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program."""
        flat = pytree.tree_leaves((args, kwargs))
        interpreter = _Nodes(self._program, self._scopes)
        codegen = self._program.graph._codegen
        return codegen.process_outputs(interpreter.run(*flat, enable_io_processing=False))


class _Nodes(fx.Interpreter):
    def __init__(self, program: fx.GraphModule, scopes: Mapping[fx.Node, nn.Module]) -> None:
        super().__init__(program)
        self._scopes = scopes

    def run_node(self, n: fx.Node) -> Any:
        """Run one node in its scope."""
        step = super().run_node
        scope = self._scopes.get(n)
        return step(n) if scope is None else scope(lambda: step(n))

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operator; that of a norm without the statistics that it returns for training."""
        if target is torch.ops.aten.batch_norm.default and not kwargs:
            x, weight, bias, mean, var, training, momentum, eps, _ = args
            return F.batch_norm(x, mean, var, weight, bias, training, momentum, eps)
        return super().call_function(target, args, kwargs)


class _Scope(nn.Module):
    def forward(self, step: Callable[[], Any]) -> Any:
        """Take a step that belongs here."""
        return step()


def _computes(node: fx.Node) -> bool:
    return node.op == "call_function" and node.target is not operator.getitem


def _path(node: fx.Node) -> str:
    """Return the dotted path of the module that a node came from; empty for the network itself."""
    stack = node.meta.get("nn_module_stack") or {}
    found = [str(entry[0]) for entry in stack.values()]
    return re.sub(r"^L\['self'\]\.?", "", found[-1]).split("@")[0] if found else ""


def _scope(root: nn.Module, path: str, *, several: bool) -> nn.Module:
    """Return the module of a path below `root`, made where it is not there.

    One that runs several operators has a part, so that layers are named by their operators too.
    """
    module = root
    for name in path.split("."):
        if name not in module._modules:
            module.add_module(name, _Scope())
        module = module._modules[name]  # type: ignore[assignment]
    if several and not module._modules:
        module.add_module("_", nn.Identity())
    return module


def without_pickles(path: Path, data: io.BytesIO | None = None) -> io.BytesIO:
    """Return the archive without the example inputs.

    Args:
        path: The archive.
        data: What will stand there, if it does not yet.

    Raises:
        SpecError: If it is no such archive, or holds what only a pickle (or a compiler) made.
    """
    try:
        copy = io.BytesIO()
        with zipfile.ZipFile(data or path) as source, zipfile.ZipFile(copy, "w") as target:
            names = {
                entry.filename: entry.filename.partition("/")[2] for entry in source.infolist()
            }
            if not any(name.startswith("models/") for name in names.values()):
                raise SpecError(
                    f"{path} must be an archive that torch.export.save wrote (torch 2.8 or "
                    "newer), got another one; export the network again"
                )
            for entry, name in names.items():
                target.writestr(entry, _checked(source, entry, name, path))
    except (OSError, zipfile.BadZipFile, ValueError, KeyError) as error:
        raise SpecError(f"{path} must be a whole .pt2 archive: {error}; export it again") from error
    copy.seek(0)
    return copy


def _checked(source: zipfile.ZipFile, entry: str, name: str, path: Path) -> bytes:
    if name.startswith(_SAMPLES):
        return b""
    if not _HARMLESS.match(name):
        raise SpecError(
            f"{path} holds {name}, a pickled or compiled part, and pickles of others can run any "
            "code; export the network with plain tensors as weights (torch.export.save)"
        )
    data = source.read(entry)
    if name.endswith("_config.json") and any(_pickled(json.loads(data))):
        raise SpecError(
            f"{path} holds pickled tensors ({name}), and pickles of others can run any code; "
            "export the network with plain, dense tensors"
        )
    return data


def _pickled(config: Mapping[str, Any]) -> Iterator[bool]:
    for payload in config["config"].values():
        tensor = str(payload["path_name"]).startswith(("weight_", "tensor_"))
        yield bool(payload["use_pickle"]) or not tensor


def _inputs(
    program: Any, path: Path, shapes: Sequence[Shape]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """Return the arguments to call the program with: tensors without data."""
    nodes = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    given = [
        nodes.get(i, i) if isinstance(i, str) else i for i in program.graph_signature.user_inputs
    ]
    names = [str(i) for i in program.graph_signature.user_inputs]
    tensors = [i for i, value in enumerate(given) if isinstance(value, torch.Tensor)]
    if shapes and len(shapes) != len(tensors):
        raise SpecError(
            f"{path} takes {len(tensors)} tensors ({', '.join(names[i] for i in tensors)}), got "
            f"{len(shapes)} shapes; give one shape for each"
        )
    for position, i in enumerate(tensors):
        fixed = [size if isinstance(size, int) else None for size in given[i].shape]
        shape = fitted(path, names[i], fixed, shapes[position] if shapes else None)
        given[i] = torch.empty(shape, dtype=given[i].dtype, device="meta")
    args, kwargs = pytree.tree_unflatten(given, program.call_spec.in_spec)
    return args, kwargs
