"""What a notebook shows of an experiment: a few lines of HTML without scripts and styles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go

from ..db.records import ExperimentRecord, TrialRecord
from ..errors import NetloomError
from .markup import Html, el, notation, table
from .rows import ExperimentRow, spent_text
from .summary import bounds, facts
from .words import plural, value_text

ROWS = 8  # networks of the front that are shown


def experiment_html(record: ExperimentRecord, front: Sequence[TrialRecord]) -> Html:
    """Return an experiment as a notebook shows it; every text from the store is escaped.

    Args:
        record: The experiment.
        front: Its feasible front.
    """
    row = ExperimentRow.of(record)
    goal = " ".join(part for part in (row.goal, bounds(record)) if part)
    return el(
        "div",
        el("p", el("strong", record.name), f" · {record.status} · {spent_text(row)} trials"),
        el("p", goal),
        el("p", el("small", " · ".join(facts(record)))),
        *_results(row, front),
        class_="netloom",
    )


def lost_html(id: str, error: NetloomError) -> Html:
    """Return what stands in place of an experiment that cannot be read."""
    return el("div", el("p", el("strong", id), f" · {error}"), class_="netloom")


def on_paper(figure: go.Figure) -> go.Figure:
    """Return a figure in black on white: a notebook has no style sheet for it, and may be dark."""
    return figure.update_layout(
        paper_bgcolor="#ffffff", plot_bgcolor="#ffffff", font={"color": "#1b2330"}
    )


def _results(row: ExperimentRow, front: Sequence[TrialRecord]) -> Iterator[Html]:
    if not front:
        yield el("p", "No feasible network yet.")
        return
    best = []
    for axis in row.objectives:
        chosen = max if axis.direction == "maximize" else min
        value = chosen(trial.metrics[axis.metric] for trial in front)
        best.append(f"best {axis.metric} {value_text(value, axis.unit)}")
    yield el("p", f"{plural(len(front), 'network')} on the front: {', '.join(best)}")
    head = ("trial", *(axis.metric for axis in row.objectives), "architecture")
    rows = [
        (
            trial.number,
            *(value_text(trial.metrics[axis.metric], axis.unit) for axis in row.objectives),
            notation(trial.notation),
        )
        for trial in front[:ROWS]
    ]
    yield table(head, rows, numeric=frozenset(range(len(head) - 1)))
    if len(front) > ROWS:
        yield el("p", f"and {len(front) - ROWS:,} more")
