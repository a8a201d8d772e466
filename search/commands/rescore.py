"""`netloom rescore`: a device more for the architectures of an experiment."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...errors import TrialsFailed
from ...hw_models.dtypes import Dtype
from . import completion
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit_facts,
    emit_json,
    note,
    open_store,
    store_words,
)
from .estimate import ResolutionOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "rescore", "netloom rescore quickstart --device cpu_generic")(rescore)


def rescore(
    experiment: ExperimentArgument,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="NAME|FILE",
            help="A modelled device, or its YAML file.",
            autocompletion=completion.devices,
        ),
    ],
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at once.")] = 1,
    dtype: Annotated[
        Dtype | None, typer.Option("--dtype", help="Number format; the device's own when left out.")
    ] = None,
    resolution: ResolutionOption = None,
    as_: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="What metrics call it; its own name else."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 when an architecture could not be costed.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Add a device's costs to every stored architecture; nothing is evaluated again.

    Afterwards pareto and report take --objective METRIC@NAME, and the dashboard offers it as an
    axis. Costs that are stored already are not computed again.
    """
    from ..run.networks import parse_resolution
    from ..run.rescoring import rescore as run

    choice: dict[str, Any] = {"device": device, "batch": batch}
    choice |= {"dtype": dtype} if dtype else {}
    choice |= {"resolution": parse_resolution(resolution)} if resolution else {}
    choice |= {"as": as_} if as_ else {}
    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        found = run(opened, record, choice, progress=_said)
    names = [metric.name for metric in found.metrics]
    facts: dict[str, Any] = {
        "experiment": record.name,
        "device": found.target,
        "metrics": names,
        "architectures": found.architectures,
        "added": found.added,
        "infeasible": found.infeasible,
        "failed": dict(found.failed),
    }
    if as_json:
        emit_json(facts)
    else:
        shown = {**facts, "metrics": ", ".join(names), "failed": len(found.failed)}
        emit_facts({name: str(value) for name, value in shown.items()})
    for notation, text in list(found.failed.items())[:3]:
        note(f"{notation} has no costs: {text}")
    if found.failed and strict:
        raise TrialsFailed(f"{len(found.failed)} architectures have no costs (--strict)")
    quality = [str(o["metric"]) for o in record.objectives if o["direction"] == "maximize"]
    words = " ".join(f"--objective {name}" for name in [*quality[:1], names[0]])
    note(f"see: netloom pareto {record.ref}{store_words(store)} {words}")


def _said(done: int, total: int) -> None:
    if total:
        note(f"{done:,} of {total:,} architectures")
