"""`netloom validate`: everything that can be known before anything is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SpecError
from .common import (
    JsonOption,
    SetOption,
    StoreOption,
    command,
    emit,
    emit_facts,
    emit_json,
    emit_table,
    note,
)

if TYPE_CHECKING:
    from ..run.plan import Plan
    from ..run.probe import Probe


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "validate", "netloom validate spec.yaml --probe 200")(validate)


def validate(
    spec: Annotated[str | None, typer.Argument(metavar="SPEC", help="The YAML file.")] = None,
    set_: SetOption = None,
    probe: Annotated[
        int,
        typer.Option(
            "--probe",
            metavar="N",
            min=0,
            help="Draw N random architectures: ranges of the cheap metrics, share that satisfies "
            "each constraint, expected duration.",
        ),
    ] = 0,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of specs and stop.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Check a spec without running it; exit code 2 and every error with its line when broken."""
    if schema:
        from ..run.schema import json_schema

        emit_json(json_schema())
        return
    if spec is None:
        raise SpecError("validate needs a SPEC file (or --schema); got none")
    from ..run.plan import build_plan
    from ..run.spec import load_spec
    from ..run.warm import check_warm

    overrides = list(set_ or ()) + ([f'store="{store}"'] if store else [])
    read, folder = load_spec(spec, overrides)
    plan = build_plan(read, source_dir=folder)
    check_warm(plan)
    found = None
    if probe:
        from ..run.probe import run_probe

        found = run_probe(plan, probe)
    if as_json:
        emit_json({"valid": True, **facts(plan), **({"probe": found.to_json()} if found else {})})
        return
    emit(f"{spec}: valid")
    _print_plan(plan)
    if found is not None:
        emit("")
        _print_probe(plan, found)
    for text in remarks(plan):
        note(f"note: {text}")


def facts(plan: Plan) -> dict[str, Any]:
    """Return what a plan is, as JSON values."""
    from ...db import public_url

    return {
        "name": plan.name,
        "space": plan.spec["space"]["name"],
        "size": plan.space.size,
        "strategy": plan.spec["strategy"]["name"],
        "objectives": [{"metric": o.metric, "direction": o.direction} for o in plan.objectives],
        "constraints": [str(c) for c in plan.constraints],
        "metrics": {
            m.name: {"unit": m.unit, "split": m.split, "estimator": e.name or type(e).__name__}
            for e in plan.estimators
            for m in e.metrics
        },
        "budget": plan.spec["budget"],
        "cheap": plan.cheap,
        "store": public_url(plan.store_url),
        "spec": dict(plan.spec),
    }


def remarks(plan: Plan) -> list[str]:
    """Return what is allowed but looks like a slip."""
    texts = []
    for objective in plan.objectives:
        metric = plan.metrics.get(objective.metric)
        if metric is not None and metric.direction != objective.direction:
            texts.append(f"{objective.direction} {metric.name}: better is to {metric.direction} it")
    if plan.budget.trials is not None and plan.budget.trials > plan.space.size:
        texts.append(
            f"budget.trials is {plan.budget.trials}, the space holds {plan.space.size} "
            "architectures: the search ends when all are known"
        )
    if plan.repeats > 1 and all(e.deterministic for e in plan.estimators):
        texts.append("repeats changes nothing: every estimator here is deterministic")
    return texts


def _print_plan(plan: Plan) -> None:
    budget = {k: v for k, v in plan.spec["budget"].items() if v is not None}
    emit_facts(
        {
            "name": plan.name,
            "space": f"{plan.spec['space']['name']}, {plan.space.size:,} architectures",
            "strategy": plan.spec["strategy"]["name"],
            "objectives": ", ".join(f"{o.direction} {o.metric}" for o in plan.objectives),
            "constraints": ", ".join(map(str, plan.constraints)) or "none",
            "estimators": ", ".join(e.name or type(e).__name__ for e in plan.estimators),
            "metrics": ", ".join(plan.metrics),
            "budget": ", ".join(f"{k} {v:g}" for k, v in budget.items()),
        }
    )


def _print_probe(plan: Plan, probe: Probe) -> None:
    from ...dashboard.words import seconds_text, value_text

    rows = [
        [
            r.metric,
            *(value_text(v, plan.metrics[r.metric].unit) for v in (r.min, r.median, r.max)),
            str(r.count),
        ]
        for r in probe.ranges
    ]
    if rows:
        emit_table(["metric", "min", "median", "max", "of"], rows)
        emit("")
    shares: dict[str, str] = {}
    for share in probe.constraints:
        known = f"{share.held} of {share.known} ({100 * share.held / max(1, share.known):.1f} %)"
        shares[share.text] = known if share.known else "not known before training"
    if probe.constraints:
        shares["all together"] = f"{probe.feasible} of {probe.drawn}"
    shares["one evaluation"] = seconds_text(probe.seconds_per_trial)
    shares["expected duration"] = seconds_text(probe.expected_s)
    emit_facts(shares)
    for text in probe.notes:
        note(f"note: {text}")
