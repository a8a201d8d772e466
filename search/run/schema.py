"""The JSON Schema of specs: what an editor knows while one is written.

Every registered space, data set, estimator and strategy is in it with its options, read from the
same signatures that check a spec. Names by import path take any options: their classes are not
known before the spec's folder is.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from ...errors import NetloomError
from ...estimators import DATASETS, ESTIMATORS
from ...options import argument_docs, models_in, options_of
from ...registry import Registry
from ...spaces import SPACES
from ..registry import STRATEGIES
from .capabilities import loadable
from .parts import FACTOR, PRODUCT
from .spec import Budget, RunnerOptions, Scheduler, Spec

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REF = "#/$defs/{model}"
_IMPORT_PATH = r"^[\w.]+:[\w.]+$"
_FACTOR = {"type": "string", "description": "The factor of a product that is meant."}
_MODELS: tuple[type[BaseModel], ...] = (Budget, RunnerOptions, Scheduler)


class _Generator(GenerateJsonSchema):
    """Leaves out defaults that JSON cannot hold, without a warning for each."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a spec, for editors (`netloom validate --schema`)."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    parts: dict[str, Any] = schema["$defs"]
    _describe(schema, Spec)
    for model in _MODELS:
        _describe(parts[model.__name__], model)
    properties = schema["properties"]
    for key, registry in (("data", DATASETS), ("strategy", STRATEGIES)):
        _name(properties[key], registry, key, parts)
    _name(properties["estimators"]["items"], ESTIMATORS, "estimator", parts)
    _name(properties["space"], SPACES, "space", parts)
    return {"$schema": _DIALECT, **schema}


def _describe(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Give every key the words that the docstring has for it."""
    docs = argument_docs(model)
    schema["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n\nArgs:")[0]
    for name, field in model.model_fields.items():
        if name in docs:
            schema["properties"][field.alias or name]["description"] = docs[name]


def _name(place: dict[str, Any], registry: Registry, kind: str, parts: dict[str, Any]) -> None:
    """Replace "any name with any options" by the names there are, each with its own options."""
    named = f"{kind}.any"
    known = list(registry.names())
    cases = []
    for name in loadable(registry):
        if (options := _options(registry.get(name), parts)) is not None:
            if kind == "estimator":
                options["properties"][FACTOR] = _FACTOR
            parts[f"{kind}.{name}"] = _with_name(options, name, free=kind == "space")
            condition = {"properties": {"name": {"const": name}}, "required": ["name"]}
            cases.append({"if": condition, "then": {"$ref": f"#/$defs/{kind}.{name}"}})
    known += [PRODUCT] if kind == "space" else []
    text = {"anyOf": [{"enum": known}, {"type": "string", "pattern": _IMPORT_PATH}]}
    parts[named] = {
        "type": "object",
        "description": parts["Named"]["description"],
        "properties": {"name": text},
        "required": ["name"],
        "allOf": cases,
    }
    null = [choice for choice in place.pop("anyOf") if choice == {"type": "null"}]
    place["anyOf"] = [text, {"$ref": f"#/$defs/{named}"}, *null]


def _options(target: Any, parts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the options of a class; None: they are not known, or are no JSON."""
    if not inspect.isclass(target):
        return None
    try:
        model = options_of(target)
        schema = model.model_json_schema(ref_template=_REF, schema_generator=_Generator)
    except (NetloomError, PydanticInvalidForJsonSchema):
        return None  # of a plug-in: checked when it is built
    parts.update(schema.pop("$defs", {}))
    for field in model.model_fields.values():
        for nested in models_in(field.annotation):
            _describe(parts[nested.__name__], nested)
    docs = argument_docs(target)
    for name, value in schema["properties"].items():
        if name in docs:
            value["description"] = docs[name]
    return {**schema, "description": inspect.cleandoc(target.__doc__ or "").partition("\n")[0]}


def _with_name(schema: Mapping[str, Any], name: str, *, free: bool) -> dict[str, Any]:
    """Return the options with the name beside them; `free`: data and tables fill the others."""
    required = ["name", *([] if free else schema.get("required", ()))]
    properties = {"name": {"const": name}, **schema["properties"]}
    return {**schema, "title": name, "properties": properties, "required": required}
