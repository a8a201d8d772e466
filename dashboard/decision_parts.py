"""What decides each objective, as parts of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING

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


def decision_parts(store: Store, record: ExperimentRecord, table: TrialTable) -> list[Part]:
    """Return a part for each objective that a trial has a value of."""
    views = [DecisionView.of(store, record, table, axis.metric) for axis in objective_axes(record)]
    return [_part(view) for view in views if view.total]


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


def _part(view: DecisionView) -> Part:
    title, study = f"What decides {view.axis.metric}", view.study
    if study.problem is not None:
        return Part(title, study.sentence)
    return Part(
        title,
        f"{study.sentence} {MEANING}",
        figure=importance_figure(study),
        rows=Rows(HEAD, importance_rows(study), numeric=frozenset({1, 2, 3})),
    )
