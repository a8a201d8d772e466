"""Experiments as lines of a list."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from ..db.records import FIXED, ExperimentRecord
from ..db.rescored import rescored_metrics
from .axes import Axis, objective_axes
from .table import SPENT

if TYPE_CHECKING:
    from ..db import Store


@dataclass(frozen=True, slots=True)
class ExperimentRow:
    """An experiment in one line of a list.

    `spent` counts what the budget counts; `front_size` and `hypervolume` are what the run wrote
    down, or None while it has not; `fixed` published networks lie before its own trials.
    """

    id: str
    name: str
    status: str
    kind: str
    group: str | None
    space: str
    strategy: str
    seed: int
    tags: tuple[str, ...]
    objectives: tuple[Axis, ...]
    counts: Mapping[str, int]
    spent: int
    budget: int | None
    created_at: datetime
    elapsed_s: float
    front_size: int | None
    hypervolume: float | None
    fixed: int = 0

    @classmethod
    def of(cls, record: ExperimentRecord) -> ExperimentRow:
        """Return the line of `record`; nothing else is read."""
        front = record.summary.get("front")
        volume = record.summary.get("hypervolume")
        return cls(
            id=record.id,
            name=record.name,
            status=record.status,
            kind=record.kind,
            group=record.group,
            space=record.space,
            strategy=record.strategy,
            seed=record.seed,
            tags=record.tags,
            objectives=objective_axes(record),
            counts=dict(record.counts),
            spent=sum(record.counts.get(status, 0) for status in SPENT),
            budget=budget_of(record),
            created_at=record.created_at,
            elapsed_s=record.elapsed_s,
            front_size=len(front) if isinstance(front, list | tuple) else None,
            hypervolume=float(volume) if isinstance(volume, int | float) else None,
            fixed=len(record.info.get(FIXED, ())),
        )

    @property
    def goal(self) -> str:
        """The objectives in words: `max valid_accuracy, min latency_ms@pixel3`."""
        return ", ".join(f"{(axis.direction or '')[:3]} {axis.metric}" for axis in self.objectives)


def experiment_rows(
    store: Store, *, all: bool = False, archived: bool = True
) -> list[ExperimentRow]:
    """Return the experiments of the store, the newest first; baselines only with `all`."""
    alive = store.running()
    records = reversed(listed(store.experiments(all=all), archived=archived))
    return [ExperimentRow.of(truthful(record, alive)) for record in records]


def listed(records: Sequence[ExperimentRecord], *, archived: bool) -> list[ExperimentRecord]:
    """Return what a list shows: archived experiments and their baselines only if `archived`."""
    if archived:
        return list(records)
    away = {record.id for record in records if record.archived}
    return [
        r for r in records if r.id not in away and not (r.kind == "baseline" and r.parent in away)
    ]


def truthful(record: ExperimentRecord, alive: Collection[str]) -> ExperimentRecord:
    """Return `record`; one whose process died without a word is `interrupted`, not `running`.

    Nothing of it runs then: its running trials are waiting again.

    Args:
        record: As it is stored.
        alive: Ids of the experiments that a live process runs.
    """
    if record.status != "running" or record.id in alive:
        return record
    counts = dict(record.counts)
    counts["queued"] = counts.get("queued", 0) + counts.pop("running", 0)
    return replace(record, status="interrupted", counts=counts)


def open_record(store: Store, ref: str) -> ExperimentRecord:
    """Return experiment `ref`, its status checked against the processes that are alive.

    Its metrics are those of its run, and those that were added by rescoring.

    Raises:
        StoreError: If there is no such experiment.
    """
    record = store.experiment(ref)
    known = {metric.name for metric in record.metrics}
    added = [metric for metric in rescored_metrics(record) if metric.name not in known]
    record = replace(record, metrics=(*record.metrics, *added))
    return truthful(record, store.running() if record.status == "running" else ())


def spent_text(row: ExperimentRow) -> str:
    """Return how much of the trial budget is spent: `166 of 300`."""
    return f"{row.spent:,} of {row.budget:,}" if row.budget else f"{row.spent:,}"


def budget_of(record: ExperimentRecord) -> int | None:
    """Return the number of trials that the experiment may spend, None without such a limit."""
    for source in (record.info, record.spec):
        budget = source.get("budget")
        if isinstance(budget, Mapping) and isinstance(budget.get("trials"), int):
            return int(budget["trials"])
    return None
