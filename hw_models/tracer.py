"""`trace`: run a network's forward pass on tensors without data and write down what it does.

The project's only counter of parameters, multiply-adds and activation bytes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from threading import RLock, get_ident
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ..errors import TraceError
from .aten import run_on_meta
from .leaves import Leaf, known_leaves, only_forward
from .op_names import DRAWS, FREE, RANDOM, READERS
from .recorder import COMPILED, META, Place, Recorder, tensors_in, walk
from .rules import RULES
from .workload import AGAIN, Shape, Workload

_LOCK = RLock()  # a module is changed while a trace runs, and modules may share others
_CALL = "_compiled_call_impl"  # what `nn.Module` calls if it is there


def trace(module: nn.Module, example_input: Any) -> Workload:
    """Return the workload of one forward pass in evaluation mode.

    Nothing is computed: operands are meta tensors, whether the parameters are real or on meta.
    The module is left as it was (mode, parameters, buffers, hooks, attributes); hooks run, on
    tensors without data.

    Rules: one multiply-add is one MAC; convolutions, linear layers, recurrent layers and products
    of activations (attention included) count, biases, norms and poolings do not. Parameters are
    all of the module, shared ones once. Work on parameters alone counts, work on constants made
    in `forward` does not.

    Args:
        module: The network, real or on the meta device.
        example_input: A tensor, a tuple or list of positional arguments, or a mapping of keyword
            arguments, with batch 1 where the workload is to be scaled to other batches.

    Raises:
        TraceError: If the forward pass fails, or reads the values of a tensor (control flow or
            shapes that depend on data).
    """
    if not isinstance(module, nn.Module):
        raise TraceError(f"trace takes a torch.nn.Module, got {type(module).__name__}")
    module = getattr(module, COMPILED, module)
    modules = walk(module)
    _refuse_opaque(modules)
    with _uncollected():
        rec = Recorder(modules)
        return rec.finish(_run(module, example_input, rec))


def _run(module: nn.Module, example_input: Any, rec: Recorder) -> Any:
    """Return what the module returns for operands without data; `rec` sees what happens."""
    args, kwargs = _arguments(example_input, rec.input)
    with _LOCK, _untouched(rec), _names(rec), _no_fast_path(), torch.no_grad():
        try:
            with _Functions(rec):
                return module(*args, **kwargs)
        except TraceError:
            raise
        except Exception as error:
            if _depends_on_data(error):
                raise _refusal(rec, f"{type(error).__name__}: {error}") from error
            raise TraceError(
                f"the forward pass of {type(module).__name__} failed in {rec.where()} with "
                f"{type(error).__name__}: {error}; run it on real data to see whether the network "
                "or the example input is at fault"
            ) from error


def build_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Return `build()` with parameters that hold no data, which costs no initialisation.

    A constructor that cannot run on the meta device (it reads values that it made) is run
    normally: only the time differs. Global random generators are left as they were.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            with META:
                return build()
        except Exception:
            return build()  # what is wrong with it, if anything, shows here


def trace_built(build: Callable[[], nn.Module], example_input: Any) -> Workload:
    """Return the workload of what `build` makes, without the cost of initialising it.

    At another resolution it is built and traced once more where its shapes alone do not tell. A
    network that reads the values of its own buffers is built and traced once more, with them.

    Raises:
        TraceError: As `trace`.
    """
    try:
        found = trace(build_on_meta(build), example_input)
    except TraceError:
        found = trace(build(), example_input)
    operands = example_input if isinstance(example_input, tuple) else (example_input,)
    if all(isinstance(x, torch.Tensor) for x in operands):
        types = [x.dtype for x in operands]
        found.memo[AGAIN] = lambda shapes: _again(build, shapes, types)
    return found


def _again(
    build: Callable[[], nn.Module], shapes: Sequence[Shape], types: Sequence[torch.dtype]
) -> Workload:
    """Return the workload of what `build` makes, for inputs of other shapes."""
    pairs = zip(shapes, types, strict=True)
    return trace_built(build, tuple([torch.empty(s, dtype=t, device="meta") for s, t in pairs]))


class _Functions(TorchFunctionMode):
    """Every torch function and tensor method of the forward pass comes through here."""

    def __init__(self, rec: Recorder) -> None:
        super().__init__()
        self._rec = rec

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        rec = self._rec
        rule = RULES.get(func)
        if rule is not None and not rec.constants:
            out = rule(rec, func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        elif func in _FREE or (
            rule is None and type(func) is _GETTER and func.__name__ == "__get__"
        ):
            if func in _SIZES:
                rec.read_size()
            return func(*args, **kwargs)
        return self._general(rule, func, args, kwargs)

    def _general(self, rule: Any, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        rec = self._rec
        if func is torch.Tensor.requires_grad_ or getattr(func, "__name__", "") == "__set__":
            func(*rec.twins(args), **rec.twins(kwargs))  # p.data = ... must not reach the module
            return args[0]
        operands = list(tensors_in((args, kwargs)))
        if func in _READERS:
            return self._read(func, operands, args, kwargs)
        if not operands:
            return self._constant(func, args, kwargs)
        known = all(id(t) in rec.constants for t in operands)
        if known and func not in _DRAWS:  # such as arange(3) * 2: known values
            return self._keep(func(*args, **kwargs))
        if rule is not None and rec.constants:
            out = rule(rec, func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        return run_on_meta(rec, func, args, kwargs)

    def _constant(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Call a function without operands; what it makes is a constant with known values."""
        if func in _RANDOM:  # no draw: the caller's generator must not move
            return func(*args, **{**kwargs, "device": META, "generator": None})
        return self._keep(func(*args, **kwargs))

    def _keep(self, made: Any) -> Any:
        for tensor in tensors_in(made):
            if not tensor.is_meta:
                self._rec.constants[id(tensor)] = tensor
        return made

    def _read(self, func: Any, operands: list[torch.Tensor], args: Any, kwargs: Any) -> Any:
        """Read values where they do not depend on the input: constants and the module's state."""
        if any(t.is_meta for t in operands):
            raise _refusal(self._rec, getattr(func, "__name__", str(func)))
        return func(*args, **kwargs)


