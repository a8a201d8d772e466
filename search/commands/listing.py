"""`netloom list` and `netloom show`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SpecError, UnknownName
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit,
    emit_facts,
    emit_json,
    emit_table,
    note,
    open_store,
)

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord, NoteRecord, TrialRecord


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "list", "netloom list --all")(list_)
    command(app, "show", "netloom show quickstart --trial 12")(show)


def list_(
    all_: Annotated[bool, typer.Option("--all", help="Random baselines too.")] = False,
    group: Annotated[
        str | None, typer.Option("--group", help="Only the runs of one group.")
    ] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Archived ones too.")] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """List the experiments of a store, the newest last."""
    from ...dashboard.rows import ExperimentRow, listed, truthful

    with open_store(store) as opened:
        alive = opened.running()
        found = listed(opened.experiments(all=all_, group=group), archived=archived)
        records = [truthful(record, alive) for record in found]
    if as_json:
        emit_json([experiment_json(record) for record in records])
        return
    if not records:
        where = f" in the group {group!r}" if group else " yet"
        note(f"no experiments{where}; start one with netloom search SPEC")
        return
    rows = []
    for record in records:
        row = ExperimentRow.of(record)
        spent = f"{row.spent}/{row.budget}" if row.budget else str(row.spent)
        front = "-" if row.front_size is None else str(row.front_size)
        kind = [] if row.kind == "search" else [row.kind]
        notes = ", ".join([*kind, *([row.group] if row.group else []), *row.tags])
        when = row.created_at.astimezone().strftime("%Y-%m-%d %H:%M")
        rows.append(
            [row.name, row.id[:8], row.status, spent, front, row.space, row.strategy, when, notes]
        )
    head = ["name", "id", "status", "trials", "front", "space", "strategy", "started", "notes"]
    emit_table(head, rows)


def show(
    experiment: ExperimentArgument,
    trial: Annotated[
        int | None, typer.Option("--trial", metavar="N", help="Show one trial.", min=0)
    ] = None,
    note_: Annotated[
        str | None,
        typer.Option("--note", metavar="NAME", help="Print a note of the strategy, as JSON."),
    ] = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show an experiment, or one of its trials: everything that the store knows."""
    from ...dashboard.rows import open_record

    if trial is not None and note_ is not None:
        raise SpecError(f"show takes --trial or --note, got both ({trial} and {note_}); leave one")
    with open_store(store) as opened:
        record = open_record(opened, experiment)
        found = None if trial is None else opened.trial(record.id, trial)
        notes = opened.notes(record.id)
        curves = list(dict.fromkeys(opened.curves(record.id, strategy=True)["name"]))
    if note_ is not None:
        emit_json(_note_of(notes, note_).value)
    elif found is not None:
        emit_json(trial_json(found)) if as_json else _show_trial(record, found)
    elif as_json:
        named = [{"name": n.name, "kind": n.kind} for n in notes]
        emit_json({**experiment_json(record, full=True), "curves": curves, "notes": named})
    else:
        _show_experiment(record, curves, notes)


def experiment_json(record: ExperimentRecord, *, full: bool = False) -> dict[str, Any]:
    """Return an experiment as JSON values; `full` adds spec, metrics, versions and info."""
    value: dict[str, Any] = {
        "name": record.name,
        "id": record.id,
        "status": record.status,
        "kind": record.kind,
        "space": record.space,
        "strategy": record.strategy,
        "seed": record.seed,
        "objectives": [dict(o) for o in record.objectives],
        "constraints": [dict(c) for c in record.constraints],
        "counts": dict(record.counts),
        "parent": record.parent,
        "group": record.group,
        "tags": list(record.tags),
        "created_at": record.created_at,
        "finished_at": record.finished_at,
        "elapsed_s": record.elapsed_s,
        "summary": dict(record.summary),
    }
    if full:
        value["spec"] = dict(record.spec)
        value["metrics"] = [
            {
                "name": m.name,
                "unit": m.unit,
                "direction": m.direction,
                "split": m.split,
                "estimator": m.estimator,
                "provenance": dict(m.provenance),
            }
            for m in record.metrics
        ]
        value["versions"], value["info"] = dict(record.versions), dict(record.info)
    return value


