"""`netloom retrain`: chosen networks trained again, with the full recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

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
    store_words,
)
from .search import NoProgressOption, QuietOption, Shown, StrictOption, finish

if TYPE_CHECKING:
    from ...db.records import ExperimentRecord, TrialRecord
    from ..run.origin import Origin
    from ..run.plan import Plan
    from ..run.runner import RunSummary


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
        before = {n: opened.trial(origin.record.id, n).metrics for n in origin.trials}
    if epochs is None and not quiet:
        _say_epochs(plan)
    if dry_run:
        emit_json(dict(plan.spec))
        note("dry run: nothing was evaluated or stored")
        return
    shown = Shown(quiet, strict, as_json, no_progress)
    summary = shown.start(plan, origin)
    if not quiet:
        _say_trials(plan, summary, origin, before)
    finish([summary], shown)


def _say_epochs(plan: Plan) -> None:
    """Say how long is trained where nothing was asked for: a search trains briefly."""
    from ...dashboard.words import plural
    from ..run.recipe import TRAINING

    for estimator in plan.spec["estimators"]:
        if estimator["name"] == TRAINING:
            epochs = plural(estimator["epochs"], "epoch")
            note(f"training for {epochs}, as its spec says; --epochs E changes that")
            return


def _say_trials(
    plan: Plan, summary: RunSummary, origin: Origin, before: Mapping[int, Mapping[str, float]]
) -> None:
    """Say which trial each one was, what became of its objectives, and how to get its files."""
    from ...dashboard.summary import retrained_trial_text
    from ...db import Store
    from ...db.records import RETRAINED

    record = summary.experiment
    alike = record.info["data"] == origin.record.info.get("data")  # else not to be compared
    with Store(plan.store_url, read_only=True, create=False) as opened:
        trials = opened.trial_records(record.id)
    for trial in trials:
        then = before[trial.tags[RETRAINED]] if alike else {}
        text = _became(record, trial, then) if trial.status == "done" else trial.status
        note(f"trial {trial.number} is {retrained_trial_text(record, trial)}: {text}")
    if summary.front:
        explicit = plan.spec.get("store")
        words = store_words(str(explicit) if explicit else None)
        number = summary.front[0].number
        note(f"as files: netloom export {record.ref} --trial {number} -o delivered{words}")


def _became(record: ExperimentRecord, trial: TrialRecord, then: Mapping[str, float]) -> str:
    """Return the objectives of a trial with those of the one that it was, then its test metrics."""
    from ...dashboard.words import value_text

    units = {metric.name: metric.unit for metric in record.metrics}
    names = [str(o["metric"]) for o in record.objectives]
    names += [metric.name for metric in record.metrics if metric.split == "test"]
    said = []
    for name in names:
        if name in trial.metrics:
            now, was = (
                value_text(values.get(name), units[name]) for values in (trial.metrics, then)
            )
            changed = name in then and was != now
            said.append(f"{name} {was} before, {now} now" if changed else f"{name} {now}")
    return ", ".join(said)
