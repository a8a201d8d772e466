"""`netloom strategies | estimators`: what there is, and its options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import NetloomError, SpecError, UnknownName
from . import completion
from .common import JsonOption, command, emit, emit_facts, emit_json, emit_table, first_line

if TYPE_CHECKING:
    from ...registry import Registry

_ABOUT = "Show one, with its options."


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "strategies", "netloom strategies nsga2")(strategies)
    command(app, "estimators", "netloom estimators training")(estimators)


def strategies(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=_ABOUT, autocompletion=completion.strategies),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the strategies, and which space each can search."""
    from ..registry import STRATEGIES
    from ..run.capabilities import capability_matrix
    from ..strategy import Strategy

    if name is not None:
        cls = _named(STRATEGIES, name)
        if not (isinstance(cls, type) and issubclass(cls, Strategy)):
            raise SpecError(f"a strategy must be a Strategy subclass, got {name}, which is not")
        facts = {"objectives": cls.objectives, "needs": sorted(cls.needs)}
        show(name, cls, facts, as_json)
        return
    rows = []
    for each in STRATEGIES:
        found = attempt(STRATEGIES, each)
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
        [r["name"], r.get("objectives", "-"), ", ".join(r.get("needs", [])) or "-", about(r)]
        for r in rows
    ]
    emit_table(["strategy", "objectives", "needs", "about"], cells)
    emit("")
    columns = list(dict.fromkeys(p.space for p in matrix))
    valid = {(p.strategy, p.space): "yes" if p.valid else "-" for p in matrix}
    names = list(dict.fromkeys(p.strategy for p in matrix))
    emit_table(["searches", *columns], [[s, *(valid[s, c] for c in columns)] for s in names])


def estimators(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=_ABOUT, autocompletion=completion.estimators),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the estimators: where metrics come from."""
    from ...estimators import ESTIMATORS
    from ...estimators.registry import describe_estimator

    if name is not None:
        target = _named(ESTIMATORS, name)
        facts, given = describe_estimator(target)
        show(name, target, facts, as_json, skip=given)
        return
    rows = []
    for each in ESTIMATORS:
        found = attempt(ESTIMATORS, each)
        row: dict[str, Any] = {"name": each, "about": first_line(found)}
        if isinstance(found, Exception):
            row |= {"error": str(found)}
        else:
            row |= describe_estimator(found)[0]
        rows.append(row)
    if as_json:
        emit_json(rows)
        return
    cells = [[r["name"], _yes(r.get("cheap")), _yes(r.get("needs_data")), about(r)] for r in rows]
    emit_table(["estimator", "cheap", "needs data", "about"], cells)


def _named(registry: Registry, name: str) -> Any:
    """Return the class of a name, or of an import path that may start in the current folder."""
    from ..run.parts import make_importable

    make_importable(Path.cwd())
    return registry.get(name)


def attempt(registry: Registry, name: str) -> Any:
    """Return the class, or the error of one that cannot be loaded: it must not hide the others."""
    try:
        return registry.get(name)
    except NetloomError as error:
        return error
    except Exception as error:
        return UnknownName(registry.kind, f"{name} ({type(error).__name__}: {error})", [])


def show(
    name: str,
    cls: Any,
    facts: dict[str, Any],
    as_json: bool,
    after: Callable[[dict[str, Any]], None] | None = None,
    *,
    skip: Sequence[str] = ("space", "data"),
) -> None:
    """Print what there is to know of one: facts, decisions, options, and what `after` adds."""
    from ...options import describe

    options = describe(cls, skip)
    if as_json:
        listed = [
            {"name": o.name, "type": o.type, "default": o.default, "about": o.doc} for o in options
        ]
        emit_json({"name": name, "about": first_line(cls), **facts, "options": listed})
        return
    shown = {key: value for key, value in facts.items() if key not in ("decisions", "published")}
    emit_facts({"name": name, "about": first_line(cls), **{k: _text(v) for k, v in shown.items()}})
    if decisions := facts.get("decisions"):
        rows = [[d["name"], _text(d["options"]), _when(d["when"])] for d in decisions]
        show_table(["decision", "options", "only when"], rows)
    rows = [[o.name, o.type, o.default or "required", o.doc] for o in options]
    show_table(["option", "type", "default", "about"], rows)
    if after is not None:
        after(facts)


def show_table(columns: list[str], rows: list[list[str]]) -> None:
    """Print a table after a blank line."""
    emit("")
    emit_table(columns, rows)


def about(row: dict[str, Any]) -> str:
    """Return what a row is about, or why it cannot be used."""
    return f"cannot be used: {row['error']}" if "error" in row else str(row["about"])


def count(size: int | None) -> str:
    """Return a number as people read it."""
    if size is None:
        return "-"
    return f"{size:,}" if size < 10**15 else f"{size:.3e}" if size < 10**300 else f"{size}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _yes(value)
    if isinstance(value, int):
        return count(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(v)}" for key, v in value.items())
    if isinstance(value, list | tuple | frozenset):
        return ", ".join(_text(v) for v in value) or "-"
    return str(value)


def _when(when: dict[str, Any] | None) -> str:
    if not when:
        return ""
    return " and ".join(f"{k} in {', '.join(map(str, v))}" for k, v in when.items())


def _yes(value: bool | None) -> str:
    return "yes" if value else "no" if value is not None else "-"
