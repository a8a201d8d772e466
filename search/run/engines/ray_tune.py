"""Trials under Ray Tune: schedulers, resources, several machines. Imported only when wanted."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import OutOfMemoryError, RayActorError
from ray.tune import Callback, Stopper
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler
from ray.tune.search import Searcher

from ....errors import EvaluationError
from ....spaces import Architecture
from ..evaluation import Evaluation, Panel, one_line, valid_metrics
from ..ledger import epochs_each
from .cluster import Cluster, quiet
from .payload import Payload, pack
from .trainable import OUTCOME, REPORT, SCORE, STEP, WORK, Report, TrialActor, Work

if TYPE_CHECKING:
    from ..plan import Plan
    from ..session import Session

_ENDLESS = 10**6  # more steps than a trial has: its end is its outcome, not a step count


class RayTuneEngine:
    """Runs trials in Ray Tune; the cheap estimators stay in this process.

    Args:
        panel: The estimators.
        plan: Resources, address, scheduler, retries, where modules are.
    """

    name = "ray"

    def __init__(self, panel: Panel, plan: Plan) -> None:
        self.panel, self._plan = panel, plan
        self._cluster = Cluster(plan.runner)

    @property
    def workers(self) -> int:
        """Trials at a time."""
        return self._cluster.workers

    def __enter__(self) -> RayTuneEngine:
        self._cluster.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cluster.__exit__(*exception)

    def screen(
        self, architectures: Sequence[Architecture], seeds: Sequence[Sequence[int]]
    ) -> list[Evaluation]:
        """Ask the cheap estimators, here."""
        return self.panel.screen(architectures, seeds)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return the function's value of each item, computed in Ray tasks."""
        if not items:
            return []
        payload, resources = ray.put(pack(function, self._plan)), self._cluster.resources
        task = ray.remote(_call).options(
            num_cpus=resources["cpu"],
            num_gpus=resources.get("gpu", 0),
            max_retries=self._plan.runner.retries,
        )
        found: list[Any] = ray.get([task.remote(payload, item) for item in items])
        return found

    def run(self, session: Session) -> None:
        """Let Tune take trials from the session until it ends.

        Raises:
            EvaluationError: If no worker can load the estimators.
            NetloomError: If the session cannot go on, for example because its store cannot.
        """
        score, mode = _score(self._plan)
        searcher = SessionSearcher(session, score)
        folder = tempfile.mkdtemp(prefix="netloom-tune-")
        try:
            with quiet():
                self._tuner(session, searcher, mode, folder).fit()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        if searcher.error is not None:
            raise searcher.error

    def _tuner(
        self, session: Session, searcher: SessionSearcher, mode: str, folder: str
    ) -> tune.Tuner:
        trainable = tune.with_parameters(TrialActor, payload=pack(self.panel, self._plan))
        return tune.Tuner(
            tune.with_resources(trainable, self._cluster.resources),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=_scheduler(self._plan, mode),
                num_samples=-1,
                max_concurrent_trials=self.workers,
                reuse_actors=True,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name="run",
                storage_path=folder,
                stop=_SessionStopper(session, searcher),
                callbacks=[_SessionCallback(session, searcher)],
                failure_config=tune.FailureConfig(max_failures=self._plan.runner.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )


class _Bound:
    """Belongs to this process: Tune pickles what it is given, for a restore that we do not use."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return (object, ())

    def __deepcopy__(self, memo: dict[int, Any]) -> _Bound:
        return self


class SessionSearcher(_Bound, Searcher):
    """Gives Tune the trials of a session, and the session the results of Tune.

    Args:
        session: Decides everything.
        score: Metric that the scheduler compares.
    """

    def __init__(self, session: Session, score: str | None = None) -> None:
        super().__init__()
        self._session, self._score = session, score
        self._epochs = epochs_each(session.panel.costly)
        self._owed = {m for e in session.panel.costly for m in valid_metrics(e)}
        self._numbers: dict[str, int] = {}
        self.reported: dict[int, dict[str, float]] = {}
        self.started: dict[int, float] = {}
        self.error: Exception | None = None

    def attempt(self, action: Callable[[], None]) -> None:
        """Act on the session; its error ends the run: Tune would blame the trial and try again."""
        if self.error is None:
            try:
                action()
            except Exception as error:
                self.error = error

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None while there is none; FINISHED at the end."""
        trial = self._session.take() if self.error is None else None
        if trial is None:
            ended = self._session.reason is not None or self.error is not None
            return Searcher.FINISHED if ended else None
        self._numbers[trial_id] = trial.number
        work = Work(
            trial.number,
            trial.architecture,
            trial.seeds,
            trial.budget,
            frozenset(trial.answered),
            self._score,
            trial.budget or self._epochs,
        )
        self._session.taken(trial)
        return {WORK: work}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        self.attempt(lambda: self._report(self._numbers[trial_id], result))

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass an outcome on; a report without one means that the scheduler ended the trial."""
        number = self._numbers.pop(trial_id)
        if error or result is None:
            return  # lost workers are the callback's business: it knows why
        self.attempt(lambda: self._complete(number, result))

    def _complete(self, number: int, result: Mapping[str, Any]) -> None:
        found = result.get(OUTCOME)
        if result.get("broken"):
            raise EvaluationError(f"the workers cannot load the search: {found.error}")
        if found is None:
            self._report(number, result)
            seconds = time.monotonic() - self.started[number]
            found = Evaluation("pruned", self.reported.pop(number, {}), duration_s=seconds)
        self.reported.pop(number, None)
        self._session.finish(number, found)
        found.weights = None  # Tune keeps the last result of every trial

    def _report(self, number: int, result: Mapping[str, Any]) -> None:
        """Pass a report on to the session; what no estimator declares is a curve, no metric."""
        report = result.get(REPORT)
        if isinstance(report, Report):
            declared = {n: v for n, v in report.metrics.items() if n in self._owed}
            self.reported.setdefault(number, {}).update(declared)
            self._session.report(number, report.step, report.metrics)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the store holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: runs are resumed from the store."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing: the store holds everything."""


class _SessionStopper(_Bound, Stopper):
    """Ends all trials when the run is being stopped."""

    def __init__(self, session: Session, searcher: SessionSearcher) -> None:
        self._session, self._searcher = session, searcher

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._searcher.error is not None or bool(self._session.stop)


class _SessionCallback(_Bound, Callback):
    """Tells the session which trials run, and which lost their workers."""

    def __init__(self, session: Session, searcher: SessionSearcher) -> None:
        self._session, self._searcher = session, searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number = trial.config[WORK].number
        self._searcher.started[number] = time.monotonic()
        self._searcher.reported.pop(number, None)
        self._searcher.attempt(lambda: self._session.start_taken(number))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        number, (cause, trace) = trial.config[WORK].number, _failure(trial)
        text = f"WorkerLost: the worker that evaluated it died {trial.num_failures} times"
        if not isinstance(cause, RayActorError | OutOfMemoryError):
            text = one_line(cause)
        found = Evaluation("failed", error=text, traceback=f"{text}\n{trace}\n")
        self._searcher.attempt(lambda: self._fail(number, found))

    def _fail(self, number: int, found: Evaluation) -> None:
        self._session.start_taken(number, again=False)
        self._session.finish(number, found)


class _MedianRule(MedianStoppingRule):
    """Knows that a trial may end before its first report."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if SCORE in result:
            super().on_trial_complete(tune_controller, trial, result)


def _failure(trial: Any) -> tuple[Exception, str]:
    """Return why a trial failed, and the text that Tune kept of it."""
    text = Path(trial.error_file).read_text() if trial.error_file else ""
    if trial.pickled_error_file:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        if isinstance(error, Exception):
            return error, text.strip()
    return EvaluationError("the trial failed outside its estimators"), text.strip()


def _call(payload: Payload, item: Any) -> Any:
    return payload.load()(item)


def _name(trial: Any) -> str:
    return str(trial.trial_id)


def _score(plan: Plan) -> tuple[str | None, str]:
    """Return the metric that the scheduler compares, and which way is better."""
    if plan.runner.scheduler.name == "none":
        return None, "max"
    reported = [m for e in plan.estimators if e.reports for m in valid_metrics(e)]
    wanted = [o.metric for o in plan.objectives if o.metric in reported]
    metric = plan.runner.scheduler.metric or (wanted or reported)[0]
    directions = {o.metric: o.direction for o in plan.objectives}
    direction = directions.get(metric, plan.metrics[metric].direction)
    return metric, "max" if direction == "maximize" else "min"


def _scheduler(plan: Plan, mode: str) -> TrialScheduler | None:
    options = plan.runner.scheduler
    if options.name == "asha":
        return AsyncHyperBandScheduler(
            time_attr=STEP,
            metric=SCORE,
            mode=mode,
            max_t=_ENDLESS,
            grace_period=options.grace,
            reduction_factor=options.reduction,
        )
    if options.name == "median":
        return _MedianRule(
            time_attr=STEP,
            metric=SCORE,
            mode=mode,
            grace_period=options.grace,
            min_samples_required=options.min_trials,
            min_time_slice=math.inf,  # it would pause trials to wait for others; ours cannot pause
        )
    return None
