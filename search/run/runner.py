"""`Runner`: runs a plan to its end, resumes it, says what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...db.records import FIXED
from ...errors import NoFeasible, SpecError
from .baseline import run_baseline, wants_baseline
from .describe import info, metric_records, new_experiment
from .diagnosis import Diagnosis, diagnose
from .engines import Engine, make_engine
from .events import Emitter, Listener
from .finishing import (
    add_details,
    add_explanations,
    front_records,
    test_chosen,
    to_be_tested,
    volume,
)
from .fixed import stored_fixed, stored_ref, with_fixed
from .origin import Origin, give_initial, give_stored_initial, keep_initial, with_origin
from .session import Session
from .stopping import StopSignal
from .warm import stored_warm, warm_candidates, with_warm

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord, ExperimentStatus, TrialRecord
    from .plan import Plan
    from .spec import Budget

_CUT_SHORT = ("interrupted", "stopped")
INTERRUPTED = 130


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Args:
        experiment: The stored record.
        front: The feasible front, best first in the first objective.
        reason: `budget`, `time`, `exhausted` (the space holds nothing new), `max_infeasible`,
            `interrupted` (Ctrl-C) or `stopped` (`netloom stop`).
        counts: Trials by status, and `reused` among them.
        elapsed_s: Seconds over all processes that ran it.
        exit_code: What the command line returns: 0, 1 (every trial failed), 3 (nothing feasible),
            130 (resumable).
        nearest: Why nothing was feasible, where that is so.
        test_failures: Trial -> why it has no test metrics.
        failure: Why the first trial failed, where all of them did.
    """

    experiment: ExperimentRecord
    front: tuple[TrialRecord, ...]
    reason: str
    counts: Mapping[str, int]
    elapsed_s: float
    exit_code: int = 0
    nearest: Diagnosis | None = None
    test_failures: Mapping[int, str] = field(default_factory=dict)
    failure: str | None = None

    def _repr_html_(self) -> str:
        from ...dashboard.notebook import experiment_html

        return experiment_html(self.experiment, self.front)


