"""Spaces of NNI in a spec: an import path as the name, or `{name: nni, class: PATH}`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import to_jsonable_python

from ...errors import NetloomError, SpecError
from ...options import Path, Problem, SpecProblems, options_of, resolve
from ...spaces import DecisionSpace
from .spec import Named

NNI = "nni"
_EXAMPLE = "nni.nas.hub.pytorch:MobileNetV3Space"
_ARGUMENTS = {  # what a data set decides -> what NNI's classes call it
    "classes": ("num_labels", "num_classes", "classes"),
    "resolution": ("img_size", "image_size", "resolution"),
    "in_channels": ("in_chans", "in_channels"),
}


def renamed(named: Named, where: Path) -> Named:
    """Return `{name: nni, class: PATH, ...}` as `{name: PATH, ...}`; load NNI where a name is its.

    Raises:
        SpecProblems: If it names no class.
        MissingDependency: If NNI is not installed.
    """
    if named.name == NNI:
        options = named.options
        path = options.pop("class", None)
        if not isinstance(path, str) or ":" not in path:
            text = f"a space of NNI needs its class, such as class: {_EXAMPLE!r}; got {path!r}"
            raise SpecProblems([Problem((*where, "class"), text)])
        named = Named(name=path, **options)
    if named.name.partition(".")[0] == NNI:
        from ...spaces.nni_choices import nni

        nni("nni.nas.nn.pytorch")  # says which extra is missing, and keeps its warnings to itself
    return named


def is_model_space(target: Any) -> bool:
    """Whether it is a class of NNI's spaces; does not load NNI to tell."""
    module = sys.modules.get("nni.nas.nn.pytorch")
    base = getattr(module, "ModelSpace", None)
    return base is not None and inspect.isclass(target) and issubclass(target, base)


def make_nni_space(
    target: Any, named: Named, declared: Mapping[str, int], where: Path
) -> tuple[DecisionSpace, dict[str, Any]]:
    """Return the space, and what the stored spec says of it.

    The options are the arguments of the class; `resolution` and `in_channels` are options too, for
    the input of a class that takes neither.

    Args:
        target: The class.
        named: What the spec says.
        declared: What the data set decides.
        where: Path in the spec.

    Raises:
        SpecProblems: If an option is wrong, contradicts the data set, or the input is not known.
    """
    import torch

    from ...spaces import from_nni

    make = _signed(target)
    takes = options_of(make).model_fields
    names = {o: next((n for n in them if n in takes), None) for o, them in _ARGUMENTS.items()}
    options, own = named.options, dict[str, Any]()
    problems = []
    for option, argument in names.items():
        key, value = argument or option, declared.get(option)
        if value is not None and options.get(key, value) != value:
            text = f"the data set needs {value}, got {options[key]!r}; leave it out"
            problems.append(Problem((*where, key), text))
        elif value is not None:
            options[key] = value
        if argument is None and option in options:
            own[option] = options.pop(option)
    if problems:
        raise SpecProblems(problems)
    full = resolve(make, options, where=where)
    known = {o: own.get(o, full.get(names[o] or "")) for o in names}
    side, channels = known["resolution"], known["in_channels"] or 3
    if not isinstance(side, int) or not isinstance(channels, int) or min(side, channels) < 1:
        text = (
            f"the size of the input must be known: name a data set, or give resolution (and "
            f"in_channels where it is not 3); got {side!r} and {channels!r}"
        )
        raise SpecProblems([Problem((*where, "resolution"), text)])
    try:
        example = torch.zeros(1, channels, side, side)
        space = from_nni(target, example, **{name: full[name] for name in options})
    except NetloomError as error:
        raise SpecProblems([Problem(where, str(error))]) from error
    return space, {"name": named.name, **to_jsonable_python(options), **own}


def _signed(target: Any) -> Callable[..., Any]:
    """Return a function with the arguments of the class: NNI hides them behind a wrapper.

    Annotations that no spec's value can be checked against are left out.
    """

    def make(**arguments: Any) -> Any:
        return target(**arguments)

    signature = inspect.signature(target._init_wrapped)
    parameters = list(signature.parameters.values())[1:]
    make.__qualname__, make.__module__ = target.__qualname__, target.__module__
    make.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    try:
        options_of(make)
    except SpecError:
        plain = [p.replace(annotation=p.empty) for p in parameters]
        make.__signature__ = signature.replace(parameters=plain)  # type: ignore[attr-defined]
    return make
