"""`netloom search | resume | stop`: running experiments."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import Interrupted, SpecError, TrialsFailed
from . import completion
from .common import (
    ExperimentArgument,
    JsonOption,
    SetOption,
    SpecArgument,
    StoreOption,
    command,
    emit,
    emit_json,
    note,
    open_store,
    store_words,
)
from .listing import experiment_json
from .pareto import emit_front, front_json
from .progress import Goal, goal_of, listening

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from ...db.records import ExperimentRecord
    from ..run.events import Event, Listener
    from ..run.origin import Origin
    from ..run.plan import Plan
    from ..run.runner import RunSummary
    from ..run.spec import Budget

_SEEDS = re.compile(r"^\s*(\d+)(?:\s*-\s*(\d+))?\s*$")
_MAX_SEEDS = 10_000

QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but the experiment's name.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit 4 when a trial failed.")]
NoProgressOption = Annotated[
    bool, typer.Option("--no-progress", help="Plain lines instead of the live table.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "search", "netloom search spec.yaml --set budget.trials=200 --seeds 0-4")(search)
    command(app, "resume", "netloom resume quickstart")(resume)
    command(app, "stop", "netloom stop quickstart")(stop)


def search(
    spec: SpecArgument,
    set_: SetOption = None,
    store: StoreOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the resolved spec, stop.")
    ] = False,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="0-4", help="One run per seed, as one group: 0-4 or 0,3,7."
        ),
    ] = None,
    warm_start: Annotated[
        str | None,
        typer.Option(
            "--warm-start",
            metavar="EXP",
            help="Propose the front of EXP first.",
            autocompletion=completion.experiments,
        ),
    ] = None,
    quiet: QuietOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Search: run the experiment that a spec describes.

    Exit code 0 done, 3 without a feasible architecture, 4 with failed trials (--strict), 130
    interrupted and resumable.
    """
    from ..run.plan import build_plan
    from ..run.spec import load_spec
    from ..run.warm import check_warm

    overrides = list(set_ or ())
    if store is not None:
        overrides.append(f"store={json.dumps(store)}")
    if warm_start is not None:
        overrides.append(f"warm_start={json.dumps(warm_start)}")
    runs = [overrides]
    if seeds is not None:
        first, _ = load_spec(spec, overrides)
        group = json.dumps(first.group or first.name)
        runs = [
            [*overrides, f"seed={s}", f"name={json.dumps(f'{first.name}-s{s}')}", f"group={group}"]
            for s in parse_seeds(seeds)
        ]
    plans = []
    for each in runs:
        read, folder = load_spec(spec, each)
        plans.append(build_plan(read, source_dir=folder))
    if dry_run:
        for plan in plans:
            check_warm(plan)
            emit_json(dict(plan.spec))
        note("dry run: nothing was evaluated or stored")
        return
    shown = Shown(quiet, strict, as_json, no_progress, several=len(plans) > 1)
    summaries = [shown.start(plan) for plan in _until_interrupted(plans, shown)]
    if left := plans[len(summaries) :]:
        numbers = ",".join(str(plan.seed) for plan in left)
        words = [f"--set {shlex.quote(text)}" for text in overrides]
        note(
            f"not started: {', '.join(plan.name for plan in left)}; run them with: "
            f"{' '.join(['netloom search', shlex.quote(spec), *words, '--seeds', numbers])}"
        )
    finish(summaries, shown)


def resume(
    experiment: ExperimentArgument,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="budget.X=V", help="Extend the budget; may be repeated."),
    ] = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    strict: StrictOption = False,
    as_json: JsonOption = False,
    no_progress: NoProgressOption = False,
) -> None:
    """Go on with an interrupted or killed experiment, or extend the budget of a finished one."""
    from ..run.runner import Runner

    shown = Shown(quiet, strict, as_json, no_progress)
    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        budget = _extended(dict(record.spec), set_ or ())
        spent = budget.model_dump(by_alias=True) if budget else dict(record.spec.get("budget", {}))
        for name, (was, now) in _lowered(record, budget).items():
            note(f"budget.{name} is {now:g} from now on; it was {was:g}")
        done = opened.trial_records(record.id, statuses=["done"])
        with shown.progress(goal_of(record, spent, done)) as listeners:
            summary = Runner.resume(opened, record.id, listeners=listeners, budget=budget)
    finish([shown.print(summary, store)], shown)


def stop(experiment: ExperimentArgument, store: StoreOption = None) -> None:
    """Ask the process that runs an experiment to end cleanly; it can be resumed."""
    from ...dashboard.rows import open_record

    with open_store(store, write=True) as opened:
        record = open_record(opened, experiment)
        if record.status != "running":
            raise SpecError(
                f"only a running experiment can be stopped; {record.name} is {record.status}"
            )
        opened.request_stop(record.id)
    note(f"{record.name} ends after its current trials; netloom resume {record.ref} goes on")


