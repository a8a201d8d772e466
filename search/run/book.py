"""Writes what happens in a search: each step in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...db.records import CostRecord, CurvePoint, NewTrial
from .events import Emitter
from .trial import OpenTrial

if TYPE_CHECKING:
    from ...db import Store
    from ...db.transaction import Transaction
    from .context import RunContext
    from .plan import Plan
    from .standing import Standing

WEIGHTS = "weights"
_ELAPSED_S = 1.0  # how often the time spent is stored
_CURVES_S = 1.0  # how often curves of running trials are stored


class Book:
    """The pen of a session: it decides nothing, it writes everything.

    Args:
        plan: What runs.
        store: Where to.
        experiment_id: The experiment's id.
        context: Writes of the strategy go into the transaction of its state.
        standing: Says whose weights are worth keeping.
        emit: Who is told.
        elapsed: Seconds spent, over all processes.
        epochs: Epochs spent, over all processes.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        experiment_id: str,
        *,
        context: RunContext,
        standing: Standing,
        emit: Emitter,
        elapsed: Callable[[], float],
        epochs: Callable[[], int],
    ) -> None:
        self._plan, self._store, self._id = plan, store, experiment_id
        self._context, self._standing, self._emit = context, standing, emit
        self._elapsed, self._elapsed_at = elapsed, time.monotonic()
        self._epochs = epochs
        self._points: list[CurvePoint] = []
        self._points_at = time.monotonic()
        self._costed = costed_metrics(plan)
        self._dropped: dict[str, float] = {}
        #: trial number -> digest of its weights, and when their file was put
        self._kept = {
            a.number: (a.sha256, a.created_at.timestamp())
            for a in store.artifacts(experiment_id, kind=WEIGHTS)
            if a.number is not None
        }

    def ask(self, trials: Sequence[OpenTrial], state: Mapping[str, Any], told: int) -> None:
        """Store trials that wait for their evaluation, with the state that asked for them."""
        ended = [t for t in trials if t.outcome is not None]
        with self._store.transaction() as transaction:
            transaction.add_trials(self._id, [self._row(t, None) for t in trials])
            self._costs(transaction, ended)
            self._state(transaction, state, told)
            self._emit.each("transaction", (t.number for t in ended))
        self._context.written()
        self._emit.each("queued", (t.number for t in trials if t.outcome is None))
        self._committed(ended)

    def answer(self, trials: Sequence[OpenTrial], state: Mapping[str, Any], told: int) -> None:
        """Store new trials that are answered and told at once; `told` counts them already."""
        first = told - len(trials)
        with self._store.transaction() as transaction:
            transaction.add_trials(
                self._id, [self._row(t, first + i) for i, t in enumerate(trials)]
            )
            self._costs(transaction, trials)
            self._state(transaction, state, told)
            self._emit.each("transaction", (t.number for t in trials))
        self._context.written()
        self._committed(trials)
        self._emit.each("told", (t.number for t in trials))

    def start(self, numbers: Sequence[int]) -> None:
        """Mark queued trials as running."""
        with self._store.transaction() as transaction:
            transaction.start_trials(self._id, numbers)
        self._emit.each("evaluating", numbers)

    def requeue(self, numbers: Sequence[int]) -> None:
        """Mark running trials as queued again: their evaluation was cut short."""
        if numbers:
            with self._store.transaction() as transaction:
                transaction.requeue_trials(self._id, numbers)
                transaction.update_experiment(self._id, elapsed_s=self._elapsed())

    def finish(
        self,
        ended: Sequence[OpenTrial],
        *,
        tell: Sequence[OpenTrial] = (),
        state: Mapping[str, Any],
        told: int,
    ) -> None:
        """Store how trials ended; `tell` are those that the strategy knows now.

        Args:
            ended: Trials whose rows are queued or running.
            tell: Told trials, in the order of telling (some may have ended earlier).
            state: The state that this led to.
            told: Results told so far, these included.
        """
        positions = {t.number: told - len(tell) + i for i, t in enumerate(tell)}
        fresh = {t.number for t in ended}
        files = self._weights(ended)
        with self._store.transaction() as transaction:
            transaction.finish_trials(
                self._id,
                [
                    replace(t.outcome, told=positions.get(t.number))
                    for t in ended
                    if t.outcome is not None
                ],
            )
            earlier = {n: p for n, p in positions.items() if n not in fresh}
            if earlier:
                transaction.mark_told(self._id, earlier)
            self._curves(transaction)
            self._costs(transaction, ended)
            self._files(transaction, files)
            self._state(transaction, state, told, strategy=bool(tell))
            self._emit.each("transaction", (t.number for t in ended))
        self._points, self._points_at = [], time.monotonic()
        self._store.drop_files(self._dropped)
        self._dropped = {}
        if tell:
            self._context.written()
        self._committed(ended)
        self._emit.each("told", positions)

    def point(self, name: str, step: int, value: float, number: int) -> None:
        """Store one point of a trial's curve, soon."""
        self._points.append(CurvePoint(name, step, value, number))

    def flush_points(self) -> None:
        """Store the curves of running trials now and then, for those who watch."""
        if self._points and time.monotonic() - self._points_at > _CURVES_S:
            with self._store.transaction() as transaction:
                self._curves(transaction)
                transaction.update_experiment(self._id, elapsed_s=self._elapsed())
            self._points, self._points_at = [], time.monotonic()

    # ------------------------------------------------------------------ parts of transactions
    def _row(self, trial: OpenTrial, told: int | None) -> NewTrial:
        return trial.row(self._plan.space_of(trial.architecture), told)

    def _state(
        self,
        transaction: Transaction,
        state: Mapping[str, Any],
        told: int,
        *,
        strategy: bool = True,
    ) -> None:
        if strategy:  # what it wrote belongs to the state after it was told
            self._context.write(transaction)
        transaction.save_state(self._id, state, told)
        now = time.monotonic()
        if now - self._elapsed_at > _ELAPSED_S:
            transaction.update_experiment(self._id, elapsed_s=self._elapsed())
            self._elapsed_at = now

    def _curves(self, transaction: Transaction) -> None:
        if self._points:
            transaction.add_curves(self._id, self._points)

    def _costs(self, transaction: Transaction, trials: Iterable[OpenTrial]) -> None:
        if not self._costed:
            return
        costs: dict[str, list[CostRecord]] = {}
        for t in trials:
            if t.outcome is not None:
                of = costs.setdefault(self._plan.space_of(t.architecture).fingerprint, [])
                of += [
                    CostRecord(t.architecture.key, device, version, metric, t.outcome.metrics[name])
                    for name, (device, version, metric) in self._costed.items()
                    if name in t.outcome.metrics
                ]
        for fingerprint, found in costs.items():
            if found:
                transaction.add_costs(fingerprint, found)

    def _weights(self, ended: Sequence[OpenTrial]) -> list[tuple[int, str, int]]:
        """Write the weights worth keeping to files, before the transaction that names them."""
        kept = (
            self._standing.kept(self._plan.keep_weights)
            if self._kept or any(t.weights for t in ended)
            else set()
        )
        files = []
        for trial in ended:
            if trial.weights is not None and trial.number in kept:
                files.append((trial.number, *self._store.put_file(trial.weights)))
            trial.weights = None
        return files

    def _files(self, transaction: Transaction, files: Sequence[tuple[int, str, int]]) -> None:
        for number, sha256, size in files:
            transaction.add_artifact(
                self._id,
                kind=WEIGHTS,
                name=f"trial-{number}",
                sha256=sha256,
                size_bytes=size,
                number=number,
                meta={"format": "torch.save of a state dict"},
            )
            self._kept[number] = (sha256, time.time())
        if not self._kept:
            return
        gone = self._kept.keys() - self._standing.kept(self._plan.keep_weights)
        if gone:
            transaction.remove_artifacts(self._id, kind=WEIGHTS, numbers=sorted(gone))
            self._dropped = dict(self._kept.pop(number) for number in gone)

    def _committed(self, trials: Iterable[OpenTrial]) -> None:
        if self._emit:
            for t in trials:
                if t.outcome is not None:
                    self._emit(
                        "committed",
                        t.number,
                        status=t.outcome.status,
                        metrics=t.outcome.metrics,
                        violation=t.outcome.violation,
                        error=t.outcome.error,
                        reused=t.outcome.reused_from is not None,
                        fixed=t.fixed,
                        epochs=self._epochs(),
                    )


def costed_metrics(plan: Plan) -> dict[str, tuple[str, str, str]]:
    """Return the metrics that a hardware model computes: name -> (device, model version, metric).

    What a table holds is not stored once more.
    """
    found = {}
    for name, metric in plan.metrics.items():
        base, at, target = name.partition("@")
        if at and metric.provenance.get("kind") == "model" and "table" not in metric.provenance:
            found[name] = (target, str(metric.provenance.get("version", "")), base)
    return found