class Runner:
    """Owns the loop of a search.

    Args:
        plan: What to run; its strategy is used up by the run.
        store: Where results go.
        listeners: Called with every event, in this thread.
        command: The command line, stored with the versions.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        listeners: Sequence[Listener] = (),
        command: Sequence[str] = (),
    ) -> None:
        self.plan, self.store = plan, store
        self._emit, self._command = Emitter(listeners), tuple(command)

    def run(self, *, origin: Origin | None = None) -> RunSummary:
        """Run the plan as a new experiment.

        Args:
            origin: Where the networks of the plan were chosen from.

        Raises:
            SpecError: If trainings start from weights that are not there.
            StoreError: If the store refuses.
            NetloomError: If the strategy or an engine fails; a failing trial is only recorded.
        """
        warm = warm_candidates(self.plan, self.store)
        give_initial(self.plan, origin)
        new = with_origin(new_experiment(self.plan, command=self._command), origin)
        new = with_fixed(with_warm(new, warm), self.plan.fixed)
        record = self.store.create_experiment(new)
        keep_initial(self.store, record.id, origin)
        return self._drive(record)

    @classmethod
    def resume(
        cls,
        store: Store,
        ref: str,
        *,
        plan: Plan | None = None,
        listeners: Sequence[Listener] = (),
        budget: Budget | None = None,
    ) -> RunSummary:
        """Go on where an experiment ended: nothing is lost, nothing is evaluated twice.

        Args:
            store: Where it is stored.
            ref: Name, id or unique prefix.
            plan: The plan, needed when it was made of Python objects; else it is rebuilt from the
                stored spec.
            listeners: Called with every event.
            budget: A larger budget.

        Raises:
            SpecError: If the plan cannot be rebuilt, or is not the one that was run; or if the
                budget is less than what is spent.
            StoreError: If another process runs the experiment.
        """
        record = store.experiment(ref)
        plan = plan or stored_plan(record)
        if budget is not None:
            _require_unspent(plan.budget, budget, record)
            plan = replace(plan, budget=budget, spec=_with_budget(plan.spec, budget))
        _require_same(plan, record)
        give_stored_initial(plan, store, record.id)
        runner = cls(plan, store, listeners=listeners)
        return runner._drive(record, resumed=True)

    # ------------------------------------------------------------------ the run
    def _drive(self, record: ExperimentRecord, *, resumed: bool = False) -> RunSummary:
        plan, store = self.plan, self.store
        with store.claim(record.id):
            if resumed:
                store.update_experiment(
                    record.id, status="running", spec=plan.spec, info={**record.info, **info(plan)}
                )
            self._emit("started", name=record.name, id=record.id, resumed=resumed)
            started = time.monotonic()
            try:
                # Ray takes seconds to start and to end, and a signal in its midst crashes it.
                with self._stop_signal(record, started) as stop, make_engine(plan) as engine:
                    stop.again()
                    summary = self._search(record, engine, stop)
            except KeyboardInterrupt:
                spent = record.elapsed_s + time.monotonic() - started
                store.update_experiment(record.id, status="interrupted", elapsed_s=spent)
                summary = self._summary(record, "interrupted")
            except BaseException:
                spent = record.elapsed_s + time.monotonic() - started
                store.update_experiment(record.id, status="failed", elapsed_s=spent)
                raise
        self._emit("finished", reason=summary.reason, exit_code=summary.exit_code)
        return summary

    def _stop_signal(self, record: ExperimentRecord, started: float) -> StopSignal:
        limit = self.plan.budget.time_s
        return StopSignal(
            lambda: self.store.stop_requested(record.id),
            deadline=None if limit is None else started + limit - record.elapsed_s,
            on_interrupt=self._on_interrupt,
        )

    def _search(self, record: ExperimentRecord, engine: Engine, stop: StopSignal) -> RunSummary:
        plan, store = self.plan, self.store
        session = Session(
            plan,
            store,
            record.id,
            engine.panel,
            screen=engine.screen,
            mapper=engine.map,
            parallel=engine.parallel,
            emit=self._emit,
            stop=stop,
            warm=stored_warm(record),
            fixed=stored_fixed(record),
            elapsed_s=record.elapsed_s,
        )
        try:
            session.prepare()
            engine.run(session)
        except KeyboardInterrupt:
            stop.interrupt()
        finally:
            session.requeue()
        reason = (stop.reason if stop.cut_short else session.reason) or stop.reason or "time"
        status: ExperimentStatus = "interrupted"
        summary: dict[str, Any] = {"reason": reason}
        if reason not in _CUT_SHORT:
            stop.extend()
            status, summary = self._finish(record, engine, session, stop, reason)
        store.update_experiment(
            record.id, status=status, elapsed_s=session.elapsed(), summary=summary
        )
        return self._summary(record, summary["reason"])

    def _on_interrupt(self) -> None:
        self._emit(
            "message",
            text="stopping: finished trials are kept; press Ctrl-C again to stop at once",
        )

    def _finish(
        self,
        record: ExperimentRecord,
        engine: Engine,
        session: Session,
        stop: StopSignal,
        reason: str,
    ) -> tuple[ExperimentStatus, dict[str, Any]]:
        """Do what is done once, at the end; an interruption leaves it to the next process."""
        plan, store, emit = self.plan, self.store, self._emit
        records = store.trial_records(record.id)
        searched = [r for r in records if r.fixed is None]  # what the search answers for
        front = front_records(plan.objectives, records)
        summary: dict[str, Any] = {
            "reason": reason,
            "front": [r.number for r in front],
            "hypervolume": volume(plan.objectives, searched),
            "feasible": session.ledger.feasible,
            "reused": session.ledger.reused,
            "epochs": session.ledger.epochs,
        }
        try:
            due = to_be_tested(record, front, records)
            failures = test_chosen(plan, store, record.id, due, mapper=engine.map, emit=emit)
            summary["untested"] = {str(n): text for n, text in failures.items()}
            add_details(plan, store, record.id, records, session.standing, emit=emit)
            add_explanations(plan, store, record.id, front, records, emit=emit)
            if session.ledger.feasible and wants_baseline(plan):
                baseline = run_baseline(
                    plan, store, record, engine, trials=session.ledger.counted, emit=emit, stop=stop
                )
                if baseline is None:
                    return "interrupted", {**summary, "reason": stop.reason or "interrupted"}
                summary["baseline"] = baseline
        except KeyboardInterrupt:
            return "interrupted", {**summary, "reason": "interrupted"}
        if not session.ledger.feasible:
            found = diagnose(searched, plan.constraints)
            if found is not None:
                summary["diagnosis"] = found.to_json()
                return "infeasible", summary
            if searched and session.ledger.counts["failed"] == len(searched):
                return "failed", summary
        return "done", summary

    def _summary(self, record: ExperimentRecord, reason: str) -> RunSummary:
        record = self.store.experiment(record.id)
        records = self.store.trial_records(record.id)
        searched = [r for r in records if r.fixed is None]
        counts = {**record.counts, "reused": sum(r.reused_from is not None for r in searched)}
        front, nearest, code = front_records(self.plan.objectives, records), None, 0
        failure = None
        if reason in _CUT_SHORT:
            code = INTERRUPTED
        elif record.status == "infeasible":
            nearest, code = diagnose(searched, self.plan.constraints), NoFeasible.exit_code
        elif record.status == "failed":
            code = 1
            failure = next((r.error for r in searched if r.status == "failed"), None)
        failures = record.summary.get("untested", {})
        return RunSummary(
            experiment=record,
            front=front,
            reason=reason,
            counts=counts,
            elapsed_s=record.elapsed_s,
            exit_code=code,
            nearest=nearest,
            test_failures={int(n): str(text) for n, text in failures.items()},
            failure=failure,
        )


def stored_plan(record: ExperimentRecord) -> Plan:
    """Return the plan of a stored experiment, rebuilt from its spec.

    Raises:
        SpecError: If it was made of Python objects that a spec cannot name.
    """
    from .plan import build_plan
    from .spec import parse

    if objects := record.spec.get("objects"):
        raise SpecError(
            f"{record.name} was run from Python with objects that a spec cannot name "
            f"({', '.join(objects)}); resume it with the same Experiment: "
            f"Experiment(...).resume({record.name!r})"
        )
    folder = record.info.get("source_dir")
    return build_plan(parse(record.spec), source_dir=Path(folder) if folder else None)


def _require_same(plan: Plan, record: ExperimentRecord) -> None:
    """Refuse a plan whose trials would not be those of the experiment."""
    now = {m.name: m.fingerprint for m in metric_records(plan)}
    then = {m.name: m.fingerprint for m in record.metrics}
    for what, mine, stored in (
        ("space", plan.space.fingerprint, record.space_fingerprint),
        ("strategy", plan.strategy.name or type(plan.strategy).__name__, record.strategy),
        ("seed", plan.seed, record.seed),
        ("metrics", now, then),
    ):
        if mine != stored:
            raise SpecError(
                f"an experiment is resumed with what it was started with, but the {what} of "
                f"{record.name} has changed since; start a new search (results that are still "
                "valid are reused)"
            )
    there = {stored_ref(kept) for kept in record.info.get(FIXED, ())} - {None}
    if gone := sorted(ref.name for ref in there - plan.foreign.keys() if ref is not None):
        raise SpecError(
            f"the space {gone[0]} of a fixed point of {record.name} has changed since, and so has "
            "that network; start a new search"
        )


def shrunk(before: Budget, budget: Budget) -> dict[str, tuple[float, float]]:
    """Return the bounds that a new budget lowers: name -> (as it was, as it is)."""
    then = before.model_dump(by_alias=True, exclude_none=True)
    now = budget.model_dump(by_alias=True, exclude_none=True)
    return {name: (then[name], now[name]) for name in now if now[name] < then.get(name, 0)}


def _require_unspent(before: Budget, budget: Budget, record: ExperimentRecord) -> None:
    """Refuse a budget that takes back what is spent already.

    Raises:
        SpecError: If one of its bounds was lowered below that.
    """
    trials = sum(record.counts.get(status, 0) for status in ("done", "pruned", "failed"))
    spent = {"trials": trials, "time": record.elapsed_s, "epochs": record.summary.get("epochs", 0)}
    for name, (was, now) in shrunk(before, budget).items():
        if now < spent.get(name, 0):
            raise SpecError(
                f"{record.name} has spent {spent[name]:g} of budget.{name} {was:g}, got {now:g}; "
                "give at least what is spent, or start a new search"
            )


def _with_budget(spec: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
    return {**spec, "budget": budget.model_dump(mode="json", by_alias=True)}
