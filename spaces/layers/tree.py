"""Walking over a module with mutable layers: its decisions, and cutting it down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from ...errors import SpecError
from ..decision import Decision, Option
from .mutable import Choice, Context, Mutable, Size


def derive_decisions(module: nn.Module) -> tuple[Decision, ...]:
    """Return the decisions of the mutable layers of `module`, in the order of its layers.

    A decision inside a candidate of `OneOf`, or in a block of `Repeat`, is conditional on it. One
    that several layers share is active where any of them runs (where that cannot be said by one
    condition per decision, it is active more often and then changes nothing).

    Raises:
        SpecError: If there is none, or two choices share a name, or a layer refers to a choice
            that no mutable layer reads.
    """
    contexts: dict[Choice, list[Context]] = {}
    for layer, context in _walk(module, {}):
        for choice in layer.choices:
            contexts.setdefault(choice, []).append(context)
    if not contexts:
        raise SpecError(
            f"{type(module).__name__} holds no decision; a ModuleSpace needs at least one mutable "
            "layer (OneOf, Repeat, an elastic layer with a Choice)"
        )
    names: dict[str, Choice] = {}
    for choice in contexts:
        if names.setdefault(choice.name, choice) is not choice:
            raise SpecError(
                f"the decision name {choice.name!r} is used twice in {type(module).__name__}; "
                "choose another, or share one Choice object to decide both together"
            )
    _check_references(module, contexts)
    return tuple(_decision(choice, found) for choice, found in contexts.items())


def mutables(module: nn.Module) -> Iterator[Mutable]:
    """Yield the mutable layers of `module`, outer ones first."""
    for layer in module.modules():
        if isinstance(layer, Mutable):
            yield layer


def running(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of `module` that the active options run, outer ones first."""
    yield module
    if isinstance(module, Mutable):
        for child, context in module.branches():
            if all(choice.active in options for choice, options in context.items()):
                yield from running(child)
    else:
        for child in module.children():
            yield from running(child)


def cut(module: nn.Module, inherit: bool) -> nn.Module:
    """Return `module` without its mutable layers, each replaced by its active options.

    Works in place on everything that stays; give it a copy.

    Args:
        module: With the wanted options active.
        inherit: Whether elastic layers pass on slices of their weights, or draw new ones.
    """
    known = set(module.modules())
    done: dict[nn.Module, nn.Module] = {}  # a layer used twice is cut once

    def plain(layer: nn.Module) -> nn.Module:
        if layer not in done:
            new = layer
            while isinstance(new, Mutable):
                new = new.cut(inherit)
            if new not in known:
                new.training = layer.training
            done[layer] = done[new] = new
            for name, child in list(new._modules.items()):  # with every name of a shared layer
                if child is not None:
                    setattr(new, name, plain(child))
        return done[layer]

    network = plain(module)
    for layer in network.modules():
        for name, value in list(vars(layer).items()):
            if name not in _REGISTRIES and (new := _replaced(value, done)) is not value:
                object.__setattr__(layer, name, new)
    return network


_REGISTRIES = vars(nn.Module()).keys()


def _replaced(value: Any, done: Mapping[nn.Module, nn.Module]) -> Any:
    """Return `value` with the layers that were cut in it, where a module lists them once more."""
    if isinstance(value, Mutable):
        return done.get(value, value)
    items: list[Any] = []
    if type(value) in (list, tuple):
        items = list(value)
    elif type(value) is dict:
        items = list(value.values())
    new = [_replaced(item, done) for item in items]
    if all(a is b for a, b in zip(new, items, strict=True)):
        return value
    return dict(zip(value, new, strict=True)) if type(value) is dict else type(value)(new)


def _walk(module: nn.Module, context: Context) -> Iterator[tuple[Mutable, Context]]:
    if not isinstance(module, Mutable):
        for child in module.children():
            yield from _walk(child, context)
        return
    yield module, context
    for child, extra in module.branches():
        yield from _walk(child, {**context, **extra})


def _decision(choice: Choice, contexts: list[Context]) -> Decision:
    common = set(contexts[0]).intersection(*contexts[1:])
    when: dict[str, tuple[Option, ...]] = {}
    for parent in contexts[0]:
        if parent in common and parent is not choice:
            options = tuple(o for o in parent.options if any(o in c[parent] for c in contexts))
            if len(options) < len(parent.options):
                when[parent.name] = options
    d = choice.decision
    return Decision(d.name, d.options, ordered=d.ordered, when=when or None)


def _check_references(module: nn.Module, known: dict[Choice, list[Context]]) -> None:
    for path, layer in module.named_modules():
        for attribute, value in vars(layer).items():
            for choice in value.choices if isinstance(value, Size) else ():
                if choice not in known:
                    raise SpecError(
                        f"{path or type(module).__name__}.{attribute} refers to the choice "
                        f"{choice.name!r}, which no mutable layer reads; decisions must be held "
                        "by mutable layers"
                    )
