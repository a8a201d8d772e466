"""Why an experiment has nothing feasible, and why its trials failed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..db.records import ExperimentRecord
from .details import holds, units_of
from .table import TrialTable
from .words import MISSING, constraint_text, plural, value_text


@dataclass(frozen=True, slots=True)
class ConstraintShare:
    """How a constraint fared.

    Args:
        text: The constraint, or `device limits`.
        held: How many trials satisfy it,
        known: of so many that have its metric.
        nearest_text: The closest value; what a device said where there is no value.
        miss: By how much the closest value breaks the bound, relative to it.
    """

    text: str
    held: int
    known: int
    nearest_text: str
    miss: float


@dataclass(frozen=True)
class Diagnosis:
    """Why nothing feasible was found.

    Args:
        title: The finding in a few words.
        sentence: The finding in full.
        shares: One line per constraint, the binding one first: the one that fewest trials satisfy;
            among equals the one that is missed by most.
        nearest: Number of the trial with the smallest violation, None when none was measured.
        notation: Its architecture.
        violation: Its violation.
        broken: Whether something is wrong; False while trials are only not finished.
    """

    title: str
    sentence: str
    shares: tuple[ConstraintShare, ...] = ()
    nearest: int | None = None
    notation: str = ""
    violation: float | None = None
    broken: bool = True

    @classmethod
    def of(cls, record: ExperimentRecord, table: TrialTable) -> Diagnosis | None:
        """Return the diagnosis, or None when the search has a feasible trial of its own."""
        table = table.searched
        if table.feasible.any():
            return None
        if not len(table):
            return cls("No trial yet", "No trial has been proposed yet.", broken=False)
        shares = [_share(record, table, item) for item in record.constraints]
        if refused := _refused(table):
            shares.append(refused)
        shares.sort(key=lambda share: (share.held / max(share.known, 1), -share.miss))
        broken = np.flatnonzero((table.violation > 0) & (table.status != "failed"))
        if not len(broken):
            return _unfinished(table, tuple(shares))
        row = int(broken[np.argmin(table.violation[broken])])
        violation = float(table.violation[row])
        return cls(
            "Nothing feasible",
            _infeasible(table, shares, row),
            tuple(shares),
            int(table.number[row]),
            table.rows[row].notation,
            violation,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """A reason for which trials failed, and their numbers."""

    reason: str
    numbers: tuple[int, ...]


def failures(table: TrialTable) -> list[Failure]:
    """Return why trials failed, the most frequent reason first."""
    found: dict[str, list[int]] = {}
    for row in np.flatnonzero(table.status == "failed").tolist():
        reason = table.error[row] or "no reason recorded"
        found.setdefault(reason, []).append(int(table.number[row]))
    groups = [Failure(reason, tuple(numbers)) for reason, numbers in found.items()]
    return sorted(groups, key=lambda each: (-len(each.numbers), each.numbers[0]))


def violation_text(violation: float, constraints: int = 1) -> str:
    """Return a sum of relative excesses in words.

    >>> violation_text(0.0421), violation_text(131.2, 2)
    ('4.2 % of the bound', '131 times the bounds in all')
    """
    bound = "the bound" if constraints < 2 else "the bounds in all"
    if violation < 10:
        return f"{100 * violation:.2g} % of {bound}"
    return f"{violation:.3g} times {bound}"


def _share(record: ExperimentRecord, table: TrialTable, item: Mapping[str, Any]) -> ConstraintShare:
    values = table.metric(item["metric"])
    values = values[np.isfinite(values)]
    unit, upper = units_of(record).get(item["metric"], ""), item.get("max") is not None
    nearest, miss = None, 0.0
    if len(values):
        bound = float(item["max" if upper else "min"])
        nearest = float(values.min() if upper else values.max())
        miss = max(0.0, nearest - bound if upper else bound - nearest) / (abs(bound) or 1.0)
    held = int(holds(item, values).sum())
    text = constraint_text(item, unit)
    return ConstraintShare(text, held, len(values), value_text(nearest, unit), miss)


def _refused(table: TrialTable) -> ConstraintShare | None:
    """Return the share of networks that a device can hold at all, None when all are held."""
    broken = np.flatnonzero(table.status == "infeasible").tolist()
    refused = [table.rows[row] for row in broken if table.error[row]]
    if not refused:
        return None
    nearest = min(refused, key=lambda row: row.violation)
    held = len(table) - len(refused)
    said = nearest.error or MISSING
    return ConstraintShare("device limits", held, len(table), said, nearest.violation)


def _infeasible(table: TrialTable, shares: list[ConstraintShare], row: int) -> str:
    text = f"None of {plural(len(table), 'trial')} satisfies every constraint. "
    if shares and shares[0].held < shares[0].known:
        tight = shares[0]
        text += (
            f"The binding one is {tight.text}: {tight.held:,} of {tight.known:,} trials satisfy "
            f"it, the closest: {tight.nearest_text}. "
        )
    nearest = table.rows[row]
    return text + (
        f"Trial {nearest.number} comes nearest, off by "
        f"{violation_text(nearest.violation, len(shares))}. Relax that bound, or search another "
        "space."
    )


def _unfinished(table: TrialTable, shares: tuple[ConstraintShare, ...]) -> Diagnosis:
    failed = int((table.status == "failed").sum())
    if failed == len(table):
        text = f"All {plural(failed, 'trial')} failed." if failed > 1 else "The only trial failed."
        return Diagnosis("Every trial failed", text, shares)
    counts = {name: int((table.status == name).sum()) for name in ("queued", "running", "pruned")}
    said = [
        f"{counts[name]:,} {words}"
        for name, words in (
            ("queued", "waiting"),
            ("running", "begun"),
            ("pruned", "stopped early"),
        )
        if counts[name]
    ]
    said += [f"{failed:,} failed"] if failed else []
    text = f"No trial has been evaluated in full yet: {', '.join(said)}."
    return Diagnosis("Nothing finished yet", text, shares, broken=failed > 0)