def trial_json(trial: TrialRecord) -> dict[str, Any]:
    """Return a trial as JSON values."""
    return {
        "trial": trial.number,
        "key": trial.key,
        "status": trial.status,
        "architecture": dict(trial.architecture),
        "notation": trial.notation,
        "metrics": dict(trial.metrics),
        "violation": trial.violation,
        "seed": trial.seed,
        "parent": trial.parent,
        "budget": trial.budget,
        "tags": dict(trial.tags),
        "error": trial.error,
        "traceback": trial.traceback,
        "reused_from": trial.reused_from,
        "attempts": trial.attempts,
        "duration_s": trial.duration_s,
        "created_at": trial.created_at,
        "finished_at": trial.finished_at,
    }


def _note_of(notes: Sequence[NoteRecord], name: str) -> NoteRecord:
    named = {note.name: note for note in notes}
    if name not in named:
        raise UnknownName("note", name, named)
    return named[name]


def _show_experiment(
    record: ExperimentRecord, curves: Sequence[str], notes: Sequence[NoteRecord]
) -> None:
    from ...dashboard.summary import retrained_text
    from ...dashboard.words import constraint_text, seconds_text
    from ...db.records import FIXED
    from ...db.rescored import RESCORED

    units = {m.name: m.unit for m in record.metrics}
    counts = ", ".join(f"{n} {status}" for status, n in record.counts.items() if n) or "none"
    facts = {
        "name": record.name,
        "id": record.id,
        "status": record.status,
        "space": record.space,
        "strategy": record.strategy,
        "seed": str(record.seed),
        "objectives": ", ".join(f"{o['direction']} {o['metric']}" for o in record.objectives),
        "constraints": ", ".join(
            constraint_text(c, units.get(c["metric"], "")) for c in record.constraints
        ),
        "trials": counts,
        "fixed": ", ".join(point["name"] for point in record.info.get(FIXED, ())),
        "started": record.created_at.astimezone().strftime("%Y-%m-%d %H:%M:%S"),
        "took": seconds_text(record.elapsed_s),
        "parent": record.parent or "",
        "retrained from": retrained_text(record),
        "group": record.group or "",
        "tags": ", ".join(record.tags),
        "rescored on": ", ".join(record.info.get(RESCORED, {})),
        "curves": _short(", ".join(dict.fromkeys(name.rpartition("/")[2] for name in curves))),
        "notes": _short(", ".join(note.name for note in notes)),
        "to see them": _seeing(record, notes) if curves or notes else "",
    }
    facts |= {f"result: {k}": _short(v) for k, v in record.summary.items()}
    emit_facts({label: value for label, value in facts.items() if value})


def _seeing(record: ExperimentRecord, notes: Sequence[NoteRecord]) -> str:
    """Return the commands that show curves and notes."""
    report = f"netloom report {record.ref}"
    return f"{report}; netloom show {record.ref} --note {notes[0].name}" if notes else report


def _show_trial(record: ExperimentRecord, trial: TrialRecord) -> None:
    from ...dashboard.summary import retrained_trial_text
    from ...dashboard.words import seconds_text, value_text

    units = {m.name: m.unit for m in record.metrics}
    facts = {
        "trial": f"{trial.number} of {record.name}",
        "fixed": trial.fixed or "",
        "space": "" if trial.space is None else f"{trial.space.name}, not {record.space}",
        "status": trial.status,
        "architecture": trial.notation,
        "key": trial.key,
        "violation": f"{trial.violation:g}" if trial.violation else "",
        "parent": "" if trial.parent is None else str(trial.parent),
        "retrained from": retrained_trial_text(record, trial),
        "seed": str(trial.seed),
        "attempts": str(trial.attempts) if trial.attempts > 1 else "",
        "took": "" if trial.duration_s is None else seconds_text(trial.duration_s),
        "reused": "" if trial.reused_from is None else f"from trial id {trial.reused_from}",
        "error": trial.error or "",
    }
    facts |= {name: value_text(v, units.get(name, "")) for name, v in trial.metrics.items()}
    emit_facts({label: value for label, value in facts.items() if value})
    if trial.traceback:
        emit("")
        emit(trial.traceback.rstrip())


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
