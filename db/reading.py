"""Queries: rows become records here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, exists, func, select
from sqlalchemy.orm import aliased

from ..errors import StoreError, did_you_mean
from .catalog import Entry
from .records import FIXED, ArtifactRecord, ExperimentRecord, MetricRecord, TrialRecord
from .rescored import RESCORED
from .rows import chunks
from .tables import (
    ARCHITECTURES,
    ARTIFACTS,
    COSTS,
    EXPERIMENTS,
    METRICS,
    SOURCES,
    SPACES,
    TRIALS,
    ExperimentRow,
)

_PARENT = aliased(ExperimentRow)
_EXPERIMENTS = (
    select(EXPERIMENTS, SPACES.c.name.label("space"), SPACES.c.fingerprint, _PARENT.uid.label("of"))
    .join(SPACES, SPACES.c.id == EXPERIMENTS.c.space_id)
    .outerjoin(_PARENT, _PARENT.id == EXPERIMENTS.c.parent_id)
    .order_by(EXPERIMENTS.c.id)
)
_TRIALS = select(
    TRIALS, ARCHITECTURES.c.key, ARCHITECTURES.c.decisions, ARCHITECTURES.c.notation
).join(ARCHITECTURES, ARCHITECTURES.c.id == TRIALS.c.architecture_id)
_METRICS = select(METRICS.c.trial_id, SOURCES.c.name, METRICS.c.value).join(
    SOURCES, SOURCES.c.id == METRICS.c.source_id
)


def experiment_records(connection: Connection, where: Sequence[Any] = ()) -> list[ExperimentRecord]:
    """Return the experiments that fulfil every condition, oldest first."""
    rows = connection.execute(_EXPERIMENTS.where(*where)).all()
    ids = [row.id for row in rows]
    counts, sources = _counts(connection, ids), _sources(connection, ids)
    fixed = {row.id: _fixed_counts(connection, row) for row in rows if row.info.get(FIXED)}
    return [
        _experiment(row, counts[row.id], fixed.get(row.id, {}), sources[row.id]) for row in rows
    ]


def _fixed_counts(connection: Connection, row: Row[Any]) -> dict[str, int]:
    """Return how many fixed points of an experiment have each status: they come first."""
    found = connection.execute(
        select(TRIALS.c.status, func.count())
        .where(TRIALS.c.experiment_id == row.id, TRIALS.c.number < len(row.info[FIXED]))
        .group_by(TRIALS.c.status)
    )
    return {row[0]: row[1] for row in found}


def _counts(connection: Connection, ids: Iterable[int]) -> dict[int, dict[str, int]]:
    counts: dict[int, dict[str, int]] = defaultdict(dict)
    for part in chunks(ids):
        rows = connection.execute(
            select(TRIALS.c.experiment_id, TRIALS.c.status, func.count())
            .where(TRIALS.c.experiment_id.in_(part))
            .group_by(TRIALS.c.experiment_id, TRIALS.c.status)
        )
        for id, status, count in rows:
            counts[id][status] = count
    return counts


def _sources(connection: Connection, ids: Iterable[int]) -> dict[int, list[MetricRecord]]:
    sources: dict[int, list[MetricRecord]] = defaultdict(list)
    for part in chunks(ids):
        rows = connection.execute(
            select(SOURCES).where(SOURCES.c.experiment_id.in_(part)).order_by(SOURCES.c.id)
        )
        for row in rows:
            sources[row.experiment_id].append(
                MetricRecord(
                    row.name,
                    row.unit,
                    row.direction,
                    row.estimator,
                    row.fingerprint,
                    split=row.split,
                    deterministic=row.deterministic,
                    provenance=row.provenance,
                )
            )
    return sources


def _experiment(
    row: Row[Any],
    counts: Mapping[str, int],
    fixed: Mapping[str, int],
    metrics: Sequence[MetricRecord],
) -> ExperimentRecord:
    searched = {status: count - fixed.get(status, 0) for status, count in counts.items()}
    return ExperimentRecord(
        id=row.uid,
        name=row.name,
        status=row.status,
        spec=row.spec,
        space=row.space,
        space_fingerprint=row.fingerprint,
        strategy=row.strategy,
        objectives=tuple(row.objectives),
        constraints=tuple(row.constraints),
        metrics=tuple(metrics),
        seed=row.seed,
        kind=row.kind,
        parent=row.of,
        group=row.group_name,
        tags=tuple(row.tags),
        versions=row.versions,
        info=row.info,
        created_at=row.created_at,
        finished_at=row.finished_at,
        elapsed_s=row.elapsed_s,
        counts={status: count for status, count in searched.items() if count},
        summary=row.summary,
        fixed=fixed,
    )


def resolve(connection: Connection, ref: str) -> int:
    """Return the row id that a name, an id or a unique prefix of either means.

    Raises:
        StoreError: If nothing fits, or more than one experiment.
    """
    rows = connection.execute(
        select(
            EXPERIMENTS.c.id, EXPERIMENTS.c.uid, EXPERIMENTS.c.name, EXPERIMENTS.c.kind
        ).order_by(EXPERIMENTS.c.id)
    ).all()
    for fits in (
        [row for row in rows if row.name == ref],
        [row for row in rows if row.uid == ref],
        [row for row in rows if row.kind != "baseline" and _starts(row, ref)],
        [row for row in rows if row.kind == "baseline" and _starts(row, ref)],
    ):
        if len(fits) == 1:
            return int(fits[0].id)
        if fits:
            shown = ", ".join(f"{row.name} ({row.uid})" for row in fits[:5])
            more = f" and {len(fits) - 5} more" if len(fits) > 5 else ""
            raise StoreError(
                f"a prefix must fit one experiment, got {ref!r}, which fits {shown}{more}; "
                "give more of it"
            )
    if not rows:
        raise StoreError(f"the store holds no experiment yet, got {ref!r}; run a search first")
    known = did_you_mean(str(ref), [row.name for row in rows if row.kind != "baseline"])
    raise StoreError(
        f"an experiment is given by its name, its id or a unique prefix, got {ref!r}{known}"
    )


def _starts(row: Any, ref: str) -> bool:
    return (
        bool(ref) and isinstance(ref, str) and (row.name.startswith(ref) or row.uid.startswith(ref))
    )


def trial_records(
    connection: Connection,
    uid: str,
    entry: Entry,
    *,
    numbers: Iterable[int] | None = None,
    statuses: Iterable[str] | None = None,
    keys: Iterable[str] | None = None,
) -> list[TrialRecord]:
    """Return trials by number; each argument given narrows them down."""
    chosen = _TRIALS.where(TRIALS.c.experiment_id == entry.id)
    if statuses is not None:
        chosen = chosen.where(TRIALS.c.status.in_(list(statuses)))
    wanted = None if keys is None else _architectures(connection, entry.space_id, keys)
    rows: list[Row[Any]] = []
    for statement in _parts(chosen, numbers, wanted):
        rows += connection.execute(statement).all()
    if wanted is not None:
        rows = [row for row in rows if row.architecture_id in wanted]
    return with_metrics(connection, uid, sorted(rows, key=lambda row: row.number))


def _architectures(connection: Connection, space_id: int, keys: Iterable[str]) -> set[int]:
    ids: set[int] = set()
    for part in chunks(sorted(set(keys))):
        found = select(ARCHITECTURES.c.id).where(
            ARCHITECTURES.c.space_id == space_id, ARCHITECTURES.c.key.in_(part)
        )
        ids.update(connection.execute(found).scalars())
    return ids


def architectures(
    connection: Connection, space_id: int, keys: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return the decisions of architectures by key; unknown keys are left out."""
    found: dict[str, dict[str, Any]] = {}
    for part in chunks(sorted(set(keys))):
        rows = connection.execute(
            select(ARCHITECTURES.c.key, ARCHITECTURES.c.decisions).where(
                ARCHITECTURES.c.space_id == space_id, ARCHITECTURES.c.key.in_(part)
            )
        )
        found |= {row.key: row.decisions for row in rows}
    return found


