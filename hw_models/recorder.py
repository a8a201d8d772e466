"""The graph while it grows: which tensor objects are weights, constants or activations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils._pytree import tree_flatten, tree_map

from ..errors import TraceError
from .graph import is_empty
from .workload import Kind, Layer, Role, Shape, Tensor, Workload

META = torch.device("meta")
# of a module: path, whether it has no submodules, whether it is torch's own
Place: TypeAlias = tuple[str, bool, bool]
COMPILED = "_orig_mod"  # where torch.compile's wrapper keeps the module


class Recorder:
    """Collects layers and tensors of one traced forward pass.

    Every real tensor that takes part gets a *twin* without data on the meta device, so that
    nothing is computed and nothing that belongs to the module can change.

    Args:
        modules: Path and module of the network being traced and of all modules in it.
    """

    def __init__(self, modules: Sequence[tuple[str, nn.Module]]) -> None:
        self.layers: list[Layer] = []
        self.stack: list[Place] = []  # of the modules that are running
        self.readers: set[int] = set()  # depths in it of modules that have read a size
        self.constants: dict[int, torch.Tensor] = {}  # made in forward from nothing; hold data
        self._tensors: list[tuple[tuple[int, ...], str, int, Role, int, int | None]] = []
        self._inputs: list[int] = []
        self._index: dict[int, int] = {}  # id of a tensor object -> its tensor
        # id -> (elements if it is a parameter, bytes, shape)
        self._weights: dict[int, tuple[int, int, Shape]] = {}
        self._twins: dict[int, torch.Tensor] = {}
        self._alive: list[Any] = []  # ids stay valid as long as the objects live
        # id of a tensor that shares memory with no other -> shape, dtype, bytes
        self._fresh: dict[int, tuple[Shape, str, int]] = {}
        self._names: dict[str, int] = {}
        self.modules = modules
        parameters = {id(t): t for _, m in modules for t in m._parameters.values() if t is not None}
        buffers = {id(t): t for _, m in modules for t in m._buffers.values() if t is not None}
        self._add_weights(buffers.values(), False)
        self._add_weights(parameters.values(), True)
        self.params = sum([self._weights[key][0] for key in parameters])
        self.weight_bytes = sum([weight[1] for weight in self._weights.values()])

    def _add_weights(self, tensors: Iterable[torch.Tensor], parameters: bool) -> None:
        weights, alive, formats = self._weights, self._alive, _FORMATS
        for tensor in tensors:
            elements, dtype = tensor.numel(), tensor.dtype
            size_bytes = elements * (formats.get(dtype) or _format(dtype))[1]
            weights[id(tensor)] = (elements if parameters else 0, size_bytes, tuple(tensor.shape))
            alive.append(tensor)

    def leave(self, returned: Any) -> None:
        """Note that a module has run; whoever gets a number from it may have got a size."""
        depth = len(self.stack)
        self.stack.pop()
        if depth in self.readers:
            self.readers.discard(depth)
            if any(isinstance(v, int | float) for v in tree_flatten(returned)[0]):
                self.readers.add(depth - 1)

    def read_size(self) -> None:
        """Note that the running module has read the size of a tensor."""
        self.readers.add(len(self.stack))

    @property
    def sized(self) -> bool:
        """Whether numbers that an operator is called with may come from the size of a tensor.

        So it is once the running module, or one that it runs in, has read a size. What torch's own
        modules call operators with was given to their constructors.
        """
        return bool(self.readers) and not (self.stack and self.stack[-1][2])

    def where(self) -> str:
        """Return the path of the module that is running, for messages."""
        return (self.stack[-1][0] if self.stack else "") or "the network itself"

    def twin(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the meta tensor that stands for `tensor` (itself when it is on meta)."""
        if tensor.is_meta:
            return tensor
        key = id(tensor)
        twin = self._twins.get(key)
        if twin is None:
            twin = torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META
            )
            self._twins[key] = twin
            self._alive += (tensor, twin)
            if key in self._weights:
                self._weights[id(twin)] = self._weights[key]
            else:
                if key not in self._index:
                    self._index[key] = self._new_tensor(twin, "constant")
                self._index[id(twin)] = self._index[key]
        return twin

    def twins(self, value: Any) -> Any:
        """Return `value` (any nesting) with its tensors replaced by their twins."""
        return tree_map(lambda v: self.twin(v) if isinstance(v, torch.Tensor) else v, value)

    def is_weight(self, tensor: torch.Tensor) -> bool:
        """Whether `tensor` is a parameter or buffer of the module, or a view of one."""
        return id(tensor) in self._weights

    def input(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the twin of an input of the network.

        Raises:
            TraceError: If a dimension is not a number, or 0.
        """
        if not all(type(size) is int and size > 0 for size in tensor.shape):
            raise TraceError(
                "every dimension of an example input must be a positive number, got "
                f"{tuple(tensor.shape)}; a network is costed for one size at a time"
            )
        twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=META)
        self._alive.append(twin)
        self._index[id(twin)] = self._new_tensor(twin, "input")
        self._inputs.append(self._index[id(twin)])  # in-place layers give the object a new index
        return twin

    def empty(self, shape: Iterable[int], like: torch.Tensor) -> torch.Tensor:
        """Return a new tensor of this shape, with the type of `like`."""
        size, dtype = tuple(shape), like.dtype
        made = torch.empty(size, dtype=dtype, device=META)
        name, item_bytes = _format(dtype)
        self._fresh[id(made)] = (size, name, math.prod(size) * item_bytes)
        self._alive.append(made)
        return made

    def layer(
        self,
        kind: Kind,
        op: str,
        inputs: Sequence[torch.Tensor],
        outputs: Sequence[torch.Tensor],
        *,
        macs: int = 0,
        view: bool = False,
        kernel: tuple[int, ...] = (),
        stride: tuple[int, ...] = (),
        padding: tuple[int, ...] = (),
        dilation: tuple[int, ...] = (),
        groups: int = 1,
        axes: tuple[int, ...] = (),
        ceil: bool = False,
        bounds: tuple[tuple[int | None, int | None, int | None], ...] = (),
        sized: bool = False,
    ) -> None:
        """Append a layer; keywords are further fields of `Layer`.

        Outputs that are the same objects as an input (in-place) or share its memory (views) live
        in the memory of that input. A view of a weight is a weight, and no layer.
        """
        weights, index, table = self._weights, self._index, self._tensors
        sources: list[int] = []
        shapes: list[Shape] = []
        weight_shapes: list[Shape] = []
        params = weight_bytes = read = 0
        for tensor in inputs:
            key = id(tensor)
            if (weight := weights.get(key)) is not None:
                params += weight[0]
                weight_bytes += weight[1]
                weight_shapes.append(weight[2])
                continue
            if (source := index.get(key)) is None:
                source = self._tensor_of(tensor)
            entry = table[source]
            sources.append(source)
            shapes.append(entry[0])
            read += entry[2]
        if view and not sources:
            for tensor in outputs:
                self._add_view(tensor, params > 0)
            return
        here = len(self.layers)
        results = [
            self._written(t, fresh, here)
            if (fresh := self._fresh.pop(id(t), None))
            else self._result(t, inputs, sources, here)
            for t in outputs
        ]
        if len(results) == 1:
            entry = table[results[0]]
            output_shapes: tuple[Shape, ...] = (entry[0],)
            written = entry[2]
        else:
            output_shapes = tuple([table[i][0] for i in results])
            written = sum([table[i][2] for i in results])
        fields = (  # in the order of the fields: by name it takes twice as long
            self._name(op),
            kind,
            op,
            tuple(sources),
            tuple(results),
            tuple(shapes),
            output_shapes,
            macs,
            params,
            weight_bytes,
            read,
            written,
            view,
            kernel,
            stride,
            padding,
            dilation,
            groups,
            axes,
            tuple(weight_shapes),
            ceil,
            bounds,
            sized,
        )
        self.layers.append(tuple.__new__(Layer, fields))

    def _add_view(self, tensor: torch.Tensor, parameter: bool) -> None:
        """Note a view of a weight, which is a weight; its bytes have been counted."""
        self._add_weights((tensor,), parameter)

    def finish(self, outputs: Any) -> Workload:
        """Return what was recorded as a `Workload`.

        Raises:
            TraceError: If a layer computes a tensor without elements.
        """
        for layer in self.layers:
            if is_empty(layer):
                raise TraceError(
                    f"layer {layer.name!r} ({layer.op}) computes a tensor of shape "
                    f"{layer.output_shapes[0]}, which is empty; give a larger input, or fewer "
                    "strides before it"
                )
        results = [self._tensor_of(t) for t in _returned(outputs) if not self.is_weight(t)]
        consumers: list[list[int]] = [[] for _ in self._tensors]
        for number, layer in enumerate(self.layers):
            read = layer.inputs
            for index in read if len(read) < 2 else set(read):
                consumers[index].append(number)
        tensors = [
            tuple.__new__(Tensor, (*fields, tuple(readers)))  # by name it takes twice as long
            for fields, readers in zip(self._tensors, consumers, strict=True)
        ]
        return Workload(
            self.layers,
            tensors,
            inputs=self._inputs,
            outputs=results,
            params=self.params,
            weight_bytes=self.weight_bytes,
        )

    def _tensor_of(self, tensor: torch.Tensor) -> int:
        index = self._index.get(id(tensor))
        if index is None:
            index = self._index[id(tensor)] = self._adopt(tensor)
            self._alive.append(tensor)
        return index

    def _adopt(self, tensor: torch.Tensor) -> int:
        """Return the tensor of an object that no recorded layer made.

        A custom autograd function hands back new objects for known memory; anything else comes
        from outside the network's input: a constant.
        """
        if tensor.is_meta:
            memory = tensor.untyped_storage()._cdata
            for known in reversed(self._alive):
                shares = known.is_meta and known.untyped_storage()._cdata == memory
                if shares and id(known) in self._index:
                    return self._index[id(known)]
        return self._new_tensor(tensor, "constant")

    def _result(
        self, tensor: torch.Tensor, inputs: Sequence[torch.Tensor], sources: list[int], here: int
    ) -> int:
        operands = [t for t in inputs if id(t) not in self._weights]
        storage = None
        memory = tensor.untyped_storage()._cdata
        for operand, source in zip(operands, sources, strict=True):
            if operand is tensor or operand.untyped_storage()._cdata == memory:
                owner = self._tensors[source][4]
                storage = None if self._tensors[owner][3] == "constant" else owner
                break
        if self.constants and not tensor.is_meta:  # written in place: its values are not known
            for key, constant in list(self.constants.items()):
                if constant.untyped_storage()._cdata == memory:
                    del self.constants[key]
        index = self._new_tensor(tensor, "activation", storage, here)
        self._index[id(tensor)] = index
        self._alive.append(tensor)
        return index

    def _written(self, tensor: torch.Tensor, fresh: tuple[Shape, str, int], here: int) -> int:
        index = self._index[id(tensor)] = len(self._tensors)
        self._tensors.append((*fresh, "activation", index, here))
        return index

    def _new_tensor(
        self,
        tensor: torch.Tensor,
        role: Role,
        storage: int | None = None,
        producer: int | None = None,
    ) -> int:
        index = len(self._tensors)
        shape = tuple(tensor.shape)
        dtype, item_bytes = _format(tensor.dtype)
        owner = index if storage is None else storage
        size_bytes = math.prod(shape) * item_bytes
        self._tensors.append((shape, dtype, size_bytes, role, owner, producer))
        return index

    def _name(self, op: str) -> str:
        path, leaf, _ = self.stack[-1] if self.stack else ("", False, False)
        name = path if leaf and path else f"{path}.{op}" if path else op
        repeat = self._names.get(name, 0)
        self._names[name] = repeat + 1
        return f"{name}#{repeat + 1}" if repeat else name


def walk(root: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return (path, module) as `named_modules` does, without its nested generators."""
    found: dict[int, tuple[str, nn.Module]] = {}

    def visit(path: str, module: nn.Module) -> None:
        found[id(module)] = (path, module)
        prefix = f"{path}." if path else ""
        for name, child in module._modules.items():
            if child is not None and id(child) not in found:
                visit(path if name == COMPILED else prefix + name, child)  # the wrapper has no name

    visit("", root)
    return list(found.values())


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a value of any nesting, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif value is not None:
        yield from (v for v in tree_flatten(value)[0] if isinstance(v, torch.Tensor))


def _returned(value: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors that a network returns, also in mappings and records of its own."""
    if is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _returned(item)
    else:
        yield from tensors_in(value)


_FORMATS: dict[torch.dtype, tuple[str, int]] = {}


def _format(dtype: torch.dtype) -> tuple[str, int]:
    """Return the name and the bytes of a number format."""
    known = _FORMATS.get(dtype)
    if known is None:
        known = _FORMATS[dtype] = (str(dtype).removeprefix("torch."), dtype.itemsize)
    return known
