"""The loop of a search as a state machine that engines drive: `take`, `start`, `finish`."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...db.records import FIXED, Outcome, TrialRecord
from ...errors import SpecError
from ...spaces import Architecture
from ..objectives import total_violation
from ..strategy import Candidate, Status
from .book import Book
from .context import Mapper, RunContext
from .engines.processes import run_processes
from .evaluation import Ending, Evaluation, Panel, valid_metrics
from .events import Emitter
from .ledger import Ledger, epochs_each
from .members import Member, stored_architecture
from .standing import Standing
from .stopping import StopSignal
from .together import Parallel
from .trial import OpenTrial, trial_seeds

if TYPE_CHECKING:
    from ...db import Store
    from .plan import Plan

DETAILED = 200  # best trials per objective that get details at the end
Screen = Callable[[Sequence[Architecture], Sequence[Sequence[int]]], list[Evaluation]]
_LOG = logging.getLogger(__name__)


class Session:
    """Asks, numbers, screens, answers from the store, tells, and keeps the store in step.

    Under `order: number` a batch is asked for, evaluated in any order and told whole in number
    order, so that the number of workers does not change the trials. Under `order: arrival` one
    candidate is asked for whenever a worker is free, and told when it is finished.

    An engine takes trials until `take` returns None and nothing that it took is running.

    Args:
        plan: What runs.
        store: Where to.
        experiment_id: The experiment's id; its claim is held.
        panel: The estimators.
        screen: Asks the cheap estimators about many architectures; in this process by default.
        mapper: What `Context.map` does.
        parallel: What `Context.parallel` does.
        emit: Who is told of everything.
        stop: Why to end early.
        warm: Candidates that come before the strategy's own.
        fixed: Fixed points: they come first, spend no budget, and the strategy never hears of them.
        elapsed_s: Seconds that earlier processes spent.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        experiment_id: str,
        panel: Panel,
        *,
        screen: Screen | None = None,
        mapper: Mapper | None = None,
        parallel: Parallel = run_processes,
        emit: Emitter | None = None,
        stop: StopSignal | None = None,
        warm: Sequence[Candidate] = (),
        fixed: Sequence[Candidate] = (),
        elapsed_s: float = 0.0,
    ) -> None:
        self.plan, self.panel = plan, panel
        self.emit = emit or Emitter()
        self.stop = StopSignal() if stop is None else stop  # a signal not yet given is falsy
        self.reason: str | None = None
        self.running: dict[int, OpenTrial] = {}
        self.ledger = Ledger(plan.budget, epochs_each=epochs_each(plan.estimators))
        self.standing = Standing(plan.objectives, best=max(plan.keep_weights, DETAILED))
        self._store, self._id, self._strategy = store, experiment_id, plan.strategy
        self._screen_many, self._warm = screen or panel.screen, tuple(warm)
        self._fixed = tuple(fixed)
        self._fixed_first: dict[str, int] = {}  # what identifies a fixed point -> its trial
        self._by_arrival = plan.runner.order == "arrival" and bool(panel.costly)
        self._started, self._before = time.monotonic(), elapsed_s
        self._open: dict[int, OpenTrial] = {}
        self._ready: deque[OpenTrial] = deque()
        self._next = self._told = self._warmed = 0
        self._dry = False
        self._strategy_state: Mapping[str, Any] = {}
        self.context = RunContext(
            plan,
            store,
            experiment_id,
            emit=self.emit,
            stopping=lambda: bool(self.stop),
            mapper=mapper or (lambda function, items: [function(item) for item in items]),
            parallel=parallel,
        )
        self._book = Book(
            plan,
            store,
            experiment_id,
            context=self.context,
            standing=self.standing,
            emit=self.emit,
            elapsed=self.elapsed,
            epochs=lambda: self.ledger.epochs,
        )

    def elapsed(self) -> float:
        """Return the seconds spent, over all processes."""
        return self._before + time.monotonic() - self._started

    # ------------------------------------------------------------------ beginning
    def prepare(self) -> None:
        """Prepare the strategy; continue where an earlier process ended, if there is one."""
        stored = self._store.load_state(self._id)
        records = self._store.trial_records(self._id)
        if records:
            self.context.load_known(records)
        self._strategy.prepare(self.context)
        self.context.flush()
        self.context.preparing = False
        if stored is not None:
            state, self._told = stored
            self._strategy_state = state["strategy"]
            self._warmed = state["warm"]
            self._strategy.load_state_dict(self._strategy_state)
        else:
            self._strategy_state = self._strategy.state_dict()
        if records:
            self._load(records, epochs=stored[0]["epochs"] if stored else 0)

    def _load(self, records: Sequence[TrialRecord], *, epochs: int) -> None:
        for record in records:
            if record.feasible:
                self.standing.add(record.number, record.metrics)
            if record.fixed is not None:
                identity = self.context.identity(stored_architecture(record))
                self._fixed_first.setdefault(identity, record.number)
        searched = [r for r in records if r.fixed is None]
        self.ledger.load(
            Counter(r.status for r in searched),
            feasible=sum(r.feasible for r in searched),
            reused=sum(r.reused_from is not None for r in searched),
            epochs=epochs,
        )
        self._next = records[-1].number + 1
        untold = [r for r in records if r.told is None]
        lost = [r.number for r in untold if r.status == "running"]
        self._book.requeue(lost)
        trials = [OpenTrial.stored(r, self._seeds(r.number)) for r in untold]
        self._open = {t.number: t for t in trials}
        self._link(trials)
        waiting = [t for t in trials if t.outcome is None]
        self._screen(waiting)
        cap = 1 + self.plan.runner.retries
        for trial, record in zip(trials, untold, strict=True):
            if trial.outcome is None and record.status == "running" and record.attempts >= cap:
                text = f"the process that evaluated it died {record.attempts} times"
                self._settle(trial, "failed", trial.metrics, error=f"WorkerLost: {text}")
        self._release(waiting)
        if ended := [t for t in waiting if t.outcome is not None]:
            self._close(ended)
        if self._by_arrival and (
            late := [t for t in trials if t.number in self._open and t.outcome]
        ):
            self._tell(late)  # the run was started in the order of numbers
            self._book.finish((), tell=late, state=self._state(), told=self._told)

    # ------------------------------------------------------------------ what engines call
    def take(self) -> OpenTrial | None:
        """Return the next trial to evaluate; None: there is none now, or no more at all.

        Evaluates, stores and tells everything that needs no engine on the way.
        """
        while True:
            if self.stop:
                self.reason = self.reason or self.stop.reason
                return None
            if self._ready:
                return self._ready.popleft()
            if self._open and not self._by_arrival:
                if any(t.outcome is None for t in self._open.values()):
                    return None
                self._close(())
            elif not self._ask():
                return None

    @property
    def over(self) -> bool:
        """Whether the search has ended and nothing is being evaluated."""
        return self.reason is not None and not self.running

    def start(self, trial: OpenTrial) -> None:
        """Note that an evaluation starts (again)."""
        self.running[trial.number] = trial
        trial.epochs = 0
        self._book.start([trial.number])

    def retry(self, number: int) -> bool:
        """Give back a running trial whose worker was lost; False: it was tried often enough."""
        trial = self.running[number]
        trial.losses += 1
        if trial.losses > self.plan.runner.retries:
            return False
        del self.running[number]
        self._book.requeue([number])
        self._ready.appendleft(trial)
        return True

    def report(self, number: int, step: int, metrics: Mapping[str, float]) -> None:
        """Take a point of the curve of a running trial; no metrics: only an epoch went by."""
        self.running[number].epochs += 1
        for name, value in metrics.items():
            self._book.point(name, step, value, number)
        self._book.flush_points()

    def finish(self, number: int, evaluation: Evaluation) -> None:
        """Take the end of an evaluation."""
        trial = self.running.pop(number)
        trial.duration_s += evaluation.duration_s
        trial.weights = evaluation.weights
        metrics = {**trial.metrics, **evaluation.metrics}
        self._settle(
            trial,
            evaluation.status,
            metrics,
            violation=evaluation.violation,
            error=evaluation.error,
            traceback=evaluation.traceback,
        )
        followers = [t for t in self._open.values() if t.leader == number and t is not trial]
        for follower in followers:
            self._copy(follower, trial)
        self._close([trial, *followers])

    def requeue(self) -> None:
        """Give back what is running: the run ends before it does."""
        numbers = sorted(self.running)
        self._book.requeue(numbers)
        self.running.clear()

    # ------------------------------------------------------------------ asking
    def _ask(self) -> bool:
        """Ask for the next candidates; False when there are none now."""
        if self._next < len(self._fixed):
            return self._begin(self._fixed[self._next :])
        room = self.ledger.room(sum(t.fixed is None for t in self._open.values()))
        if room == 0 or self._dry or self.ledger.too_many_infeasible:
            if not self._open:
                self.reason = (
                    "max_infeasible"
                    if self.ledger.too_many_infeasible
                    else "exhausted"
                    if self._dry
                    else "budget"
                )
            return False
        wanted = 1 if self._by_arrival else min(self._strategy.batch, room)
        candidates = self._candidates(wanted)
        if not candidates:
            self._dry = True
            return self._ask()
        return self._begin(candidates)

    def _begin(self, candidates: Sequence[Candidate]) -> bool:
        """Number, screen and store what was asked for; True, so that engines look again."""
        trials = [self._number(candidate) for candidate in candidates]
        self.emit.each("asked", (t.number for t in trials))
        self._link(trials)
        self._screen(trials)
        for trial in trials:
            self._open[trial.number] = trial
        ended = [t for t in trials if t.outcome is not None]
        if len(ended) == len(trials):
            self._tell(trials)
            self._book.answer(trials, self._state(), self._told)
        else:
            self._strategy_state = self._strategy.state_dict()
            self._book.ask(trials, self._state(), self._told)
            self._release(trials)
        return True

    def _candidates(self, wanted: int) -> list[Candidate]:
        waiting = self._warm[self._warmed : self._warmed + wanted]
        if waiting:
            self._warmed += len(waiting)
            return [c for c in waiting if not self.context.known(c.architecture)] or (
                self._candidates(wanted)
            )
        candidates = self._strategy.ask(wanted)
        if len(candidates) > wanted:
            raise SpecError(
                f"a strategy may return at most as many candidates as it is asked for, got "
                f"{len(candidates)} for {wanted} from {type(self._strategy).__name__}"
            )
        if named := [c.tags for c in candidates if FIXED in c.tags]:
            raise SpecError(f"the tag {FIXED!r} marks fixed points; got {named[0]}, rename it")
        return self._distinct(candidates)

    def _distinct(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the candidates without twins of earlier ones in the same batch.

        A strategy sees to it that architectures differ; under `dedup: canonical` two that differ
        may still be one network.
        """
        first: dict[tuple[str, float | None], Candidate] = {}
        for candidate in candidates:
            key = self.context.identity(candidate.architecture), candidate.budget
            first.setdefault(key, candidate)
        return list(first.values())

    def _number(self, candidate: Candidate) -> OpenTrial:
        trial = OpenTrial.of(candidate, self._next, self._seeds(self._next))
        self._next += 1
        return trial

    def _seeds(self, number: int) -> tuple[int, ...]:
        return trial_seeds(self.plan.seed, number, self.plan.repeats, fixed=len(self._fixed))

    def _link(self, trials: Iterable[OpenTrial]) -> None:
        """Find trials whose architecture was asked for before: they copy, nothing is paid twice."""
        trials = list(trials)
        batch = {t.number: t for t in trials}
        for trial in trials:
            first = self._first(trial)
            if first == trial.number or trial.outcome is not None:
                continue
            leader = batch.get(first) or self._open.get(first)
            if leader is None:
                self._copy_stored(trial, first)
            elif leader.budget == trial.budget:
                trial.leader = first

    def _first(self, trial: OpenTrial) -> int:
        """Return the first trial of the same architecture; of the search's own before fixed ones.

        Strategies do not know fixed points: they may propose one, which then costs nothing.
        """
        identity = self.context.identity(trial.architecture)
        if trial.fixed is not None:
            return self._fixed_first.setdefault(identity, trial.number)
        own = self.context.remember(trial.architecture, trial.number)
        return self._fixed_first.get(identity, own) if own == trial.number else own

    def _copy_stored(self, trial: OpenTrial, first: int) -> None:
        record = self._store.trial(self._id, first)
        if record.budget == trial.budget and record.status in ("done", "infeasible"):
            trial.reused_from = record.id
            metrics = dict(self.context.result(record).metrics)
            self._settle(trial, record.status, metrics, total=record.violation)

    def _copy(self, trial: OpenTrial, leader: OpenTrial) -> None:
        ended = leader.outcome
        if ended is not None:
            self._settle(
                trial,
                ended.status,
                dict(ended.metrics),
                total=ended.violation,
                error=ended.error,
                traceback=ended.traceback,
            )

    # ------------------------------------------------------------------ cheap answers
    def _screen(self, trials: Sequence[OpenTrial]) -> None:
        """Ask the cheap estimators, then the store; settle what needs nothing more."""
        fresh = [t for t in trials if t.outcome is None and t.leader is None]
        if not self.panel.costly:
            self.emit.each("evaluating", (t.number for t in fresh))
        if fresh and self.panel.cheap:
            found = self._screen_many([t.architecture for t in fresh], [t.seeds for t in fresh])
            for trial, evaluation in zip(fresh, found, strict=True):
                self._screened(trial, evaluation)
        if self.panel.costly and self.plan.reuse:
            own = [t for t in fresh if not isinstance(t.architecture, Member)]
            self._reuse([t for t in own if t.outcome is None])
        by_number = {t.number: t for t in trials}
        for trial in trials:
            if trial.outcome is None and trial.leader is not None:
                leader = by_number.get(trial.leader) or self._open.get(trial.leader)
                if leader is not None:
                    self._copy(trial, leader)

    def _screened(self, trial: OpenTrial, evaluation: Evaluation) -> None:
        trial.metrics, trial.duration_s = evaluation.metrics, evaluation.duration_s
        if evaluation.status == "failed":
            self._settle(
                trial,
                "failed",
                evaluation.metrics,
                error=evaluation.error,
                traceback=evaluation.traceback,
            )
            return
        violation = evaluation.violation
        if self.plan.constraints:
            violation += total_violation(self.plan.constraints, evaluation.metrics)
        if violation > 0:
            metrics, error = evaluation.metrics, evaluation.error
            self._settle(trial, "infeasible", metrics, total=violation, error=error)
        elif not self.panel.costly:
            self._settle(trial, "done", evaluation.metrics, total=0.0)

    def _reuse(self, trials: Sequence[OpenTrial]) -> None:
        """Answer from the store what a deterministic estimator said before, in any run."""
        for i, estimator in enumerate(self.panel.costly):
            if not estimator.deterministic:
                continue
            expected = set(valid_metrics(estimator))
            for budget in {t.budget for t in trials}:
                alike = [t for t in trials if t.budget == budget]
                found = self._store.lookup(
                    self.plan.space.fingerprint,
                    [t.architecture.key for t in alike],
                    fingerprint=estimator.fingerprint,
                    budget=budget,
                )
                for trial in alike:
                    row, metrics = found.get(trial.architecture.key, (None, {}))
                    if row is not None and expected <= metrics.keys():
                        trial.metrics = trial.metrics | {n: metrics[n] for n in expected}
                        trial.answered.add(i)
                        trial.reused_from = row
        for trial in trials:
            if len(trial.answered) == len(self.panel.costly):
                self._settle(trial, "done", trial.metrics)

    # ------------------------------------------------------------------ endings
    def _settle(
        self,
        trial: OpenTrial,
        status: Ending | Status,
        metrics: Mapping[str, float],
        *,
        violation: float = 0.0,
        total: float | None = None,
        error: str | None = None,
        traceback: str | None = None,
    ) -> None:
        """Give a trial its outcome and count it; `total` is the violation where it is known."""
        if total is None:
            total = violation + total_violation(self.plan.constraints, metrics)
        trial.outcome = Outcome(
            trial.number,
            status,
            metrics,
            total,
            error,
            traceback,
            trial.reused_from,
            trial.duration_s,
        )
        feasible = status == "done" and total == 0.0
        if trial.fixed is None:
            self.ledger.add(status, feasible=feasible, reused=trial.reused_from is not None)
        trained = self.panel.costly and status != "infeasible" and trial.reused_from is None
        if trained and trial.fixed is None:
            self.ledger.spend(trial.epochs, finished=status == "done", asked=trial.budget)
        if feasible:
            self.standing.add(trial.number, metrics)

    def _release(self, trials: Iterable[OpenTrial]) -> None:
        self._ready += [t for t in trials if t.outcome is None and t.leader is None]

    def _close(self, ended: Sequence[OpenTrial]) -> None:
        """Store how trials ended; tell them, alone or with their batch."""
        tell: list[OpenTrial] = []
        if self._by_arrival:
            tell = sorted(ended, key=lambda t: t.number)
        elif all(t.outcome is not None for t in self._open.values()):
            tell = [self._open[number] for number in sorted(self._open)]
        if tell:
            self._tell(tell)
        self._book.finish(ended, tell=tell, state=self._state(), told=self._told)

    def _tell(self, trials: Sequence[OpenTrial]) -> None:
        if results := [t.result() for t in trials if t.fixed is None]:
            self.context.told(results)
            self._strategy.tell(results)
        self._told += len(trials)
        self._dry = False
        for trial in trials:
            self._open.pop(trial.number, None)
        self._strategy_state = self._strategy.state_dict()

    def _state(self) -> dict[str, Any]:
        return {
            "strategy": self._strategy_state,
            "warm": self._warmed,
            "epochs": self.ledger.epochs,
        }