def parse_seeds(text: str) -> list[int]:
    """Return the seeds of `0-4` or `0,3,7-9`.

    Raises:
        SpecError: If the text is not a list of numbers and ranges, or names a seed twice.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = _SEEDS.match(part)
        if found is None:
            raise SpecError(f"--seeds must read 0-4 or 0,3,7, got {text!r}")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= _MAX_SEEDS:
            raise SpecError(f"--seeds: a range goes up, by less than {_MAX_SEEDS}; got {part!r}")
        seeds += range(first, last + 1)
    if len(set(seeds)) != len(seeds):
        raise SpecError(f"--seeds names a seed twice: {text!r}")
    return seeds


class Shown:
    """How runs are shown, and how they end."""

    def __init__(
        self,
        quiet: bool,
        strict: bool,
        as_json: bool,
        no_progress: bool,
        *,
        several: bool = False,
    ) -> None:
        self.quiet, self.strict, self.as_json = quiet, strict, as_json
        self.no_progress, self.several = no_progress, several
        self.interrupted = False

    def progress(self, goal: Goal) -> AbstractContextManager[list[Listener]]:
        """Return the context manager that gives the listeners of one run."""
        live = sys.stderr.isatty() and not self.no_progress
        return listening(goal, quiet=self.quiet, live=live)

    def start(self, plan: Plan, origin: Origin | None = None) -> RunSummary:
        """Run a plan and print what came of it; `origin` is where its networks come from."""
        from ...db import Store
        from ..run.runner import Runner

        budget = plan.budget
        goal = Goal(plan.objectives, budget.trials, budget.time_s, epochs=budget.epochs)
        with Store(plan.store_url) as opened, self.progress(goal) as listeners:
            listeners = [_renamed(plan.name), *listeners]
            summary = Runner(plan, opened, listeners=listeners, command=sys.argv).run(origin=origin)
        explicit = plan.spec.get("store")
        return self.print(summary, str(explicit) if explicit else None)

    def print(self, summary: RunSummary, store: str | None) -> RunSummary:
        """Print the result of one run to stdout, the rest to stderr."""
        record, words = summary.experiment, store_words(store)
        if self.as_json:
            value = {
                "experiment": experiment_json(record),
                "reason": summary.reason,
                "elapsed_s": summary.elapsed_s,
                **front_json(summary.front),
            }
            emit_json(value, indent=None if self.several else 2)
        elif self.quiet:
            emit(record.name)
        elif summary.front:
            emit_front(record, summary.front)
        self.interrupted = summary.exit_code == Interrupted.exit_code
        if self.interrupted:
            go_on = f"netloom resume {record.ref}{words}"
            note(f"{record.name} was {summary.reason}; go on with: {go_on}")
            return summary
        if summary.nearest is not None:
            note(str(summary.nearest))
        if summary.failure is not None:
            note(f"error: every trial failed, the first with {summary.failure}")
        for number, error in summary.test_failures.items():
            note(f"trial {number} has no test metrics: {error}")
        if not self.quiet:
            _explain(summary)
            note(f"see also: netloom report {record.ref}{words} -o report.html")
        return summary


def _renamed(wished: str) -> Listener:
    """Return a listener that says when the name was taken."""

    def listen(event: Event) -> None:
        name = event.data.get("name")
        if event.kind == "started" and name != wished:
            note(f"the name {wished} was taken; this run is {name}")

    return listen


def _until_interrupted(plans: Sequence[Plan], shown: Shown) -> Any:
    for plan in plans:
        if shown.interrupted:
            return
        yield plan


def _explain(summary: RunSummary) -> None:
    """Say in one or two lines how a run ended."""
    from ...dashboard.words import plural, seconds_text

    record = summary.experiment
    counts = ", ".join(f"{n} {status}" for status, n in summary.counts.items() if n)
    note(
        f"{record.name}: {plural(len(summary.front), 'architecture')} on the front; "
        f"{counts or 'no trials'} in {seconds_text(summary.elapsed_s)} ({summary.reason})"
    )
    if summary.counts.get("failed"):
        note(f"failed trials: netloom show {record.ref} --trial N tells why, netloom repro repeats")


def finish(summaries: Sequence[RunSummary], shown: Shown) -> None:
    """Exit with the code of the worst run."""
    from ...dashboard.words import plural

    code = max((s.exit_code for s in summaries), default=0)
    failed = sum(s.counts.get("failed", 0) for s in summaries)
    if code == 0 and shown.strict and failed:
        raise TrialsFailed(f"{plural(failed, 'trial')} failed (--strict)")
    if code:
        raise typer.Exit(code)


def _lowered(record: ExperimentRecord, budget: Budget | None) -> dict[str, tuple[float, float]]:
    """Return the bounds that a new budget lowers."""
    from ..run.runner import shrunk
    from ..run.spec import parse

    return {} if budget is None else shrunk(parse(record.spec).budget, budget)


def _extended(spec: dict[str, Any], assignments: Sequence[str]) -> Any:
    """Return the stored budget with `--set budget.x=v` applied; None when nothing changes.

    Raises:
        SpecError: If something else than the budget is to change: the trials would not fit.
    """
    from ..run.spec import parse

    if not assignments:
        return None
    for text in assignments:
        if not text.startswith("budget."):
            raise SpecError(
                f"resume may change the budget only (budget.trials=200), got {text!r}; "
                "start a new search for anything else"
            )
    return parse(spec, overrides=assignments).budget
