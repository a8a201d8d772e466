"""Several experiments as competitors on one ground: common objectives, one reference point."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import ExperimentRecord
from ..errors import SpecError, UnknownName
from ..jsonio import digest
from .axes import (
    Axis,
    feasible_losses,
    front_of,
    named_reference,
    objective_axes,
    reference_of,
    volume_of,
)
from .progress import entering
from .rows import open_record
from .summary import bounds
from .table import Floats, TrialTable
from .views import with_objectives

if TYPE_CHECKING:
    from ..db import Store

MAX_COMPETITORS = 6  # colours that everybody can tell apart
MAX_RUNS = 60
NOT_THE_METHOD = ("name", "seed", "group", "tags", "store")  # keys of a spec that name one run
Objectives = tuple[dict[str, str], ...]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """One experiment as a competitor's repetition: its evaluations in order.

    Infeasible trials are free and published networks are not of the search: neither is here.

    Args:
        record: The experiment, with the common objectives in place of its own.
        losses: (n, m), lower is better, NaN rows for evaluations that no front counts.
        elapsed_s: Seconds from the creation of the experiment to each result, (n,).
        number: Trial numbers, (n,).
        notation: The networks in their notation, as far as they are on the front, by row.
        front: Rows of the front.
        entered: Rows that no earlier evaluation dominates or equals: all that any history needs.
        entered_in_time: The same in the order of the clock; rows without a time are left out.
    """

    record: ExperimentRecord
    losses: Floats = field(repr=False)
    elapsed_s: Floats = field(repr=False)
    number: Rows = field(repr=False)
    notation: dict[int, str] = field(repr=False)
    front: Rows = field(repr=False)
    entered: Rows = field(repr=False)
    entered_in_time: Rows = field(repr=False)

    @classmethod
    def of(cls, record: ExperimentRecord, table: TrialTable) -> Run:
        """Take from a table what a comparison needs."""
        table = table.searched
        spent = np.flatnonzero(table.spent)
        losses = feasible_losses(table, record)[spent]
        elapsed = table.finished_s[spent]
        front = np.flatnonzero(front_of(losses))
        known = np.flatnonzero(~np.isnan(losses).any(axis=1))
        timed = known[np.isfinite(elapsed[known])]
        timed = timed[np.argsort(elapsed[timed], kind="stable")]
        rows = table.rows
        entered = np.array(entering(losses, known), dtype=np.int64)
        return cls(
            record=record,
            losses=losses,
            elapsed_s=elapsed,
            number=table.number[spent],
            notation={row: rows[int(spent[row])].notation for row in front.tolist()},
            front=front,
            entered=entered,
            entered_in_time=entered
            if np.array_equal(timed, known)
            else np.array(entering(losses, timed), dtype=np.int64),
        )

    @property
    def evaluations(self) -> int:
        """Trials that the budget counts."""
        return len(self.losses)

    @property
    def duration_s(self) -> float:
        """Seconds from the creation of the experiment to its last result, NaN without one."""
        known = self.elapsed_s[np.isfinite(self.elapsed_s)]
        return float(known.max()) if len(known) else np.nan

    @cached_property
    def extremes(self) -> Floats:
        """The best and the worst feasible value of each objective, (2, m); (0, m) without one."""
        known = self.losses[~np.isnan(self.losses).any(axis=1)]
        return np.stack([known.min(axis=0), known.max(axis=0)]) if len(known) else known

    def volume(self, reference: Floats, evaluations: int | None = None) -> float:
        """Return the hypervolume after that many evaluations (default: all)."""
        rows = self.entered
        if evaluations is not None:
            rows = rows[rows < evaluations]
        return volume_of(self.losses[rows], reference) or 0.0


@dataclass(frozen=True)
class Competitor:
    """One experiment, or several that differ in their seed alone.

    Args:
        label: Unique in its contest.
        runs: One per seed.
    """

    label: str
    runs: tuple[Run, ...]

    @property
    def evaluations(self) -> int:
        """Evaluations that each of the runs has."""
        return min(run.evaluations for run in self.runs)


@dataclass(frozen=True)
class Contest:
    """Competitors, what they are compared on, and against which reference.

    Args:
        competitors: In the order of asking.
        axes: The common objectives.
        reference: (m,) losses: the worst of all feasible results of all runs and 10 % of their
            range beyond; None while nothing is feasible.
        warnings: What makes the comparison unfair, in sentences.
    """

    competitors: tuple[Competitor, ...]
    axes: tuple[Axis, ...]
    reference: Floats | None
    warnings: tuple[str, ...]

    @classmethod
    def from_runs(cls, runs: Sequence[Run], *, apart: bool = False) -> Contest:
        """Bring runs of the same objectives together.

        Args:
            runs: At least one.
            apart: Whether every seed competes for itself.

        Raises:
            SpecError: If there are more competitors than colours.
        """
        groups = [[run] for run in runs] if apart else _repetitions(runs)
        if len(groups) > MAX_COMPETITORS:
            raise SpecError(
                f"a comparison shows at most {MAX_COMPETITORS} competitors, got {len(groups)} "
                "(runs of one spec that differ in their seed alone are one); choose fewer"
            )
        labels = _labels(groups)
        return cls(
            competitors=tuple(
                Competitor(label, tuple(group)) for label, group in zip(labels, groups, strict=True)
            ),
            axes=objective_axes(runs[0].record),
            reference=reference_of(*(run.extremes for run in runs)),
            warnings=tuple(_warnings(labels, [group[0].record for group in groups])),
        )

    @classmethod
    def from_tables(cls, tables: Sequence[tuple[ExperimentRecord, TrialTable]]) -> Contest:
        """Bring experiments together that are read already.

        Raises:
            SpecError: If they have no objective in common, or are too many.
        """
        objectives = common_objectives([record for record, _ in tables])
        return cls.from_runs(
            [Run.of(with_objectives(record, objectives), trials) for record, trials in tables]
        )

    @property
    def runs(self) -> list[Run]:
        """All runs of all competitors."""
        return [run for competitor in self.competitors for run in competitor.runs]

    @property
    def named_reference(self) -> dict[str, float]:
        """Objective values of the reference by metric name; empty while there is none."""
        return named_reference(self.runs[0].record, self.reference)

    @property
    def plane(self) -> bool:
        """Whether there is one to draw fronts in: one objective has best values alone."""
        return len(self.axes) > 1

    @property
    def evaluations(self) -> int:
        """Evaluations that every run has."""
        return min(run.evaluations for run in self.runs)


def read_contest(
    store: Store,
    refs: Sequence[str],
    groups: Sequence[str] = (),
    *,
    apart: bool = False,
    table: Callable[[ExperimentRecord], TrialTable] | None = None,
) -> Contest:
    """Read experiments as competitors.

    Args:
        store: Where they are.
        refs: Names, ids or unique prefixes.
        groups: Groups whose experiments take part, too.
        apart: Whether every seed competes for itself.
        table: What gives the trials of an experiment (default: the store).

    Raises:
        StoreError: If there is no such experiment.
        UnknownName: If there is no such group.
        SpecError: If they have no objective in common, or are too many.
    """
    records = chosen_records(store, refs, groups)
    objectives = common_objectives(records)
    read = table or (lambda record: TrialTable.read(store, record))
    runs = [Run.of(with_objectives(each, objectives), read(each)) for each in records]
    return Contest.from_runs(runs, apart=apart)


def chosen_records(
    store: Store, refs: Sequence[str], groups: Sequence[str]
) -> list[ExperimentRecord]:
    """Return the experiments of a choice, each once, in the order of asking.

    Raises:
        StoreError: If there is no such experiment.
        UnknownName: If there is no such group.
        SpecError: If nothing or too much is chosen.
    """
    found = {record.id: record for record in (open_record(store, ref) for ref in refs)}
    for group in groups:
        members = store.experiments(group=group)
        if not members:
            known = {each.group for each in store.experiments() if each.group is not None}
            raise UnknownName("group", group, known)
        for each in members:
            found.setdefault(each.id, open_record(store, each.id))
    if not 0 < len(found) <= MAX_RUNS:
        raise SpecError(
            f"a comparison needs one to {MAX_RUNS} experiments, got {len(found)}; choose some by "
            "name, or a group"
        )
    return list(found.values())


def common_objectives(records: Sequence[ExperimentRecord]) -> Objectives:
    """Return the objectives that all experiments have, in the order of the first one.

    The same means: the same metric, direction and unit.

    Raises:
        SpecError: If there is none; says what each experiment has.
    """
    each = [{(a.metric, a.direction, a.unit) for a in objective_axes(r)} for r in records]
    common = [
        {"metric": axis.metric, "direction": axis.direction or ""}
        for axis in objective_axes(records[0])
        if all((axis.metric, axis.direction, axis.unit) in known for known in each)
    ]
    if not common:
        raise SpecError(
            "experiments are compared on objectives that all of them have, got none: "
            f"{'; '.join(_goals(records))}; choose experiments with the same objectives"
        )
    return tuple(common)


def _goals(records: Iterable[ExperimentRecord]) -> list[str]:
    """Return what each experiment is after; those after the same are named together."""
    names: dict[str, list[str]] = {}
    for record in records:
        axes = objective_axes(record)
        goal = ", ".join(f"{(axis.direction or '')[:3]} {axis.label}" for axis in axes)
        names.setdefault(goal, []).append(record.name)
    return [f"{_and(each)} {'has' if len(each) == 1 else 'have'} {g}" for g, each in names.items()]


def _and(names: Sequence[str], shown: int = 3) -> str:
    if len(names) > shown:
        return f"{', '.join(names[:shown])} and {len(names) - shown} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _repetitions(runs: Sequence[Run]) -> list[list[Run]]:
    """Put runs together that differ in their seed alone.

    A seed counts once: a second run of it is no further evidence, but a competitor of its own.
    """
    groups: list[tuple[str, list[Run]]] = []
    for run in runs:
        method = method_of(run.record)
        for known, members in groups:
            if known == method and all(run.record.seed != m.record.seed for m in members):
                members.append(run)
                break
        else:
            groups.append((method, [run]))
    return [members for _, members in groups]


def method_of(record: ExperimentRecord) -> str:
    """Return a digest of all that repetitions have alike: the spec without what names one run."""
    spec = {key: value for key, value in record.spec.items() if key not in NOT_THE_METHOD}
    return digest(
        {
            "spec": spec,
            "kind": record.kind,
            "space": record.space_fingerprint,
            "strategy": record.strategy,
            "objectives": [dict(each) for each in record.objectives],
            "constraints": [dict(each) for each in record.constraints],
        }
    )


def _labels(groups: Sequence[Sequence[Run]]) -> list[str]:
    """Return a name for each competitor: its group's where that tells it apart."""
    wishes = [_names([run.record for run in group]) for group in groups]
    labels: list[str] = []
    for number, names in enumerate(wishes):
        others = {name for i, each in enumerate(wishes) if i != number for name in each}
        labels.append(next((name for name in names if name not in others), names[-1]))
    return labels


def _names(records: Sequence[ExperimentRecord]) -> list[str]:
    """Return the names that a competitor could have, the shortest first, the last one unique."""
    first, more = records[0], len(records) - 1
    if not more:
        return [first.name]
    groups = {record.group for record in records}
    found = [f"{first.name} and {more} more"]
    if len(groups) == 1 and first.group is not None:
        found = [first.group, f"{first.group}, {first.strategy}", *found]
    return found


def _warnings(labels: Sequence[str], records: Sequence[ExperimentRecord]) -> Iterable[str]:
    """Yield what the competitors do not have alike and a comparison needs."""
    for axis in objective_axes(records[0]):
        sources = {_source(record, axis.metric) for record in records}
        if len(sources) > 1:
            yield (
                f"The values of {axis.metric} do not come from the same estimator with the same "
                "data and options everywhere: a difference may be one of the measurement."
            )
    limits = [bounds(record) or "without constraints" for record in records]
    if len(set(limits)) > 1:
        each = [f"{label} searched {limit}" for label, limit in zip(labels, limits, strict=True)]
        yield f"The constraints differ: {'; '.join(each)}."


def _source(record: ExperimentRecord, metric: str) -> Any:
    return next((each.fingerprint for each in record.metrics if each.name == metric), None)
