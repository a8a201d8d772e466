"""The random search of equal budget that every honest result is compared with."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...seeds import derive_seed
from .describe import new_experiment
from .events import Emitter
from .finishing import front_records, volume
from .session import Session

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord
    from .engines import Engine
    from .plan import Plan
    from .stopping import StopSignal

BASELINE = "baseline"
_SEED_BITS = 31


def wants_baseline(plan: Plan) -> bool:
    """Whether a baseline is stored: when asked for, else when evaluations are cheap."""
    return plan.cheap if plan.baseline is None else plan.baseline


def run_baseline(
    plan: Plan,
    store: Store,
    record: ExperimentRecord,
    engine: Engine,
    *,
    trials: int,
    emit: Emitter,
    stop: StopSignal,
) -> dict[str, Any] | None:
    """Run (or go on with) the random search beside an experiment, outside its budget.

    Args:
        plan: The plan of the experiment.
        store: Where to.
        record: The experiment.
        engine: Evaluates.
        trials: How many trials the experiment spent.
        emit: Who is told.
        stop: Why to end early.

    Returns:
        Name, front and hypervolume of the baseline; None when it was cut short.
    """
    found = [e for e in store.experiments(all=True, parent=record.id) if e.kind == BASELINE]
    random = random_plan(plan, name=f"{record.name}-random", trials=trials)
    mine = (
        found[0]
        if found
        else store.create_experiment(new_experiment(random, kind=BASELINE, parent=record.id))
    )
    emit("message", text=f"random search of {trials} trials for comparison: {mine.name}")
    with store.claim(mine.id):
        if found:
            store.update_experiment(mine.id, status="running", spec=random.spec)
        session = Session(
            random,
            store,
            mine.id,
            engine.panel,
            screen=engine.screen,
            mapper=engine.map,
            stop=stop,
            elapsed_s=mine.elapsed_s,
        )
        try:
            session.prepare()
            engine.run(session)
        finally:
            session.requeue()
            cut = bool(stop) or session.reason is None
            records = store.trial_records(mine.id)
            front = front_records(plan.objectives, records)
            summary = {
                "reason": stop.reason or session.reason or "interrupted",
                "front": [r.number for r in front],
                "hypervolume": volume(plan.objectives, records),
            }
            store.update_experiment(
                mine.id,
                status="interrupted" if cut else "done",
                elapsed_s=session.elapsed(),
                summary=summary,
            )
    return None if cut else {"name": mine.name, "id": mine.id, **summary}


def random_plan(plan: Plan, *, name: str, trials: int) -> Plan:
    """Return the plan of the baseline: the same but for strategy, seed and budget."""
    from ..strategies.random import RandomSearch
    from .spec import Budget

    seed = derive_seed(plan.seed, BASELINE) >> (63 - _SEED_BITS)
    budget = Budget(trials=trials, max_infeasible=plan.budget.infeasible_cap)
    strategy = RandomSearch()
    spec = {
        **plan.spec,
        "name": name,
        "seed": seed,
        "strategy": {"name": strategy.name},
        "fixed": [],
        "budget": budget.model_dump(mode="json", by_alias=True),
    }
    return replace(
        plan,
        name=name,
        seed=seed,
        strategy=strategy,
        budget=budget,
        warm_start=None,
        fixed=(),
        baseline=False,
        spec=spec,
    )
