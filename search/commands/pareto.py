"""`netloom pareto`: the front of an experiment."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import SpecError
from . import completion
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit,
    emit_json,
    emit_table,
    note,
    open_store,
    results,
)

if TYPE_CHECKING:
    from ...dashboard.table import TrialTable
    from ...dashboard.views import Objectives, ParetoView
    from ...db.records import ExperimentRecord, TrialRecord
    from ..objectives import Constraint

FormatOption = Annotated[
    Literal["table", "csv", "json"], typer.Option("--format", "-f", help="Shape of the output.")
]


ObjectiveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--objective",
        metavar="METRIC",
        help="Front of these metrics instead of the search's objectives; may be repeated. "
        "maximize:METRIC or minimize:METRIC turns its direction.",
        autocompletion=completion.metrics,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "pareto", "netloom pareto quickstart --format json")(pareto)


def pareto(
    experiment: ExperimentArgument,
    objective: ObjectiveOption = None,
    constraint: Annotated[
        list[str] | None,
        typer.Option(
            "--constraint",
            metavar="'METRIC <= N'",
            help="Only architectures that keep this bound, too; may be repeated.",
        ),
    ] = None,
    shape: FormatOption = "table",
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw the front above the table (netloom[plot]).")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Print the feasible architectures that no other one beats in every objective.

    With --objective the front is that of other metrics than the search was after: any that its
    trials carry, and those of devices that rescore added. What broke a constraint of the search
    stays out.
    """
    from ...dashboard.rows import open_record
    from ...dashboard.table import TrialTable
    from ...dashboard.views import ParetoView, front, with_objectives
    from ..run.rescoring import constraints_of, kept, objectives_of

    if plot and (as_json or shape != "table"):
        raise SpecError("a drawing is for people: give --plot, or a format for programs, not both")
    with open_store(store) as opened:
        record = open_record(opened, experiment)
        objectives = objectives_of(record, objective or ())
        bounds = constraints_of(record, constraint or ())
        whole = TrialTable.read(opened, record)
        table = kept(whole, bounds)
        trials = front(opened, record.id, table=table, objectives=objectives)
        nothing = "" if trials else nothing_text(record, whole, objectives, bounds)
        added = [{"metric": bound.metric} for bound in bounds]
        record = with_objectives(record, objectives)
        view = ParetoView.from_table(record, table, None, None) if plot else None
        record = replace(record, constraints=(*record.constraints, *added))
    if as_json or shape == "json":
        emit_json(front_json(trials))
    elif shape == "csv":
        emit(front_csv(record, trials))
    elif trials:
        if view is not None:
            emit_drawing(view)
        emit_front(record, trials)
    if nothing:
        note(nothing)


def nothing_text(
    record: ExperimentRecord,
    table: TrialTable,
    objectives: Objectives,
    bounds: Sequence[Constraint],
) -> str:
    """Return why there is no front: as the report says it, or by the bounds that were added."""
    from ...dashboard.details import units_of
    from ...dashboard.diagnosis import Diagnosis
    from ...dashboard.words import value_text

    why = f"{record.name} has no feasible architecture"
    if (found := Diagnosis.of(record, table)) is not None:
        return f"{why}{' yet' if record.status == 'running' else ''}. {found.sentence}"
    units, nearest = units_of(record), []
    for bound in bounds:
        values = table.metric(bound.metric)[table.feasible]
        known = values[values == values].tolist()
        closest = (min if bound.max is not None else max)(known) if known else None
        nearest.append(f"{bound.metric} {value_text(closest, units[bound.metric])}")
    if bounds:
        said = " and ".join(map(str, bounds))
        return f"{why} that keeps {said}, too; the closest: {', '.join(nearest)}"
    return f"{why} with a value of {' and '.join(item['metric'] for item in objectives)}"


def emit_drawing(view: ParetoView) -> None:
    """Draw the front as large as the terminal allows; in colour only on one that wants it."""
    from ...dashboard.terminal import front_text

    stream, place = results(), shutil.get_terminal_size()
    colour = stream is not None and stream.isatty() and not os.environ.get("NO_COLOR")
    height = min(max(place.lines - 4, 12), 30)
    emit(front_text(view, width=place.columns, height=height, colour=colour) + "\n", drawn=True)


def front_json(trials: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return the front as JSON values."""
    return {
        "front": [
            {
                "trial": trial.number,
                "fixed": trial.fixed,
                "architecture": dict(trial.architecture),
                "notation": trial.notation,
                "metrics": dict(trial.metrics),
            }
            for trial in trials
        ]
    }


def front_csv(record: ExperimentRecord, trials: Sequence[TrialRecord]) -> str:
    """Return the front as CSV text: trial, key, metrics, notation, names of fixed points if any."""
    from ...dashboard.downloads import guarded

    names = metric_names(record, trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trial", "key", *names, "notation", *(["fixed"] if record.fixed else [])])
    for trial in trials:
        values = [trial.metrics.get(name, "") for name in names]
        texts = [guarded(text) for text in (trial.notation, *_name(trial, record))]
        writer.writerow([trial.number, trial.key, *values, *texts])
    return text.getvalue().rstrip("\n")


def emit_front(record: ExperimentRecord, trials: Sequence[TrialRecord]) -> None:
    """Print the front as a table: objectives, constrained metrics, test metrics.

    CSV and JSON have every metric; a table of them all would not fit a screen.
    """
    from ...dashboard.words import value_text

    wanted = {str(o["metric"]) for o in (*record.objectives, *record.constraints)}
    wanted |= {metric.name for metric in record.metrics if metric.split == "test"}
    names = [name for name in metric_names(record, trials) if name in wanted]
    units = {metric.name: metric.unit for metric in record.metrics}
    rows = [
        [
            str(trial.number),
            *(value_text(trial.metrics.get(n), units.get(n, "")) for n in names),
            *_name(trial, record),
            trial.notation,
        ]
        for trial in trials
    ]
    published = ["published"] if record.fixed else []
    emit_table(["trial", *names, *published, "architecture"], rows)


def _name(trial: TrialRecord, record: ExperimentRecord) -> list[str]:
    """Return the cell that names a published network; none where the search has no such trials."""
    return [trial.fixed or ""] if record.fixed else []


def metric_names(record: ExperimentRecord, trials: Sequence[TrialRecord]) -> list[str]:
    """Return the metrics that some trial carries: objectives, constraints, then the others."""
    wanted = [str(o["metric"]) for o in (*record.objectives, *record.constraints)]
    present = {name for trial in trials for name in trial.metrics}
    first = [name for name in dict.fromkeys(wanted) if name in present]
    return first + sorted(present - set(first))
