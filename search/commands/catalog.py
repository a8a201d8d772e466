"""`netloom spaces | strategies | estimators | devices`: what there is, and its options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import NetloomError, UnknownName
from .common import JsonOption, command, emit, emit_facts, emit_json, emit_table, first_line

if TYPE_CHECKING:
    from ...registry import Registry

_DEVICE_KEYS = ("name", "family", "title", "calibrated")

NameArgument = Annotated[
    str | None, typer.Argument(metavar="NAME", help="Show one, with its options.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "spaces", "netloom spaces nb201")(spaces)
    command(app, "strategies", "netloom strategies nsga2")(strategies)
    command(app, "estimators", "netloom estimators training")(estimators)
    command(app, "devices", "netloom devices cpu_generic")(devices)


def spaces(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """List the spaces: what networks can be built, how many, with which options."""
    from ...spaces import SPACES

    if name is not None:
        _show_space(name, as_json)
        return
    rows = []
    for each in SPACES:
        found = _try(SPACES, each)
        row: dict[str, Any] = {"name": each, "about": first_line(found)}
        row |= {"error": str(found)} if isinstance(found, Exception) else _space_facts(found)
        rows.append(row)
    if as_json:
        emit_json(rows)
        return
    cells = [
        [r["name"], _count(r.get("size")), ", ".join(r.get("supports", [])), _about(r)]
        for r in rows
    ]
    emit_table(["space", "networks", "offers", "about"], cells)


def strategies(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """List the strategies, and which space each can search."""
    from ..registry import STRATEGIES
    from ..run.capabilities import capability_matrix

    if name is not None:
        cls = STRATEGIES.get(name)
        facts = {"objectives": cls.objectives, "needs": sorted(cls.needs)}
        _show(name, cls, facts, as_json)
        return
    rows = []
    for each in STRATEGIES:
        found = _try(STRATEGIES, each)
        row: dict[str, Any] = {"name": each, "about": first_line(found)}
        if isinstance(found, Exception):
            row |= {"error": str(found)}
        else:
            row |= {"objectives": found.objectives, "needs": sorted(found.needs)}
        rows.append(row)
    matrix = capability_matrix()
    if as_json:
        pairs = [
            {"strategy": p.strategy, "space": p.space, "valid": p.valid, "reason": p.reason}
            for p in matrix
        ]
        emit_json({"strategies": rows, "pairs": pairs})
        return
    cells = [
        [r["name"], r.get("objectives", "-"), ", ".join(r.get("needs", [])) or "-", _about(r)]
        for r in rows
    ]
    emit_table(["strategy", "objectives", "needs", "about"], cells)
    emit("")
    columns = list(dict.fromkeys(p.space for p in matrix))
    valid = {(p.strategy, p.space): "yes" if p.valid else "-" for p in matrix}
    names = list(dict.fromkeys(p.strategy for p in matrix))
    emit_table(["searches", *columns], [[s, *(valid[s, c] for c in columns)] for s in names])


def estimators(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """List the estimators: where metrics come from."""
    from ...estimators import ESTIMATORS

    if name is not None:
        cls = ESTIMATORS.get(name)
        facts = {"cheap": getattr(cls, "cheap", False), "reports": getattr(cls, "reports", False)}
        facts |= {"needs_data": getattr(cls, "needs_data", False)}
        _show(name, cls, facts, as_json)
        return
    rows = []
    for each in ESTIMATORS:
        found = _try(ESTIMATORS, each)
        row: dict[str, Any] = {"name": each, "about": first_line(found)}
        if isinstance(found, Exception):
            row |= {"error": str(found)}
        else:
            row |= {"cheap": found.cheap, "needs_data": found.needs_data}
        rows.append(row)
    if as_json:
        emit_json(rows)
        return
    cells = [[r["name"], _yes(r.get("cheap")), _yes(r.get("needs_data")), _about(r)] for r in rows]
    emit_table(["estimator", "cheap", "needs data", "about"], cells)


def devices(name: NameArgument = None, as_json: JsonOption = False) -> None:
    """List modelled devices (NAME may also be a YAML file) and those that tables measured."""
    from ...hw_models import device_names, load_device

    if name is not None:
        device = load_device(name).to_dict()
        if as_json:
            emit_json(device)
            return
        emit_facts({key: _text(value) for key, value in device.items() if key != "numbers"})
        emit("")
        numbers = [[k, f"{v['value']:g} {v['unit']}", v["source"]] for k, v in _numbers(device)]
        emit_table(["number", "value", "source"], numbers)
        return
    rows = [load_device(each).to_dict() for each in device_names()]
    measured = _measured()
    if as_json:
        listed = [{key: row[key] for key in _DEVICE_KEYS} for row in rows]
        emit_json([*listed, *measured])
        return
    cells = [[r["name"], r["family"], _yes(r["calibrated"]), r["title"]] for r in rows]
    cells += [[m["name"], "measured", "-", m["title"]] for m in measured]
    emit_table(["device", "family", "calibrated", "about"], cells)


def _numbers(device: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(k, v) for k, v in device["numbers"].items() if isinstance(v, dict) and "unit" in v]


def _measured() -> list[dict[str, Any]]:
    """Return the devices on which the networks of a table were measured."""
    from ...estimators.tables import describe_tables

    spaces: dict[str, list[str]] = {}
    for entry in describe_tables().values():
        columns = [c for each in entry.get("datasets", {}).values() for c in each["columns"]]
        for column in columns if entry.get("complete") else ():
            target = column["metric"].partition("@")[2]
            if target and entry["space"] not in spaces.setdefault(target, []):
                spaces[target].append(entry["space"])
    return [
        {
            "name": target,
            "family": "measured",
            "title": f"measured on every network of {', '.join(names)} (estimator tabular)",
        }
        for target, names in sorted(spaces.items())
    ]


def _try(registry: Registry, name: str) -> Any:
    """Return the class, or the error of one that cannot be loaded: it must not hide the others."""
    try:
        return registry.get(name)
    except NetloomError as error:
        return error
    except Exception as error:
        return UnknownName(registry.kind, f"{name} ({type(error).__name__}: {error})", [])


def _space_facts(cls: Any) -> dict[str, Any]:
    try:
        space = cls()
    except Exception as error:  # a plug-in whose options have no defaults
        return {"error": f"{type(error).__name__}: {error}"}
    return {"size": space.size, "supports": sorted(space.supports)}


def _show_space(name: str, as_json: bool) -> None:
    from random import Random

    from ..run.parts import make_space
    from ..run.spec import Named

    space, _ = make_space(Named(name=name))
    example = space.sample(Random(0))
    facts = {
        "networks": space.size,
        "decisions": [
            {"name": d.name, "options": list(d.options), "when": dict(d.when) if d.when else None}
            for d in space.decisions
        ],
        "offers": sorted(space.supports),
        "published": sorted(space.published()),
        "example": space.format(example),
    }
    _show(name, type(space), facts, as_json)


def _show(name: str, cls: Any, facts: dict[str, Any], as_json: bool) -> None:
    from ...options import describe

    options = describe(cls)
    if as_json:
        listed = [
            {"name": o.name, "type": o.type, "default": o.default, "about": o.doc} for o in options
        ]
        emit_json({"name": name, "about": first_line(cls), **facts, "options": listed})
        return
    shown = {key: value for key, value in facts.items() if key != "decisions"}
    emit_facts({"name": name, "about": first_line(cls), **{k: _text(v) for k, v in shown.items()}})
    if decisions := facts.get("decisions"):
        emit("")
        rows = [[d["name"], _text(d["options"]), _when(d["when"])] for d in decisions]
        emit_table(["decision", "options", "only when"], rows)
    emit("")
    rows = [[o.name, o.type, o.default or "required", o.doc] for o in options]
    emit_table(["option", "type", "default", "about"], rows)


def _about(row: dict[str, Any]) -> str:
    return f"cannot be used: {row['error']}" if "error" in row else str(row["about"])


def _count(size: int | None) -> str:
    if size is None:
        return "-"
    return f"{size:,}" if size < 10**15 else f"{size:.3e}" if size < 10**300 else f"{size}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _yes(value)
    if isinstance(value, int):
        return _count(value)
    if isinstance(value, list | tuple | frozenset):
        return ", ".join(_text(v) for v in value) or "-"
    return str(value)


def _when(when: dict[str, Any] | None) -> str:
    if not when:
        return ""
    return " and ".join(f"{k} in {', '.join(map(str, v))}" for k, v in when.items())


def _yes(value: bool | None) -> str:
    return "yes" if value else "no" if value is not None else "-"
