"""`netloom trials export | import`: trials as text."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from ...files import write_text
from ..objectives import Objective
from .common import (
    ExperimentArgument,
    StoreOption,
    command,
    emit,
    group,
    note,
    open_store,
    read_lines,
    writable_file,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "netloom trials export quickstart -o trials.jsonl"
    trials = group(app, "trials", "Export and import trials.", example)
    command(trials, "export", example)(export)
    command(trials, "import", "netloom trials import trials.jsonl --name elsewhere")(import_)


def export(
    experiment: ExperimentArgument,
    shape: Annotated[
        Literal["jsonl", "csv"],
        typer.Option(
            "--format", "-f", help="jsonl can be imported again; csv is for spreadsheets."
        ),
    ] = "jsonl",
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="Else stdout.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write every trial of an experiment; csv has the costs that rescore added, too."""
    from ...dashboard.downloads import guarded
    from ...dashboard.words import plural
    from ...db.rescored import rescored_metrics
    from ..run.portable import trial_lines

    target = None if output is None else writable_file(output)
    with open_store(store) as opened:
        record = opened.experiment(experiment)
        if shape == "csv":
            frame, costs = opened.trials(record.id), opened.rescored(record)
            for metric in rescored_metrics(record):
                frame[metric.name] = [costs.get(key, {}).get(metric.name) for key in frame["key"]]
            frame.columns = frame.columns.map(guarded)
            texts = frame.select_dtypes(exclude="number").columns
            frame[texts] = frame[texts].map(guarded)
            text, count = frame.to_csv(index=False), len(frame)
        else:
            lines = list(trial_lines(record, opened.trial_records(record.id)))
            text, count = "".join(f"{line}\n" for line in lines), len(lines) - 1
    if target is None:
        emit(text.rstrip("\n"))
        return
    write_text(target, text)
    note(f"{plural(count, 'trial')} of {record.name} written to {output}")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What trials export wrote.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the experiment; the exported one's else.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Store exported trials as an experiment: to see, to warm-start from, to reuse."""
    from ...dashboard.words import plural
    from ..run.finishing import front_records, volume
    from ..run.portable import read_trials

    new, trials = read_trials(read_lines(file), file, name)
    with open_store(store, write=True, create=True) as opened:
        record = opened.create_experiment(new)
        try:
            opened.import_trials(record.id, trials)
            goals = [Objective(**goal) for goal in record.objectives]
            stored = opened.trial_records(record.id)
            summary = {
                "reason": "imported",
                "front": [trial.number for trial in front_records(goals, stored)],
                "hypervolume": volume(goals, stored),
            }
            opened.update_experiment(record.id, status="done", summary=summary)
        except BaseException:
            opened.delete_experiment(record.id)
            raise
    if record.name != new.name:
        note(f"the name {new.name} was taken; these are {record.name}")
    note(f"{plural(len(trials), 'trial')} imported")
    emit(record.name)
