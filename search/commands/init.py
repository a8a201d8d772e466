"""`netloom init`: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...files import write_text
from . import completion
from .common import JsonOption, command, emit, emit_json, emit_table, note, writable_file


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = "netloom init spec.yaml --space nb201 --strategy nsga2"
    command(app, "init", example)(init)


def init(
    output: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Where to write; stdout when left out.")
    ] = None,
    space: Annotated[
        str,
        typer.Option(
            "--space",
            help="Name of a space, or package.module:Class.",
            autocompletion=completion.spaces,
        ),
    ] = "nb201",
    strategy: Annotated[
        str,
        typer.Option(
            "--strategy",
            help="Name of a strategy, or package.module:Class.",
            autocompletion=completion.strategies,
        ),
    ] = "nsga2",
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
    pairs: Annotated[
        bool, typer.Option("--list", help="List the pairs of space and strategy, and stop.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a commented spec for a space and a strategy; it validates as it is.

    Modules of your own are looked for beside FILE, as they are beside a spec.
    """
    from ..run.capabilities import capability_matrix
    from ..run.parts import make_importable
    from ..run.template import render

    if pairs:
        valid = [p for p in capability_matrix() if p.valid]
        if as_json:
            emit_json([{"space": p.space, "strategy": p.strategy} for p in valid])
        else:
            emit_table(["space", "strategy"], [[p.space, p.strategy] for p in valid])
        return
    make_importable(Path.cwd() if output is None else Path(output).expanduser().resolve().parent)
    text = render(space, strategy, file=output)
    if output is None:
        emit(text.rstrip("\n"))
        return
    file = writable_file(output, force=force)
    write_text(file, text)
    note(f"{file} written; check it with: netloom validate {file} --probe 100")
