"""What the box of a part says: its kind, how it was made, the size of what it makes.

The names are those of the constructor's signature. What is as by default, what does nothing (a
stride of 1) and what the size says already (the width) is left out; `whole` has everything.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

from .graph import Module
from .part import Part

# Names of arguments that are the width of the input or of the output, and another size of them.
_WIDTHS = re.compile(r"(in_|out_)?(channels|dim|width|features|inputs|filters|units)(_in|_out)?")
_SIZES = re.compile(r"classes|tokens|side|resolution")
_IDLE: dict[str, Any] = {"stride": 1, "groups": 1, "dilation": 1, "padding": 0}
_UNSEEN = ("eps", "momentum")  # numerical details
_ITEMS = 3  # of a tuple


class Words(NamedTuple):
    """What is written of a part.

    Args:
        kind: Its class.
        facts: How it was made, each a word or two: `3x3`, `expand 6`, `stride 2`.
        size: Of the tensor that it makes.
        channels: Of that tensor.
        about: What the class says of itself in a line; may be empty.
        whole: Class and arguments in full.
        bare: Whether it is made of nothing.
    """

    kind: str
    facts: tuple[str, ...]
    size: str
    channels: int
    about: str
    whole: str
    bare: bool


def words(part: Part, shape: tuple[int, ...]) -> Words:
    """Return what is written of a part that makes a tensor of `shape`; () is not known."""
    made = _made(part.build)
    if made is None:
        kind, facts = _from_key(part.key)
        return Words(kind, facts, *size(shape), "", part.key, not facts)
    make, arguments = made
    known = {n for i in part.inputs for n in i.shape[1:]} | set(shape[1:])
    named = {name: value for name, value in arguments.items() if not _is_plain(name, value, make)}
    wide = {v for n, v in arguments.items() if isinstance(v, int) and _WIDTHS.fullmatch(n)}
    facts = tuple(
        fact
        for name, value in named.items()
        if not _is_said(name, value, known) and (fact := _fact(name, value))
    )
    about = (make.__doc__ or "").strip().partition("\n")[0]
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    kind = make.__name__
    return Words(kind, facts, *size(shape, wide), about, f"{kind}({given})", not arguments)


def size(shape: Sequence[int], wide: Collection[int] = ()) -> tuple[str, int]:
    """Return a shape in words, and its channels: the last axis if only that one is so wide.

    >>> size((1, 32, 56, 48)), size((1, 56, 56, 96), {96}), size((1, 65, 216), {216})
    (('32 ch, 56 x 48', 32), ('96 ch, 56 x 56', 96), ('65 tokens x 216', 216))
    """
    inner = tuple(shape[1:])
    if not inner:
        return "output", 1
    last = len(inner) > 1 and inner[0] not in wide and inner[-1] in wide
    channels, rest = (inner[-1], inner[:-1]) if last else (inner[0], inner[1:])
    if len(inner) == 3:
        return f"{channels} ch, {' x '.join(map(str, rest))}", channels
    if last and len(inner) == 2:
        return f"{rest[0]} tokens x {channels}", channels
    return " x ".join(map(str, inner)), channels


def _made(build: Callable[..., Any]) -> tuple[Any, Mapping[str, Any]] | None:
    """Return the class of a part and its arguments by name; None where it does not tell."""
    make, args, more = build, (), {}
    if isinstance(build, Module):
        make, args = build.load(), build.args
    elif isinstance(build, partial):
        make, args, more = build.func, build.args, build.keywords
    elif not isinstance(build, type):
        return None
    signature = _signature(make)
    if signature is None:
        return None
    return make, signature.bind(*args, **more).arguments


@lru_cache(maxsize=1 << 10)
def _signature(make: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(make)
    except (TypeError, ValueError):  # made in C, without a signature
        return None


def _is_plain(name: str, value: Any, make: Callable[..., Any]) -> bool:
    """Whether an argument tells nothing: its default, none, or what does nothing."""
    signature = _signature(make)
    assert signature is not None
    default = signature.parameters[name].default
    same = type(default) is type(value) and default == value
    return same or value is None or value is False or _IDLE.get(name, ...) == value


def _is_said(name: str, value: Any, sizes: Collection[int]) -> bool:
    """Whether an argument is a size of the input or of the output, which is written anyway."""
    named = _WIDTHS.fullmatch(name) or _SIZES.fullmatch(name)
    return bool(named) and isinstance(value, int) and value in sizes


def _fact(name: str, value: Any) -> str:
    """Return an argument in a word or two; empty for what no box can say."""
    if name in _UNSEEN:
        return ""
    if value is True:
        return name.replace("_", " ")
    if name in ("kernel", "kernel_size") and (text := _plain(value)):
        return "x".join(map(str, value)) if isinstance(value, tuple) else f"{text}x{text}"
    text = _plain(value)
    return text if isinstance(value, str) or not text else f"{name.replace('_', ' ')} {text}"


def _plain(value: Any) -> str:
    """Return a number, a text or a tuple of such; empty for anything else."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (int, str)):
        return str(value)
    if not isinstance(value, tuple) or not all(isinstance(v, (int, float, str)) for v in value):
        return ""
    more = ", …" if len(value) > _ITEMS else ""
    return f"({', '.join(map(_plain, value[:_ITEMS]))}{more})"


def _from_key(key: str) -> tuple[str, tuple[str, ...]]:
    """Return class and arguments of a key `package.module:Class(arguments) @ shapes`."""
    found = re.match(r"[\w.]+:(\w+)(?:\((.*)\) @)?", key)
    if found is None:
        return "layer", ()
    arguments = re.sub(r"['()]", "", found[2] or "")
    return found[1], (arguments,) if arguments else ()
