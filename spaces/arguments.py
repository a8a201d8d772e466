"""The options of a space: the arguments of its constructor, as JSON."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArchitecture, SpecError, did_you_mean


def resolved(cls: type[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the constructor by name, with the defaults of those left out.

    A constructor that passes `**options` on has the options of its base class too.
    """
    options: dict[str, Any] = {}
    first = True
    for base in cls.__mro__:
        init = vars(base).get("__init__")
        if init is None:
            continue
        if "_contract" in vars(base):
            break
        parameters = list(inspect.signature(init).parameters.values())[1:]
        if first:
            named = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
            options.update(zip((p.name for p in named), args, strict=False))
            options.update(kwargs)
            first = False
        for p in parameters:
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.default is not p.empty:
                options.setdefault(p.name, p.default)
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return options


def as_json(space: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a space as JSON values, sorted by name.

    Raises:
        SpecError: If one is not a JSON value.
    """
    try:
        return json.loads(json.dumps(options, sort_keys=True, allow_nan=False))  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise SpecError(
            f"the options of space {space!r} must be JSON values ({error}); build objects inside "
            "the constructor"
        ) from error


def with_preset(
    space: str, options: dict[str, Any], presets: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the options with those that are None taken from the preset that they name.

    A subclass whose constructor takes no `preset` has the options that it takes.

    Raises:
        SpecError: If there is no such preset.
    """
    if not presets or "preset" not in options:
        return options
    preset = str(options.get("preset"))
    if preset not in presets:
        raise SpecError(
            f"space {space!r}: preset must be one of {', '.join(presets)}; got {preset!r}"
            f"{did_you_mean(preset, presets)}"
        )
    chosen = presets[preset]
    return {k: chosen.get(k) if v is None else v for k, v in options.items()}


def from_json(space: str, text: str) -> Any:
    """Return the value of a JSON text whose objects repeat no key.

    Raises:
        InvalidArchitecture: If it is not one.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) != len(pairs):
            raise InvalidArchitecture(f"{space}: a JSON object must not repeat a key, got {text}")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:  # a number too long, lists too deep
        raise InvalidArchitecture(f"{space}: not valid JSON ({error}): {text[:200]}") from error
