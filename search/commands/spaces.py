"""`netloom spaces`: the spaces there are, and one with its decisions, counts and known networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SpecError
from ...files import write_text
from . import completion
from .catalog import about, attempt, count, show, show_table
from .common import (
    JsonOption,
    command,
    emit_json,
    emit_table,
    first_line,
    made_space,
    note,
    writable_file,
)

if TYPE_CHECKING:
    from ...spaces import Architecture, DecisionSpace


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "spaces", "netloom spaces nb201 --option preset=tiny --draw cell.svg")(spaces)


def spaces(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Show one, with its options.",
            autocompletion=completion.spaces,
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="Option of the space; may be repeated."),
    ] = None,
    draw: Annotated[
        Path | None,
        typer.Option("--draw", metavar="FILE", help="Draw a network of NAME as SVG into FILE."),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="TEXT",
            help="Which one to draw; by default a published one, or the last.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the spaces: what networks can be built, how many, with which options.

    NAME shows one (also package.module:Class): its decisions and options, what its literature
    counts, its notation, and the published networks with parameters and MACs.
    """
    if name is None:
        if option or draw or arch:
            raise SpecError("--option, --draw and --arch are about one space; name it first")
        _list(as_json)
        return
    space = made_space(name, option, given_as="NAME")
    if arch and not draw:
        raise SpecError("--arch says which network --draw draws; add --draw FILE")
    if draw:
        _draw(space, arch, draw)
        return
    facts = {
        "networks": space.size,
        "counts": space.counts(),
        "decisions": [
            {"name": d.name, "options": list(d.options), "when": dict(d.when) if d.when else None}
            for d in space.decisions
        ],
        **({"rule": space.rule} if space.rule else {}),
        "offers": sorted(space.supports),
        "presets": sorted(space.presets),
        "notation": space.notation,
        "example": space.format(space.at(0)),
        "published": _published(space),
    }
    show(name, type(space), facts, as_json, after=_show_published)


def _list(as_json: bool) -> None:
    from ...spaces import SPACES

    rows = []
    for each in SPACES:
        found = attempt(SPACES, each)
        row: dict[str, Any] = {"name": each, "about": first_line(found)}
        row |= {"error": str(found)} if isinstance(found, Exception) else _facts(found)
        rows.append(row)
    if as_json:
        emit_json(rows)
        return
    cells = [
        [r["name"], count(r.get("size")), ", ".join(r.get("supports", [])), about(r)] for r in rows
    ]
    emit_table(["space", "networks", "offers", "about"], cells)


def _facts(cls: Any) -> dict[str, Any]:
    try:
        space = cls()
    except Exception as error:  # a plug-in whose options have no defaults
        return {"error": f"{type(error).__name__}: {error}"}
    return {"size": space.size, "supports": sorted(space.supports)}


def _published(space: DecisionSpace) -> list[dict[str, Any]]:
    """Return name, notation, parameters and MACs of the networks that the literature names."""
    from ...spaces import Space

    named = space.published()
    if not named or not isinstance(space, Space):
        return [{"name": name, "notation": space.format(a)} for name, a in named.items()]
    values = _complexity(space, list(named.values()))
    return [
        {"name": name, "notation": space.format(a), **row}
        for (name, a), row in zip(named.items(), values, strict=True)
    ]


def _complexity(space: DecisionSpace, architectures: list[Architecture]) -> list[dict[str, Any]]:
    from ..run.parts import make_estimator
    from ..run.spec import Named

    complexity, _ = make_estimator(Named(name="complexity"), space, None, ("complexity",))
    rows: list[dict[str, Any]] = []
    for answer in complexity.evaluate_many(architectures, seeds=[0] * len(architectures)):
        if isinstance(answer, Exception):
            raise answer
        rows.append({key: int(answer[key]) for key in ("params", "macs")})
    return rows


def _show_published(facts: dict[str, Any]) -> None:
    rows = facts["published"]
    if rows:
        columns = ["published", "params", "MACs", "notation"]
        keys = ("name", "params", "macs", "notation")
        show_table(
            columns,
            [
                [count(r.get(k)) if isinstance(r.get(k), int) else str(r.get(k, "-")) for k in keys]
                for r in rows
            ],
        )


def _draw(space: DecisionSpace, arch: str | None, path: Path) -> None:
    from ...spaces import Space
    from ...spaces.drawing import draw

    published = list(space.published().values())
    architecture = space.parse(arch) if arch else (published or [space.at(space.size - 1)])[0]
    parts = space.parts(architecture) if isinstance(space, Space) else None
    if parts is None:
        raise SpecError(f"{space.name} gives no parts, so that its networks cannot be drawn")
    write_text(
        writable_file(str(path)), draw(parts, title=f"{space.name}  {space.format(architecture)}")
    )
    note(f"wrote {path}")
