"""`netloom trials export | import`: trials as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ...errors import SpecError
from ...files import write_text
from .common import (
    ExperimentArgument,
    StoreOption,
    command,
    emit,
    note,
    open_store,
    read_lines,
    writable_file,
)

if TYPE_CHECKING:
    from ...db.records import (
        ExperimentRecord,
        MetricRecord,
        NewExperiment,
        NewTrial,
        TrialRecord,
    )

_T = TypeVar("_T")
FORMAT = 1  # of the JSON lines; raised when an older netloom could not read them


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Export and import trials.")
    command(group, "export", "netloom trials export quickstart -o trials.jsonl")(export)
    command(group, "import", "netloom trials import trials.jsonl --name elsewhere")(import_)
    app.add_typer(group, name="trials")


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
    """Write every trial of an experiment."""
    with open_store(store) as opened:
        record = opened.experiment(experiment)
        if shape == "csv":
            frame = opened.trials(record.id)
            text, count = frame.to_csv(index=False), len(frame)
        else:
            lines = list(_lines(record, opened.trial_records(record.id)))
            text, count = "".join(f"{line}\n" for line in lines), len(lines) - 1
    if output is None:
        emit(text.rstrip("\n"))
        return
    write_text(writable_file(output), text)
    note(f"{count} trials of {record.name} written to {output}")


def import_(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What trials export wrote.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the experiment; the exported one's else.")
    ] = None,
    store: StoreOption = None,
) -> None:
    """Store exported trials as an experiment: to see, to warm-start from, to reuse."""
    new, trials = _read(file, name)
    with open_store(store, write=True, create=True) as opened:
        record = opened.create_experiment(new)
        try:
            opened.import_trials(record.id, trials)
            opened.update_experiment(record.id, status="done")
        except BaseException:
            opened.delete_experiment(record.id)
            raise
    note(f"{len(trials)} trials imported")
    emit(record.name)


def _lines(record: ExperimentRecord, trials: list[TrialRecord]) -> Iterator[str]:
    """Yield the header line, which holds the experiment, and one line per finished trial."""
    from ...db import FINISHED, NewExperiment, NewTrial

    head = asdict(record)
    kept = {field.name: head[field.name] for field in fields(NewExperiment)} | {"parent": None}
    yield json.dumps({"netloom_trials": FORMAT, "experiment": kept})
    names = [field.name for field in fields(NewTrial) if field.name != "reused_from"]
    for trial in trials:
        if trial.status in FINISHED:
            values = asdict(trial)
            yield json.dumps({name: values[name] for name in names})


def _read(path: str, name: str | None) -> tuple[NewExperiment, list[NewTrial]]:
    """Return what a file holds.

    Raises:
        SpecError: With file and line of the first thing that is wrong; nothing is stored then.
    """
    from ...db import MetricRecord, NewExperiment, NewTrial
    from ...options import SpecProblems

    new, trials = None, []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        values = _object(line, where)
        try:
            if new is None:
                head = _header(values, where)
                new = _experiment(NewExperiment, MetricRecord, head, name)
            else:
                trials.append(_checked(_made(NewTrial, values), where))
        except SpecProblems as error:
            raise SpecError("\n".join(f"{where}: {p}" for p in error.problems)) from error
    if new is None:
        raise SpecError(f"{path} is empty; it must be what `netloom trials export` wrote")
    return new, trials


def _experiment(
    cls: type[NewExperiment], metric: type[MetricRecord], head: dict[str, Any], name: str | None
) -> NewExperiment:
    """Return the experiment of a header: on its own here, whatever it belonged to."""
    metrics = tuple(_made(metric, m) for m in head.pop("metrics"))
    new = _made(cls, {**head, "metrics": [], "parent": None, "kind": "search"})
    return replace(new, metrics=metrics, name=name or new.name)


def _made(cls: type[_T], values: Mapping[str, Any]) -> _T:
    """Return a record made of JSON values, every field checked."""
    from ...options import options_of, validate

    model = validate(options_of(cls, skip=()), values)
    return cls(**{field: getattr(model, field) for field in type(model).model_fields})


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise SpecError(f"{where}: a line must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise SpecError(f"{where}: a line must be a JSON object, got {type(value).__name__}")
    return value


def _header(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    version, head = values.get("netloom_trials"), values.get("experiment")
    if version != FORMAT or not isinstance(head, dict) or not isinstance(head.get("metrics"), list):
        raise SpecError(
            f"{where}: the first line must name format {FORMAT} and the experiment, as `netloom "
            f"trials export` writes it; got format {version!r}"
        )
    return dict(head)


def _checked(trial: NewTrial, where: str) -> NewTrial:
    """Return the trial if it is finished and its key is that of its architecture."""
    from ...db import FINISHED
    from ...jsonio import digest

    if trial.status not in FINISHED:
        raise SpecError(
            f"{where}: status must be one of {', '.join(FINISHED)}, got {trial.status!r}"
        )
    if trial.key != digest(dict(trial.architecture)):
        raise SpecError(f"{where}: the key is not that of the architecture; the file was changed")
    return replace(trial, told=None, reused_from=None)
