"""What decides each objective, as parts of a report."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..db.records import ExperimentRecord
from .axes import objective_axes
from .decision_figures import importance_figure
from .decision_view import DecisionView
from .importance import Study
from .strategy_view import Part, Rows
from .table import TrialTable

if TYPE_CHECKING:
    from ..db import Store

HEAD = ("decision", "importance", "95 % interval", "share")
MEANING = (
    "Permutation importance: what R² loses on held-out trials when the values of one decision are "
    "shuffled. It says what matters among the trials of this search, and is no cause; decisions "
    "that go together share it."
)


def decision_views(store: Store, record: ExperimentRecord, table: TrialTable) -> list[DecisionView]:
    """Return the decisions beside each objective that a trial has a value of."""
    views = [DecisionView.of(store, record, table, axis.metric) for axis in objective_axes(record)]
    return [view for view in views if view.total]


def decision_part(view: DecisionView) -> Part:
    """Return what decides one objective."""
    title, study = f"What decides {view.axis.metric}", view.study
    if study.problem is not None:
        return Part(title, study.sentence)
    return Part(
        title,
        f"{study.sentence} {MEANING}",
        figure=importance_figure(study),
        rows=Rows(HEAD, importance_rows(study), numeric=frozenset({1, 2, 3})),
    )


def decision_json(view: DecisionView) -> dict[str, Any]:
    """Return the importances for one objective as JSON values, the most important first."""
    study = view.study
    return {
        "metric": view.axis.metric,
        "trials": study.trials,
        "problem": study.problem,
        "r2": _known(study.r2),
        "spearman": _known(study.spearman),
        "importances": [asdict(each) for each in study.importances],
    }


def importance_rows(study: Study) -> list[tuple[str, str, str, str]]:
    """Return the importances as cells below `HEAD`."""
    return [
        (
            each.decision,
            f"{each.mean:z.3f}",
            f"{each.low:z.3f} to {each.high:z.3f}",
            f"{each.share:.0%}",
        )
        for each in study.importances
    ]


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
