"""`netloom retrain`: chosen networks trained again, with the full recipe."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import SpecError
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit_json,
    note,
    open_store,
)
from .search import NoProgressOption, QuietOption, Shown, StrictOption, finish


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "retrain", "netloom retrain digits --front --epochs 100")(retrain)


def retrain(
    experiment: ExperimentArgument,
    trial: Annotated[
        list[int] | None,
        typer.Option("--trial", metavar="N", min=0, help="A trial; may be repeated."),
    ] = None,
    front: Annotated[bool, typer.Option("--front", help="Every network of the front.")] = False,
    epochs: Annotated[
        int | None, typer.Option("--epochs", metavar="E", min=1, help="Epochs of the training.")
    ] = None,
    inherit: Annotated[
        bool,
        typer.Option(
            "--inherit",
            help="Start from the weights of the trials, or of the search's super-network.",
        ),
    ] = False,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new experiment; else EXP-retrained.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=C", help="Override one value of its spec; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the new spec, stop.")
    ] = False,
    store: StoreOption = None,
    quiet: QuietOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Train chosen networks of an experiment again, from scratch or from stored weights.

    They make a new experiment, linked to the old one: netloom resume goes on with it. Exit codes
    are those of search.
    """
    from ..run.retrain import retrain_plan

    if front == bool(trial):
        got = "both" if front else "neither"
        raise SpecError(f"retrain takes --trial N (once or more) or --front, got {got}")
    with open_store(store) as opened:
        plan, origin = retrain_plan(
            opened,
            experiment,
            trials=trial or None,
            epochs=epochs,
            inherit=inherit,
            name=name,
            overrides=set_ or (),
            store_url=store,
            note=note,
        )
    if dry_run:
        emit_json(dict(plan.spec))
        note("dry run: nothing was evaluated or stored")
        return
    shown = Shown(quiet, strict, as_json, no_progress)
    finish([shown.start(plan, origin)], shown)
