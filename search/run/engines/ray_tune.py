"""Trials under Ray Tune: schedulers, resources, several machines. Imported only when wanted."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from ....errors import EvaluationError
from ....spaces import Architecture
from ..evaluation import Evaluation, Panel
from ..ledger import epochs_each
from ..together import Home, Task
from .cluster import Cluster, quiet
from .losses import describe, failure, memory_counts_as_loss, results_of
from .payload import Payload, pack
from .schedulers import make_scheduler, score
from .trainable import OUTCOME, REPORT, WORK, Report, TrialActor, Work

if TYPE_CHECKING:
    from ..plan import Plan
    from ..session import Session
    from ..trial import OpenTrial


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
        """Return the function's value of each item, computed in Ray tasks.

        Raises:
            EvaluationError: If an item loses its worker again and again.
        """
        if not items:
            return []
        payload, resources = ray.put(pack(function, self._plan)), self._cluster.resources
        task = ray.remote(_call).options(
            num_cpus=resources["cpu"],
            num_gpus=resources.get("gpu", 0),
            max_retries=self._plan.runner.retries,
        )
        return results_of([task.remote(payload, item) for item in items])

    def parallel(self, task: Task, workers: int, home: Home) -> Any:
        """Run one piece of work in several workers of Ray Train."""
        from .ray_train import run_workers

        return run_workers(task, workers, home, self._cluster, self._plan)

    def run(self, session: Session) -> None:
        """Let Tune take trials from the session until it ends.

        Raises:
            EvaluationError: If no worker can load the estimators.
            NetloomError: If the session cannot go on, for example because its store cannot.
        """
        metric, mode = score(self._plan)
        searcher = SessionSearcher(session, metric)
        folder = tempfile.mkdtemp(prefix="netloom-tune-")
        try:
            with quiet(), memory_counts_as_loss():
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
                scheduler=make_scheduler(self._plan, mode),
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
                callbacks=[_SessionCallback(searcher)],
                failure_config=tune.FailureConfig(max_failures=0),  # the session tries again
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


@dataclass
class _Attempt:
    """A trial of ours on its way through Tune."""

    trial: OpenTrial
    started: float = 0.0
    reported: dict[str, float] = field(default_factory=dict)


class SessionSearcher(_Bound, Searcher):  # type: ignore[misc]  # Ray is untyped here
    """Gives Tune the trials of a session, and the session the results of Tune.

    Every attempt at a trial of ours is a trial of Tune's. An error of the session ends the run: if
    Tune saw it, it would blame the trial.

    Args:
        session: Decides everything.
        score: Metric that the scheduler compares.
    """

    def __init__(self, session: Session, score: str | None = None) -> None:
        super().__init__()
        self._session, self._score = session, score
        self._epochs = epochs_each(session.panel.costly)
        self._attempts: dict[str, _Attempt] = {}
        self.error: Exception | None = None

    @contextmanager
    def _session_at_work(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.error = error

    def suggest(self, trial_id: str) -> Any:
        """Return the next trial; None while there is none; FINISHED at the end."""
        trial = None
        if self.error is None:
            with self._session_at_work():
                trial = self._session.take()
        if trial is None:
            ended = self._session.reason is not None or self.error is not None
            return Searcher.FINISHED if ended else None
        self._attempts[trial_id] = _Attempt(trial)
        work = Work(
            trial.number,
            trial.architecture,
            trial.seeds,
            trial.budget,
            frozenset(trial.answered),
            self._score if trial.fixed is None else None,  # no scheduler ends a fixed point
            trial.budget or self._epochs,
        )
        return {WORK: work}

    def start(self, trial_id: str) -> None:
        """Note that the worker of a trial begins."""
        if self.error is None:
            with self._session_at_work():
                attempt = self._attempts[trial_id]
                attempt.started, attempt.reported = time.monotonic(), {}
                self._session.start(attempt.trial)

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Pass a report on."""
        if self.error is None:
            with self._session_at_work():
                self._report(self._attempts[trial_id], result)

    def on_trial_complete(
        self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass an outcome on; a report without one means that the scheduler ended the trial."""
        if error or result is None or self.error is not None:
            return  # a lost worker is the callback's business: it knows how it died
        with self._session_at_work():
            attempt = self._attempts.pop(trial_id)
            found: Evaluation | None = result.get(OUTCOME)
            if found is not None and result.get("broken"):
                raise EvaluationError(f"the workers cannot load the search: {found.error}")
            if found is None:
                self._report(attempt, result)
                found = self._session.panel.cut_short(attempt.reported)
                found.duration_s = time.monotonic() - attempt.started
            self._session.finish(attempt.trial.number, found)
            found.weights = None  # Tune keeps the last result of every trial

    def lose(self, trial_id: str, error: Exception, trace: str) -> None:
        """Note that the worker of a trial died; it may have died before it began."""
        if self.error is None:
            with self._session_at_work():
                trial = self._attempts.pop(trial_id).trial
                if trial.number not in self._session.running:
                    self._session.start(trial)
                if not self._session.retry(trial.number):
                    text = describe(error, trial.losses)
                    found = Evaluation("failed", error=text, traceback=f"{text}\n{trace}\n")
                    self._session.finish(trial.number, found)

    def _report(self, attempt: _Attempt, result: Mapping[str, Any]) -> None:
        report = result.get(REPORT)
        if isinstance(report, Report):
            attempt.reported.update(report.metrics)
            self._session.report(attempt.trial.number, report.step, report.metrics)

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the store holds everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: runs are resumed from the store."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Save nothing: the store holds everything."""


class _SessionStopper(_Bound, Stopper):  # type: ignore[misc]  # Ray is untyped here
    """Ends all trials when the run is being stopped."""

    def __init__(self, session: Session, searcher: SessionSearcher) -> None:
        self._session, self._searcher = session, searcher

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._searcher.error is not None or bool(self._session.stop)


class _SessionCallback(_Bound, Callback):  # type: ignore[misc]  # Ray is untyped here
    """Tells the searcher which trials run, and which lost their workers."""

    def __init__(self, searcher: SessionSearcher) -> None:
        self._searcher = searcher

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.start(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # Tune asks the worker of a trial without results for its place: here, in vain.
        trial._default_result_or_future = None
        self._searcher.lose(trial.trial_id, *failure(trial))


def _call(payload: Payload, item: Any) -> Any:
    return payload.load()(item)


def _name(trial: Any) -> str:
    return str(trial.trial_id)