def _parts(
    chosen: Select[Any], numbers: Iterable[int] | None, architectures: set[int] | None
) -> Iterator[Select[Any]]:
    if numbers is not None:
        for some in chunks(sorted(set(numbers))):
            yield chosen.where(TRIALS.c.number.in_(some))
    elif architectures is not None:
        for some in chunks(sorted(architectures)):
            yield chosen.where(TRIALS.c.architecture_id.in_(some))
    else:
        yield chosen.order_by(TRIALS.c.number)


def told_page(
    connection: Connection, uid: str, experiment_id: int, *, after: int
) -> list[TrialRecord]:
    """Return the next trials in the order of telling, some hundred."""
    rows = connection.execute(
        _TRIALS.where(TRIALS.c.experiment_id == experiment_id, TRIALS.c.told > after)
        .order_by(TRIALS.c.told)
        .limit(500)
    ).all()
    return with_metrics(connection, uid, rows)


def with_metrics(connection: Connection, uid: str, rows: Sequence[Row[Any]]) -> list[TrialRecord]:
    """Return the records of trial rows."""
    metrics = metrics_of(connection, [row.id for row in rows])
    return [
        TrialRecord(
            id=row.id,
            experiment=uid,
            number=row.number,
            key=row.key,
            architecture=row.decisions,
            notation=row.notation,
            status=row.status,
            seed=row.seed,
            parent=row.parent,
            budget=row.budget,
            tags=row.tags,
            metrics=metrics.get(row.id, {}),
            violation=row.violation,
            error=row.error,
            traceback=row.traceback,
            reused_from=row.reused_from,
            attempts=row.attempts,
            created_at=row.created_at,
            finished_at=row.finished_at,
            duration_s=row.duration_s,
            told=row.told,
        )
        for row in rows
    ]


