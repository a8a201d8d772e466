"""A constructor's signature is its options: what a YAML spec may set, and how it is checked.

`options_of` turns the keyword arguments of a class into a pydantic model, so that spaces,
strategies, estimators and data sets validate their options through one mechanism; annotations may
carry bounds (`Annotated[int, Field(ge=1)]`) or a closed set (`Literal["a", "b"]`).
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from pydantic import BaseModel, ConfigDict, PydanticSchemaGenerationError, ValidationError
from pydantic import create_model as _create_model
from pydantic_core import PydanticSerializationError, to_json

from .errors import NetloomError, SpecError, did_you_mean

Path: TypeAlias = tuple[str | int, ...]
NO_KEYS = "; it takes no options"


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a spec.

    Args:
        path: Keys and list positions that lead to the value: `("estimators", 0, "epochs")`.
        message: Rule, value received, remedy.
        location: `file:line:column` where known.
    """

    path: Path
    message: str
    location: str = ""

    def __str__(self) -> str:
        return ": ".join(p for p in (self.location, dotted(self.path), self.message) if p)


class SpecProblems(SpecError):
    """Everything that is wrong in a spec, at once; one line each.

    Args:
        problems: In the order of the file where known.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def moved(self, new: str, *old: Path) -> SpecProblems:
        """Return the same, with the paths `old` called `new`: an option of the command line."""
        return SpecProblems(
            [replace(p, path=(new,)) if p.path in old else p for p in self.problems]
        )

    def __reduce__(self) -> tuple[type[SpecProblems], tuple[tuple[Problem, ...]]]:
        return (type(self), (self.problems,))


@dataclass(frozen=True)
class OptionInfo:
    """One option of a constructor, as listings show it.

    Args:
        name: The keyword.
        type: Its annotation as written.
        default: The default as text; None when the option is required.
        doc: What the docstring says of it.
    """

    name: str
    type: str
    default: str | None
    doc: str


def dotted(path: Path | str) -> str:
    """Return `estimators[0].epochs` for `("estimators", 0, "epochs")`."""
    if isinstance(path, str):
        return path
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def options_of(cls: Callable[..., Any], skip: Sequence[str] = ("space", "data")) -> type[BaseModel]:
    """Return the pydantic model of the keyword arguments of `cls` (unknown keys are errors).

    A constructor that passes `**options` on to its base class takes the base's options too.

    Raises:
        SpecError: If an annotation cannot be resolved or cannot be validated; the author of the
            class has to change it.
    """
    fields: dict[str, Any] = {}
    for parameter, namespace in _parameters(cls):
        if parameter.name in skip or parameter.name in fields:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[parameter.name] = (_annotation(cls, parameter, namespace), default)
    config = ConfigDict(
        extra="forbid",
        arbitrary_types_allowed=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )
    try:
        return _create_model(f"{_name(cls)}Options", __config__=config, **fields)
    except (PydanticSchemaGenerationError, NameError, TypeError) as error:
        raise SpecError(f"the options of {_name(cls)} cannot be validated: {error}") from error


def resolve(
    cls: Callable[..., Any],
    options: Mapping[str, Any],
    *,
    where: Path | str = (),
    skip: Sequence[str] = ("space", "data"),
) -> dict[str, Any]:
    """Return `options` checked and converted, with the defaults of those left out.

    Raises:
        SpecProblems: If options are unknown, missing or of the wrong type.
    """
    model = validate(options_of(cls, skip), options, where=where)
    return {name: getattr(model, name) for name in type(model).model_fields}


def build(
    cls: Callable[..., Any], options: Mapping[str, Any], *fixed: Any, where: Path | str = ()
) -> Any:
    """Return `cls(*fixed, **options)` after checking the options against the signature.

    Args:
        cls: A class, or a function that returns the object.
        options: What the spec says.
        fixed: Positional arguments that a spec cannot set (the space, the data).
        where: Path of the options in the spec, for messages.

    Raises:
        SpecProblems: If options are unknown, missing or of the wrong type, or if the constructor
            refuses them.
        NetloomError: Any other error that the constructor raises on purpose.
    """
    path = _as_path(where)
    model = validate(options_of(cls), options, where=path)
    given = {name: getattr(model, name) for name in type(model).model_fields if name in options}
    try:
        return cls(*fixed, **given)
    except SpecProblems:
        raise
    except SpecError as error:
        raise SpecProblems([Problem(path, str(error))]) from error
    except (NetloomError, MemoryError):
        raise
    except Exception as error:
        text = f"{_name(cls)} raised {type(error).__name__}: {error}; check its options or its code"
        raise SpecProblems([Problem(path, text)]) from error


def describe(cls: Callable[..., Any], skip: Sequence[str] = ("space", "data")) -> list[OptionInfo]:
    """Return the options of a constructor with their defaults and what its docstring says."""
    docs = argument_docs(cls)
    infos: dict[str, OptionInfo] = {}
    for parameter, _ in _parameters(cls):
        if parameter.name in skip or parameter.name in infos:
            continue
        annotation = parameter.annotation
        text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
        infos[parameter.name] = OptionInfo(
            name=parameter.name,
            type=_short_annotation(text),
            default=None if parameter.default is parameter.empty else repr(parameter.default),
            doc=docs.get(parameter.name, ""),
        )
    return list(infos.values())


def validate(model: type[BaseModel], values: Any, *, where: Path | str = ()) -> Any:
    """Return `model` made of `values`, as strict as JSON: no text for numbers, no true for 1.

    Integral floats pass for integers (`1e2` trials). Values that JSON cannot hold (objects given
    from Python) are checked by pydantic's usual rules.

    Raises:
        SpecProblems: With one problem per value, unknown keys with the closest known one.
    """
    path = _as_path(where)
    try:
        try:
            text = to_json(_integral(values))
        except (PydanticSerializationError, ValueError):
            return model.model_validate(values)
        return model.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise SpecProblems(list(problems_of(error, model, values, path))) from error


def problems_of(
    error: ValidationError, model: type[BaseModel], values: Any, where: Path = ()
) -> Iterator[Problem]:
    """Yield one problem per path of a pydantic error, in the project's words."""
    messages: dict[Path, dict[str, str]] = {}
    for item in error.errors(include_url=False):
        path = _real_path(item["loc"], values, keep_last=item["type"] == "missing")
        rule, received = _message(item, model, path)
        messages.setdefault(path, {}).setdefault(rule, received)
    for path, rules in messages.items():
        first, *others = rules
        text = " or ".join([first, *(other.removeprefix("must be ") for other in others)])
        yield Problem((*where, *path), text + rules[first])