def _refusal(rec: Recorder, what: str) -> TraceError:
    return TraceError(
        f"{rec.where()} needs the values of a tensor ({what}); a network is traced without data, "
        "so its control flow and shapes must not depend on them: decide by shapes, or in the "
        "constructor"
    )


def _depends_on_data(error: Exception) -> bool:
    """Whether torch could not run an operator because its result depends on values."""
    text = str(error).lower()
    if isinstance(error, NotImplementedError) or "data-dependent" in text:
        return True
    return "cannot be called on meta tensors" in text


@contextmanager
def _untouched(rec: Recorder) -> Iterator[None]:
    """Run in evaluation mode and put every attribute back afterwards."""
    holders: list[dict[str, Any]] = []
    for _, m in rec.modules:
        own = m.__dict__
        holders += (own, own["_parameters"], own["_buffers"], own["_modules"])
    saved = [holder.copy() if holder else None for holder in holders]
    try:
        for _, m in rec.modules:
            m.__dict__["training"] = False  # not eval(): a network may do more in there
        yield
    finally:
        for holder, content in zip(holders, saved, strict=True):
            if holder:
                holder.clear()
            if content:
                holder.update(content)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the garbage collector from looking at a graph that grows and holds no garbage."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


@contextmanager
def _no_fast_path() -> Iterator[None]:
    """Keep transformer layers from fusing themselves, which they do for some padding masks."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def _names(rec: Recorder) -> Iterator[None]:
    """Tell the recorder which module is running, and let it stand for the modules that it knows.

    Each module gets a call of its own (where `Module.compile` would put one; `_untouched` takes it
    out again): replacing the method of the class would have Python forget what it has learned about
    all subclasses, and cost a fifth of the time.
    """
    thread, stack, readers, constants = get_ident(), rec.stack, rec.readers, rec.constants

    def call(
        module: nn.Module, place: Place, leaf: Leaf | None, run: Any, /, *args: Any, **kwargs: Any
    ) -> Any:
        if get_ident() != thread:
            return run(*args, **kwargs)
        stack.append(place)
        out = NotImplemented
        if leaf is not None and not kwargs and not constants and only_forward(module):
            out = leaf(rec, module, *args)
        if out is NotImplemented:
            out = run(*args, **kwargs)
        if readers:  # not in a finally: after a failure the stack says where
            rec.leave(out)
        else:
            stack.pop()
        return out

    leaves = known_leaves()
    for path, m in rec.modules:
        inside = m if (wrapped := m._modules.get(COMPILED)) is None else wrapped
        own = inside.__dict__.get(_CALL)
        leaf = leaves.get(type(inside)) if own is None else None
        place = (path, not inside._modules, type(inside).__module__.startswith("torch.nn."))
        m.__dict__[_CALL] = partial(call, inside, place, leaf, own or inside._call_impl)
    yield


def _arguments(example: Any, twin: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Any, Any]:
    def convert(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return twin(value)
        if isinstance(value, list | tuple):
            items = [convert(v) for v in value]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        if isinstance(value, Mapping):
            return {k: convert(v) for k, v in value.items()}
        return value

    if isinstance(example, Mapping):
        return (), convert(example)
    if isinstance(example, list | tuple):
        return tuple(convert(v) for v in example), {}
    if isinstance(example, torch.Tensor):
        return (twin(example),), {}
    raise TraceError(
        "the example input must be a tensor, a tuple of arguments or a mapping of keyword "
        f"arguments, got {type(example).__name__}"
    )


def _refuse_opaque(modules: Sequence[tuple[str, nn.Module]]) -> None:
    states: set[type] = {type(tensor) for _, m in modules for tensor in m._parameters.values()}
    states |= {type(tensor) for _, m in modules for tensor in m._buffers.values()}
    scripts = {c for c in {type(m) for _, m in modules} if issubclass(c, torch.jit.ScriptModule)}
    lazy = {c for c in states if issubclass(c, _LAZY)}
    if not scripts and not lazy:
        return
    for path, m in modules:
        if type(m) in scripts:
            raise TraceError(
                f"{path or 'the network'} is a TorchScript module, whose operations cannot be "
                "seen; pass the module it was made from"
            )
        if any(type(t) in lazy for t in (*m._parameters.values(), *m._buffers.values())):
            raise TraceError(
                f"{path or 'the network'} is a lazy module whose parameters have no shape yet; "
                "run the network once on real data first"
            )


_LAZY = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)
_GETTER = type(torch.Tensor.shape.__get__)  # type: ignore[attr-defined]
_FREE = {getattr(torch.Tensor, name) for name in FREE} | {
    torch.is_tensor,
    torch.is_floating_point,
    torch.is_complex,
    torch.is_grad_enabled,
    torch._C._set_grad_enabled,
    torch.get_default_dtype,
}
_SIZES = {torch.Tensor.shape.__get__} | {  # type: ignore[attr-defined]
    getattr(torch.Tensor, name) for name in ("size", "numel", "nelement", "__len__")
}
_READERS = {
    getattr(holder, name)
    for holder in (torch, torch.Tensor)
    for name in READERS
    if hasattr(holder, name)
} | {torch._pack_padded_sequence}
_RANDOM = {getattr(torch, name) for name in RANDOM}
_DRAWS = {
    getattr(holder, n) for holder in (torch, torch.Tensor) for n in DRAWS if hasattr(holder, n)
}
