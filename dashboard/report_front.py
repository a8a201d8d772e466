"""The table of the front in a report: every network with its decisions and metrics."""

from __future__ import annotations

from collections.abc import Sequence

from ..db.records import ExperimentRecord, TrialRecord
from .details import MetricRow, metric_rows, option_text
from .markup import Html, el, join, notation, table
from .words import plural, value_text

MAX_ROWS = 500  # front networks listed; the figure shows them all


def front_title(front: Sequence[TrialRecord]) -> str:
    """Return the heading of the front: how many networks, and whether all are listed."""
    count = len(front)
    cut = f", the first {MAX_ROWS} of them" if count > MAX_ROWS else ""
    return f"The front: {plural(count, 'network')}{cut}"


def front_table(record: ExperimentRecord, front: Sequence[TrialRecord], prefix: str) -> Html:
    """Return the networks of the front as rows whose ids begin with `prefix`."""
    shown = [
        metric
        for metric in metric_rows(record)
        if any(metric.name in trial.metrics for trial in front)
    ]
    head = ["trial", "architecture", *(_column_head(metric) for metric in shown)]
    rows = (
        el(
            "tr",
            el("td", trial.number, class_="number"),
            el("td", _architecture(trial)),
            *(
                el(
                    "td",
                    value_text(trial.metrics.get(metric.name), metric.unit),
                    class_="number objective" if metric.objective else "number",
                )
                for metric in shown
            ),
            id=f"{prefix}trial-{trial.number}",
        )
        for trial in front[:MAX_ROWS]
    )
    header = el(
        "tr", *(el("th", cell, class_="number" if i != 1 else None) for i, cell in enumerate(head))
    )
    whole = el("table", el("thead", header), el("tbody", *rows))
    return el("div", whole, class_="scroll front", tabindex=0)


def _column_head(metric: MetricRow) -> Html:
    arrow = "↑" if metric.direction == "maximize" else "↓"
    note = el("small", "held out") if metric.split == "test" else None
    return join([f"{metric.name} {arrow} ", note])


def _architecture(trial: TrialRecord) -> Html:
    decisions = [(name, option_text(value)) for name, value in trial.architecture.items()]
    return el(
        "details",
        el(
            "summary",
            el("strong", trial.fixed, " ") if trial.fixed else None,
            notation(trial.notation or trial.key[:12]),
        ),
        table(("decision", "value"), decisions, numeric=frozenset()),
        el("p", "key ", el("code", trial.key), class_="key"),
    )