def known_keys(model: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    """Return the keys that the model at `path` below `model` takes."""
    models = [model]
    for part in path:
        if isinstance(part, int):
            continue
        fields = [_field(m, part) for m in models]
        models = [found for field in fields if field for found in models_in(field)]
    return sorted({_alias(m, name) for m in models for name in m.model_fields})


def _message(item: Any, model: type[BaseModel], path: Path) -> tuple[str, str]:
    """Return the rule that was broken, and the value received with a hint."""
    kind, received = item["type"], item.get("input")
    if kind == "extra_forbidden":
        known = known_keys(model, path[:-1])
        return f"unknown key{did_you_mean(str(path[-1]), known) if known else NO_KEYS}", ""
    if kind == "missing":
        return "is required and missing", ""
    text = re.sub(r"^(Value error|Assertion failed), ", "", str(item["msg"]))
    if kind == "value_error":
        return text, ""
    text = re.sub(r"^(Input|String|Tuple|List|Set|Dictionary|Value) should", "must", text)
    text = re.sub(r" after validation, not \d+", "", text)
    text = re.sub(r"a valid (array|tuple|list)", "a list", text)
    text = re.sub(r"^must be (an object|a valid dictionary)", "must be a mapping", text)
    text = text.replace("must be a valid boolean", "must be true or false")
    hint = ""
    if kind == "string_type" and isinstance(received, int | float):
        hint = "; write it in quotes"
    if kind in {"literal_error", "enum"} and isinstance(received, str):
        choices = re.findall(r"'([^']*)'", str(item.get("ctx", {}).get("expected", "")))
        close = did_you_mean(received, choices)
        hint = close if close.startswith("; did") else ""
    return text, f", got {_shown(received)}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _real_path(loc: tuple[int | str, ...], values: Any, *, keep_last: bool) -> Path:
    """Drop from a pydantic location the names of union members, which no file holds."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        inside = isinstance(values, list | tuple) and isinstance(part, int)
        if (isinstance(values, Mapping) and part in values) or (
            inside and part in range(len(values))
        ):
            values = values[part]
        elif not (keep_last and position == len(loc) - 1):
            continue
        path.append(part)
    return tuple(path)


def _field(model: type[BaseModel], name: str) -> Any:
    for field_name, field in model.model_fields.items():
        if name in (field_name, field.alias):
            return field.annotation
    return None


def _alias(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].alias or name


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation names, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def _parameters(cls: Callable[..., Any]) -> Iterator[tuple[inspect.Parameter, dict[str, Any]]]:
    """Yield the named parameters with the namespace in which their annotations are read."""
    owners: list[Any] = [cls]
    if isinstance(cls, type):
        # The contracts (`class Space(ABC)`) take what plug-ins pass them, never a spec's options.
        plain = [base for base in cls.__mro__ if ABC not in base.__bases__]
        owners = [vars(base)["__init__"] for base in plain if "__init__" in vars(base)]
    for function in owners:
        passes_on = False
        namespace = vars(sys.modules[function.__module__]) if _has_module(function) else {}
        if function is object.__init__:
            return
        for position, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind is parameter.VAR_KEYWORD:
                passes_on = True
            elif parameter.kind is not parameter.VAR_POSITIONAL and (
                position > 0 or not isinstance(cls, type)
            ):
                yield parameter, namespace
        if not passes_on:
            return


def _has_module(function: Any) -> bool:
    return getattr(function, "__module__", None) in sys.modules


def _annotation(
    cls: Callable[..., Any], parameter: inspect.Parameter, namespace: dict[str, Any]
) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return Any
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(namespace))
    except Exception as error:
        raise SpecError(
            f"{_name(cls)}: the annotation {annotation!r} of {parameter.name} cannot be resolved "
            f"({error}); import its names at the top of the module, outside TYPE_CHECKING"
        ) from error


def argument_docs(cls: Callable[..., Any]) -> dict[str, str]:
    """Read the `Args:` section of a Google docstring, of the class or of its constructor."""
    holders = [cls, *(b for b in getattr(cls, "__mro__", ())[1:])]
    docs: dict[str, str] = {}
    for holder in holders:
        for text in (holder.__doc__, getattr(vars(holder).get("__init__"), "__doc__", None)):
            for name, doc in _args_section(inspect.cleandoc(text or "")).items():
                docs.setdefault(name, doc)
    return docs


def _args_section(text: str) -> dict[str, str]:
    found = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, flags=re.MULTILINE)
    if found is None:
        return {}
    docs: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("Args:\n" + found[1]).splitlines()[1:]:
        if start := re.match(r"^(?:    )?\*{0,2}(\w+)(?: \(.*?\))?: (.*)", line):
            name, docs[start[1]] = start[1], start[2].strip()
        elif name and line.strip():
            docs[name] += f" {line.strip()}"
    return docs


def _short_annotation(text: str) -> str:
    """Return `int` for `Annotated[int, Field(ge=1)]`: the bound is in the documentation."""
    inner = re.match(r"^(?:typing\.)?Annotated\[(.*)\]$", text)
    return re.split(r", (?=\w+\()", inner[1])[0] if inner else text


def _integral(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, Mapping):
        return {k: _integral(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_integral(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError("not a JSON number")
        return value
    raise ValueError("not a JSON value")


def _as_path(where: Path | str) -> Path:
    return (where,) if isinstance(where, str) and where else tuple(where)


def _name(cls: Callable[..., Any]) -> str:
    if isinstance(cls, types.FunctionType):
        return cls.__qualname__
    return getattr(cls, "__name__", None) or type(cls).__name__
