"""`netloom repro`: one stored trial again, here and now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit_facts,
    emit_json,
    note,
    open_store,
)

if TYPE_CHECKING:
    from ...db.records import TrialRecord
    from ..run.evaluation import Evaluation
    from ..run.plan import Plan


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "repro", "netloom repro digits --trial 17")(repro)


def repro(
    experiment: ExperimentArgument,
    trial: Annotated[int, typer.Option("--trial", metavar="N", min=0, help="Number of the trial.")],
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Evaluate one trial again in the foreground, with its seeds, and show the whole traceback.

    Nothing is stored. Exit code 1 when the evaluation fails.
    """
    from ..run.origin import give_stored_initial
    from ..run.runner import stored_plan

    with open_store(store) as opened:
        record = opened.experiment(experiment)
        found = opened.trial(record.id, trial)
        plan = stored_plan(record)
        give_stored_initial(plan, opened, record.id)
    note(f"trial {found.number} of {record.name}: {found.notation} (stored: {found.status})")
    again = _evaluated(plan, found)
    if again.traceback:
        note(again.traceback.rstrip())
    if again.error:
        note(f"{again.status}: {again.error}")
    _compare(found, again, as_json)
    if again.status == "failed":
        raise typer.Exit(1)


def _evaluated(plan: Plan, trial: TrialRecord) -> Evaluation:
    """Return what the estimators say now: cheap ones first, the others unless it failed there."""
    from ..run.evaluation import Panel
    from ..run.members import stored_architecture
    from ..run.trial import trial_seeds

    panel = Panel.of(plan)
    architecture = stored_architecture(trial)
    plan.space_of(architecture).architecture(trial.architecture)  # it may have changed since
    seeds = trial_seeds(plan.seed, trial.number, plan.repeats, fixed=len(plan.fixed))
    [cheap] = panel.screen([architecture], [seeds])
    if cheap.status != "done" or trial.status == "infeasible" or not panel.costly:
        return cheap
    costly = panel.evaluate(architecture, seeds, budget=trial.budget, report=_said)
    costly.metrics = {**cheap.metrics, **costly.metrics}
    return costly


def _said(step: int, metrics: Mapping[str, float]) -> None:
    values = ", ".join(f"{name} {value:.5g}" for name, value in metrics.items())
    note(f"step {step}: {values}")


def _compare(trial: TrialRecord, again: Evaluation, as_json: bool) -> None:
    if as_json:
        stored = {name: v for name, v in trial.metrics.items() if name in again.metrics}
        emit_json(
            {
                "trial": trial.number,
                "status": again.status,
                "metrics": again.metrics,
                "stored": stored,
                "error": again.error,
            }
        )
        return
    lines = {}
    for name, value in again.metrics.items():
        before = trial.metrics.get(name)
        same = "as stored" if before == value else f"stored: {before!r}"
        lines[name] = f"{value!r}" + ("" if before is None else f" ({same})")
    emit_facts(lines)
