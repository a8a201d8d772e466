"""Figures of decisions: parallel coordinates, importances, distributions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from .columns import ABSENT, NOT_THERE, Column
from .decision_view import DecisionView, Group, Marginal
from .details import option_text
from .figures import BLUE, GREY, ORANGE, PURPLE, short, style
from .importance import Importance, Study
from .table import Floats
from .words import value_text

AXES = 20  # of parallel coordinates, metrics and front among them
METRICS = 4  # of those
BARS = 20  # decisions in the figure of importances; the table has them all
TICKS = 12  # options that are named along an axis
OPTION = 13  # characters of an option on one of many axes
AXIS_PX = 72  # that an axis of parallel coordinates needs for the names of its options
SPREAD = 0.15  # of the step between two options: lines through one option lie side by side
LOG_FROM = 30  # times the smallest option that the largest one is: then the axis is logarithmic
SCALE = [[0.0, BLUE], [0.5, PURPLE], [1.0, ORANGE]]  # seen on light and on dark pages


def parallel_figure(view: DecisionView) -> go.Figure:
    """Draw trials as lines through their decisions and metrics, coloured by the metric.

    Lines through one option lie side by side around it, so that many are told from few.
    """
    (columns, names), rows = _axes(view), view.drawn
    rng = np.random.default_rng(0)
    dimensions = [_decision_axis(column.at(rows), rng) for column in columns]
    front = {"values": view.front[rows].astype(int), "tickvals": [0, 1], "ticktext": ["no", "yes"]}
    dimensions.append({"label": "front", "range": [0, 1], **front})
    dimensions += [_metric_axis(name, view.metrics[name][rows]) for name in reversed(names)]
    low, high = np.quantile(view.values, (0.02, 0.98)).tolist()
    bar = {"title": {"text": escape(view.axis.label), "side": "right"}, "thickness": 12}
    figure = go.Figure(
        go.Parcoords(
            dimensions=dimensions,
            labelangle=-25,
            labelfont={"size": 12},
            tickfont={"size": 11},
            rangefont={"size": 10},
            unselected={"line": {"color": GREY, "opacity": 0.06}},
            line={
                "color": view.values[rows],
                "colorscale": SCALE,
                "cmin": low,
                "cmax": high if high > low else low + 1.0,
                "colorbar": bar,
            },
        )
    )
    style(figure, 520)
    figure.update_layout(margin={"l": 90, "r": 40, "t": 96, "b": 30}, uirevision=view.axis.metric)
    return figure


def importance_figure(study: Study) -> go.Figure:
    """Draw the importance of the decisions that matter most, with intervals.

    Bars are grey where the surrogate is poor.
    """
    shown = study.importances[:BARS][::-1]
    means = np.array([each.mean for each in shown])
    figure = go.Figure(
        go.Bar(
            x=means,
            y=list(range(len(shown))),
            orientation="h",
            marker={"color": GREY if study.poor else BLUE},
            customdata=[(each.decision, _importance_hover(each)) for each in shown],
            hovertemplate="%{customdata[1]}<extra></extra>",
            error_x={
                "array": [each.high - each.mean for each in shown],
                "arrayminus": [each.mean - each.low for each in shown],
                "color": ORANGE,
                "thickness": 1.5,
                "width": 4,
            },
        )
    )
    style(figure, 110 + 24 * len(shown))
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[escape(short(each.decision)) for each in shown],
        showgrid=False,
    )
    figure.update_xaxes(title_text="importance: R² lost when the decision is shuffled")
    figure.update_layout(margin={"t": 20}, showlegend=False, clickmode="event")
    return figure


def marginal_figure(marginal: Marginal) -> go.Figure:
    """Draw the distribution of a metric for each option, and what the surrogate predicts."""
    groups, log = marginal.groups, _logarithmic(marginal)
    places = _places(marginal, log)
    figure = go.Figure()
    medians = [group.median for group in groups]
    for name, ends, thickness in (
        ("smallest to largest", [(g.low, g.high) for g in groups], 1.5),
        ("middle half of the trials", [(g.q1, g.q3) for g in groups], 14),
    ):
        figure.add_scatter(
            x=places,
            y=medians,
            mode="markers",
            name=name,
            marker={"size": 0.1, "color": BLUE, "opacity": 0},
            hoverinfo="skip",
            error_y={
                "array": [high - m for (_, high), m in zip(ends, medians, strict=True)],
                "arrayminus": [m - low for (low, _), m in zip(ends, medians, strict=True)],
                "thickness": thickness,
                "width": 0,
                "color": BLUE,
            },
            showlegend=False,
        )
    figure.add_scatter(
        x=places,
        y=medians,
        mode="markers",
        name="median, bar: middle half, line: smallest to largest",
        marker={"symbol": "line-ew", "size": 22, "line": {"color": GREY, "width": 3}},
        customdata=[_group_hover(group, marginal) for group in groups],
        hovertemplate="%{customdata}<extra></extra>",
    )
    _add_predicted(figure, groups, places)
    style(figure, 440)
    figure.update_xaxes(
        title_text=escape(marginal.decision),
        type="log" if log else "linear",
        tickvals=places,
        ticktext=[f"{escape(short(g.text))}<br>{g.count:,}" for g in groups],
    )
    figure.update_yaxes(title_text=escape(marginal.axis.label))
    figure.update_layout(hovermode="closest", margin={"b": 84})
    return figure


def parallel_width(view: DecisionView) -> int:
    """Return the pixels below which the axes of parallel coordinates crowd each other."""
    columns, names = _axes(view)
    return 200 + AXIS_PX * (len(columns) + 1 + len(names))


def _axes(view: DecisionView) -> tuple[Sequence[Column], Sequence[str]]:
    """Return the decisions and the metrics that have an axis; whether on the front has one, too."""
    names = [view.axis.metric, *(n for n in view.metrics if n != view.axis.metric)][:METRICS]
    return view.ranked[: AXES - len(names) - 1], names


def _decision_axis(column: Column, rng: np.random.Generator) -> dict[str, Any]:
    """Return an axis with each option at its own height, what is not there at the bottom."""
    codes = range(len(column.options))
    every = -(-len(column.options) // TICKS)
    ticks = {code: option_text(column.options[code]) for code in codes[::every]}
    if (column.codes == ABSENT).any():
        ticks = {ABSENT: NOT_THERE, **ticks}
    return {
        "label": escape(short(column.name)),
        "values": column.codes + rng.uniform(-SPREAD, SPREAD, len(column.codes)),
        "range": [min(ticks) - SPREAD, len(column.options) - 1 + SPREAD],
        "tickvals": list(ticks),
        "ticktext": [short(text, OPTION) for text in ticks.values()],  # these tags are not read
    }


def _metric_axis(name: str, values: Floats) -> dict[str, Any]:
    """Return an axis of a metric; trials without a value lie below the others."""
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    high = high if high > low else low + max(abs(low), 1.0) * 1e-3
    ticks = {place: value_text(place) for place in np.linspace(low, high, 5).tolist()}
    below = low - 0.1 * (high - low)
    if len(known) < len(values):
        ticks = {below: "none", **ticks}
    return {
        "label": escape(short(name)),
        "values": np.where(np.isfinite(values), values, below),
        "range": [min(ticks), high],
        "tickvals": list(ticks),
        "ticktext": list(ticks.values()),
    }


def _importance_hover(found: Importance) -> str:
    return (
        f"<b>{escape(found.decision)}</b><br>{found.mean:z.3f}, 95 % interval {found.low:z.3f} to "
        f"{found.high:z.3f}<br>{found.share:.0%} of all importances"
    )


def _group_hover(group: Group, marginal: Marginal) -> str:
    unit = marginal.axis.unit
    values = ", ".join(value_text(v, unit) for v in (group.q1, group.median, group.q3))
    return (
        f"<b>{escape(group.text)}</b><br>{group.count:,} trials<br>quartiles {values}<br>"
        f"{value_text(group.low, unit)} to {value_text(group.high, unit)}"
    )


def _add_predicted(figure: go.Figure, groups: Sequence[Group], places: Sequence[float]) -> None:
    known = [
        (place, group.predicted)
        for place, group in zip(places, groups, strict=True)
        if np.isfinite(group.predicted)
    ]
    if not known:
        return
    figure.add_scatter(
        x=[place for place, _ in known],
        y=[value for _, value in known],
        mode="lines+markers",
        name="what the forest predicts, all else equal",
        line={"color": ORANGE, "width": 1.5, "dash": "dot"},
        marker={"symbol": "diamond", "size": 9, "color": ORANGE},
        hovertemplate="predicted %{y:.5g}<extra></extra>",
    )


def _logarithmic(marginal: Marginal) -> bool:
    numbers = [group.place for group in marginal.groups if group.place is not None]
    return bool(numbers) and min(numbers) > 0 and max(numbers) >= LOG_FROM * min(numbers)


def _places(marginal: Marginal, log: bool) -> list[float]:
    """Return where groups stand: numbers where they are, what is not there left of them."""
    numbers = [group.place for group in marginal.groups if group.place is not None]
    if not marginal.numeric or not numbers:
        return [float(place) for place in range(len(marginal.groups))]
    first, second = numbers[0], numbers[1] if len(numbers) > 1 else numbers[0] + 1.0
    aside = first * first / second if log else first - (second - first)
    return [aside if group.place is None else group.place for group in marginal.groups]