def metrics_of(connection: Connection, trial_ids: Iterable[int]) -> dict[int, dict[str, float]]:
    """Return metric values by trial row id, in the order in which the metrics were declared."""
    metrics: dict[int, dict[str, float]] = defaultdict(dict)
    for part in chunks(trial_ids):
        rows = connection.execute(
            _METRICS.where(METRICS.c.trial_id.in_(part)).order_by(
                METRICS.c.trial_id, METRICS.c.source_id
            )
        )
        for id, name, value in rows.all():
            metrics[id][name] = value
    return metrics


def rescored_values(
    connection: Connection, experiment_id: int, record: ExperimentRecord
) -> dict[str, dict[str, float]]:
    """Return the values of the metrics that were added after the run, by architecture key."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for target, entry in record.info.get(RESCORED, {}).items():
        known = {metric["name"] for metric in entry["metrics"]}
        rows = connection.execute(
            select(ARCHITECTURES.c.key, COSTS.c.metric, COSTS.c.value)
            .join(ARCHITECTURES, ARCHITECTURES.c.id == COSTS.c.architecture_id)
            .where(
                COSTS.c.device == target,
                COSTS.c.model_version == entry["model_version"],
                COSTS.c.architecture_id.in_(
                    select(TRIALS.c.architecture_id).where(TRIALS.c.experiment_id == experiment_id)
                ),
            )
        )
        for key, metric, value in rows:
            if (name := f"{metric}@{target}") in known:
                found[key][name] = value
    return dict(found)


def lowest_numbers(connection: Connection, experiment_id: int) -> dict[str, int]:
    """Return the lowest trial number of each architecture key."""
    rows = connection.execute(
        select(ARCHITECTURES.c.key, func.min(TRIALS.c.number).label("lowest"))
        .join(ARCHITECTURES, ARCHITECTURES.c.id == TRIALS.c.architecture_id)
        .where(TRIALS.c.experiment_id == experiment_id)
        .group_by(ARCHITECTURES.c.id)
    )
    return {row.key: row.lowest for row in rows}


def lookup(
    connection: Connection,
    space_fingerprint: str,
    keys: Iterable[str],
    *,
    fingerprint: str,
    budget: float | None,
    seed: int | None,
) -> dict[str, tuple[int, dict[str, float]]]:
    """Return the oldest trial of each key that the estimator has answered, with the values."""
    statement = _oldest(with_budget=budget is not None, with_seed=seed is not None)
    fixed: dict[str, Any] = {"space": space_fingerprint, "fingerprint": fingerprint}
    fixed |= {} if budget is None else {"budget": budget}
    fixed |= {} if seed is None else {"seed": seed}
    found: dict[str, tuple[int, dict[str, float]]] = {}
    for part in chunks(keys):
        oldest = connection.execute(statement, {**fixed, "keys": part})
        ids = {row.trial: row.key for row in oldest}
        for id, name, value, *source in connection.execute(_ANSWERS, {"ids": list(ids)}).all():
            if source == [fingerprint, "valid"]:  # in SQL it would lead the planner astray
                found.setdefault(ids[id], (id, {}))[1][name] = value
    return found


_OWN = (SOURCES.c.fingerprint == bindparam("fingerprint")) & (SOURCES.c.split == "valid")
_ANSWERS = _METRICS.add_columns(SOURCES.c.fingerprint, SOURCES.c.split).where(
    METRICS.c.trial_id.in_(bindparam("ids", expanding=True))
)


@cache
def _oldest(*, with_budget: bool, with_seed: bool) -> Select[Any]:
    answered = exists(
        select(METRICS.c.value)
        .join(SOURCES, SOURCES.c.id == METRICS.c.source_id)
        .where(METRICS.c.trial_id == TRIALS.c.id, _OWN)
        .correlate(TRIALS)
    )
    budget = TRIALS.c.budget == bindparam("budget") if with_budget else TRIALS.c.budget.is_(None)
    oldest = (
        select(ARCHITECTURES.c.key, func.min(TRIALS.c.id).label("trial"))
        .join(TRIALS, TRIALS.c.architecture_id == ARCHITECTURES.c.id)
        .join(SPACES, SPACES.c.id == ARCHITECTURES.c.space_id)
        .where(
            SPACES.c.fingerprint == bindparam("space"),
            ARCHITECTURES.c.key.in_(bindparam("keys", expanding=True)),
            TRIALS.c.status == "done",
            budget,
            answered,
        )
        .group_by(ARCHITECTURES.c.id)
    )
    return oldest.where(TRIALS.c.seed == bindparam("seed")) if with_seed else oldest


def artifact_records(connection: Connection, uid: str, chosen: Select[Any]) -> list[ArtifactRecord]:
    """Return the artifacts of a query over `ARTIFACTS`, oldest first."""
    return [
        ArtifactRecord(
            id=row.id,
            experiment=uid,
            kind=row.kind,
            name=row.name,
            sha256=row.sha256,
            size_bytes=row.size_bytes,
            number=row.number,
            meta=row.meta,
            created_at=row.created_at,
        )
        for row in connection.execute(chosen.order_by(ARTIFACTS.c.id))
    ]
