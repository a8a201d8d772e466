"""Running a module once and noting which of its layers depend on each other's widths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .axes import Axis, Dims, freeze, frozen
from .rules import rule_for, unknown

Layer = nn.Conv2d | nn.Linear | nn.BatchNorm2d | nn.LayerNorm


@dataclass
class Found:
    """What became of a layer.

    Args:
        reads: The axis of its input, or of the channels that a norm or a depthwise layer keeps.
        writes: The axis of its output; the same one where it keeps the channels.
        times: Elements of the input dimension per element of the axis (a flattened map).
        keeps: Whether it keeps the channels: a norm, a depthwise convolution.
    """

    reads: Axis
    writes: Axis
    times: int = 1
    keeps: bool = False


@dataclass
class Record:
    """What a run of a module showed.

    Args:
        layers: Path -> what became of the layer.
        calls: Path of every module that ran -> dimensions of its only input and of its output.
        residual: Paths of modules that add something to their input.
        repeated: Paths of modules that ran more than once.
    """

    layers: dict[str, Found] = field(default_factory=dict)
    calls: dict[str, tuple[Dims, Dims]] = field(default_factory=dict)
    residual: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)


def record(module: nn.Module, example_input: Tensor) -> Record:
    """Run `module` on `example_input` in eval mode and return what depends on what.

    Raises:
        Exception: Whatever the module raises.
    """
    recorder = _Recorder(module)
    training = {m: m.training for m in module.modules()}
    module.eval()
    try:
        with torch.no_grad(), recorder.watching(), recorder:
            recorder.note(example_input, frozen(example_input.shape, "it is an input"))
            output = module(example_input)
    finally:
        for layer, mode in training.items():
            layer.training = mode
    for tensor in tensors(output):
        freeze(recorder.known(tensor), "it is an output of the network")
    return recorder.record


class _Recorder(TorchFunctionMode):
    """Follows the axes of every tensor through the functions that a module calls."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.record = Record()
        self._module = module
        self._added: set[int] = set()  # ids of tensors that were a term of a sum
        self._dims: dict[int, tuple[Tensor, Dims]] = {}  # the tensor is kept: ids are not reused
        self._names = {id(p): name for name, p in module.named_parameters(remove_duplicate=False)}
        self._names |= {id(b): name for name, b in module.named_buffers(remove_duplicate=False)}
        found: dict[int, list[tuple[str, nn.Module]]] = {}
        for path, layer in module.named_modules():
            if isinstance(layer, Layer) and isinstance(layer.weight, Tensor):
                found.setdefault(id(layer.weight), []).append((path, layer))
        # a weight that two layers share cannot be cut for one of them
        self._layers = {key: layers[0] for key, layers in found.items() if len(layers) == 1}

    def note(self, tensor: Tensor, dims: Dims) -> None:
        self._dims[id(tensor)] = (tensor, dims)

    def known(self, tensor: Tensor) -> Dims:
        """Return the dimensions of a tensor; those of one from elsewhere are frozen."""
        if id(tensor) not in self._dims:
            name = self._names.get(id(tensor), "a tensor that the module makes itself")
            reason = f"{name} has this size and belongs to no layer that can be cut"
            self.note(tensor, frozen(tensor.shape, reason))
        return self._dims[id(tensor)][1]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not any(True for _ in tensors(result)):
            return result  # a shape, a flag
        name = getattr(func, "__name__", str(func))
        if isinstance(result, Tensor):
            self.note(result, self._apply(name, args, kwargs, result))
        else:
            for tensor in tensors(result):
                self.note(tensor, unknown(name, self.known, args, kwargs, tensor))
        return result

    def _apply(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Tensor
    ) -> Dims:
        layer = next(
            (self._layers[id(a)] for a in (*args[1:], *kwargs.values()) if id(a) in self._layers),
            None,
        )
        if layer is not None and name in _LAYER_RULES:
            return _LAYER_RULES[name](self, *layer, args[0], result)
        if name.strip("_") in ("add", "iadd", "radd"):
            self._added.update(id(a) for a in args)
        rule = rule_for(name)
        return (rule or unknown)(name, self.known, args, kwargs, result)

    # ------------------------------------------------------------------ layers
    def _conv2d(self, path: str, layer: nn.Conv2d, x: Tensor, result: Tensor) -> Dims:
        dims = self.known(x)
        sides = frozen(result.shape[-2:], "it is a side of an image")
        reads = dims[1][0] if len(dims[1]) == 1 else Axis(layer.in_channels)
        depthwise = layer.groups == layer.in_channels == layer.out_channels > 1
        writes = reads if depthwise else Axis(layer.out_channels)
        if (layer.groups > 1 and not depthwise) or layer.padding_mode != "zeros":
            reason = f"{path} has {layer.groups} groups and padding mode {layer.padding_mode}"
            freeze((dims[1], (writes,)), reason)
        if isinstance(layer.padding, str):
            freeze((dims[1], (writes,)), f"{path} writes its padding as {layer.padding!r}")
        if len(dims[1]) > 1:
            freeze((dims[1], (writes,)), f"the channels of {path} are made of several axes")
        self._found(path, Found(reads, writes, keeps=depthwise))
        return (dims[0], (writes,) if writes.size != 1 else (), *sides)

    def _linear(self, path: str, layer: nn.Linear, x: Tensor, result: Tensor) -> Dims:
        dims = self.known(x)
        read, writes = dims[-1], Axis(layer.out_features)
        reads = read[0] if read else Axis(1, "it has one element")
        freeze((read[1:],), f"{path} reads it inside of another axis")
        self._found(path, Found(reads, writes, layer.in_features // reads.size))
        return (*dims[:-1], (writes,) if writes.size != 1 else ())

    def _norm(self, path: str, layer: nn.Module, x: Tensor, result: Tensor) -> Dims:
        dims = self.known(x)
        dim = dims[1] if isinstance(layer, nn.BatchNorm2d) else dims[-1]
        if isinstance(layer, nn.LayerNorm) and len(layer.normalized_shape) > 1:
            freeze(dims, f"{path} normalises over several dimensions")
        elif len(dim) != 1:
            freeze((dim,), f"{path} normalises over several axes")
        else:
            self._found(path, Found(dim[0], dim[0], keeps=True))
        return dims

    def _found(self, path: str, found: Found) -> None:
        """Note a layer; one that is called again has the same axes again."""
        before = self.record.layers.setdefault(path, found)
        if before is not found:
            before.reads.join(found.reads)
            before.writes.join(found.writes)
            if before.times != found.times:
                freeze(((before.reads,),), f"{path} reads maps of different sizes")

    # ------------------------------------------------------------------ modules
    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what goes into and comes out of every module."""
        handles = [
            layer.register_forward_hook(self._watch(path))
            for path, layer in self._module.named_modules()
            if path
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _watch(self, path: str) -> Callable[..., None]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if path in self.record.calls:
                self.record.repeated.add(path)
            if len(inputs) == 1 and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                self.record.calls[path] = (self.known(inputs[0]), self.known(output))
                if id(inputs[0]) in self._added:
                    self.record.residual.add(path)

        return hook


_LAYER_RULES: dict[str, Callable[..., Dims]] = {
    "conv2d": _Recorder._conv2d,
    "linear": _Recorder._linear,
    "batch_norm": _Recorder._norm,
    "layer_norm": _Recorder._norm,
}


def tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors inside of lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        yield from tensors(list(value.values()))
