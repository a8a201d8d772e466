"""Figures of what a strategy did: its curves, the tree of its splits, distances, generations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from .details import Curve, option_text
from .figures import (
    BLUE,
    FONT,
    GREEN,
    GREY,
    ORANGE,
    SERIES,
    pale,
    plain,
    stack_height,
    style,
    title_panel,
    whole_steps,
)
from .generations import GenerationsView, Spread
from .thinning import evenly

COLUMNS = 2  # panels of curves side by side
MAPS = 3  # heat maps side by side
DASHES = ("solid", "dash", "dot", "dashdot")  # more searches than colours
LEGEND_ROW = 6  # entries of a legend in one line, about
GENERATIONS = 1000  # that are drawn; of more, as many evenly over them
LOWER = "lower quartile"  # the edge of a band that no legend names
NUMBERS = 6  # options up to which a heat map has its numbers written into it


def panels_figure(panels: Mapping[str, Sequence[Curve]], step: str) -> go.Figure:
    """Draw curves of the same quantity in one panel.

    Args:
        panels: Label of a quantity -> the curves of each search; `Curve.name` is the search's.
        step: What the steps are.
    """
    rows = -(-len(panels) // COLUMNS)
    figure = make_subplots(
        rows=rows,
        cols=COLUMNS,
        subplot_titles=[escape(label) for label in panels],
        vertical_spacing=0.28 / max(rows, 2),
        horizontal_spacing=0.08,
    )
    whole_steps(figure, np.concatenate([c.steps for curves in panels.values() for c in curves]))
    looks: dict[str, dict[str, Any]] = {}  # of the lines of each search
    for place, curves in enumerate(panels.values()):
        row, column = divmod(place, COLUMNS)
        for curve in curves:
            first, again, colour = curve.name not in looks, *divmod(len(looks), len(SERIES))
            look = {"color": SERIES[colour], "dash": DASHES[again % len(DASHES)], "width": 1.8}
            figure.add_scatter(
                x=curve.steps,
                y=curve.values,
                mode="lines+markers" if len(curve.steps) <= 60 else "lines",
                name=escape(curve.name),
                legendgroup=escape(curve.name),
                showlegend=first,
                line=looks.setdefault(curve.name, look),
                marker={"size": 4},
                hovertemplate=f"{step} %{{x}}: %{{y:.5g}}<extra>{plain(curve.name)}</extra>",
                row=row + 1,
                col=column + 1,
            )
        if place + COLUMNS >= len(panels):  # the lowest of its column
            figure.update_xaxes(title_text=step, row=row + 1, col=column + 1)
    style(figure, 90 + 230 * rows)
    lines = -(-len(looks) // LEGEND_ROW)
    figure.update_layout(
        showlegend=len(looks) > 1,
        margin_t=56 + 22 * lines,
        legend={"y": 1 + 50 / (90 + 230 * rows)},
    )
    return figure


def tree_figure(nodes: Sequence[Mapping[str, Any]]) -> go.Figure:
    """Draw a tree of splits, the whole on top; the best leaf stands out.

    Args:
        nodes: Of a note of kind `split_tree`, parents first.
    """
    places = _places(nodes)
    figure = go.Figure()
    for node in nodes:
        if node["parent"] is not None:
            (x, y), (x0, y0) = places[node["name"]], places[node["parent"]]
            figure.add_scatter(
                x=[x0, x],
                y=[y0, y],
                mode="lines",
                line={"color": GREY, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
    judged = {n["name"]: n["held_out"] for n in nodes if n.get("held_out") is not None}
    best = max(judged, key=lambda name: judged[name], default=None)
    figure.add_scatter(
        x=[places[n["name"]][0] for n in nodes],
        y=[places[n["name"]][1] for n in nodes],
        mode="markers+text",
        text=[_node_text(n) for n in nodes],
        textposition=["bottom center" if n["split"] is None else "middle right" for n in nodes],
        hovertext=[_node_hover(n) for n in nodes],
        hoverinfo="text",
        marker={
            "size": 14,
            "color": [GREEN if n["name"] == best else BLUE for n in nodes],
            "symbol": ["diamond" if n["name"] == best else "circle" for n in nodes],
        },
        showlegend=False,
        cliponaxis=False,
    )
    levels = len({y for _, y in places.values()})
    style(figure, 110 + 105 * levels)
    width = max(x for x, _ in places.values())
    figure.update_xaxes(visible=False, range=[-0.6, width + 0.6])
    figure.update_yaxes(visible=False, range=[-levels + 0.3, 0.4])
    figure.update_layout(margin={"l": 24, "r": 24, "t": 30, "b": 30})
    return figure


def distances_figure(decisions: Mapping[str, Mapping[str, Any]], split: str | None) -> go.Figure:
    """Draw how far apart the gradients of a decision's options are, a heat map per decision.

    Args:
        decisions: Decision -> what was measured: `options`, `distances`, `score`.
        split: The decision that was split.
    """
    rows = -(-len(decisions) // MAPS)
    figure = make_subplots(
        rows=rows,
        cols=MAPS,
        subplot_titles=[_map_title(n, found, n == split) for n, found in decisions.items()],
        vertical_spacing=0.42 / max(rows, 2),
        horizontal_spacing=0.12,
    )
    for place, found in enumerate(decisions.values()):
        row, column = divmod(place, MAPS)
        labels = [escape(option_text(option)) for option in found["options"]]
        short = [label if len(label) <= 14 else f"{label[:13]}…" for label in labels]
        ticks = {"tickvals": list(range(len(labels))), "ticktext": short, "tickfont": {"size": 10}}
        at = {"row": row + 1, "col": column + 1}
        figure.add_heatmap(
            z=found["distances"],
            customdata=[[f"{a} and {b}" for b in labels] for a in labels],
            hovertemplate="%{customdata}: %{z:.4g}<extra></extra>",
            texttemplate="%{z:.2f}" if len(labels) <= NUMBERS else None,
            textfont={"size": 10},
            coloraxis="coloraxis",
            **at,
        )
        figure.update_xaxes(**ticks, tickangle=40, showgrid=False, **at)
        figure.update_yaxes(**ticks, autorange="reversed", showgrid=False, **at)
    style(figure, 90 + 280 * rows)
    scale = {"colorscale": "Cividis", "cmin": 0, "colorbar": {"title": "distance", "thickness": 12}}
    figure.update_layout(coloraxis=scale, margin={"t": 70})
    figure.update_annotations(font={"size": 12, "family": FONT})
    return figure


def generations_figure(view: GenerationsView) -> go.Figure:
    """Draw the values of each objective by generation, and below them how many trials they are."""
    panels = len(view.spreads) + 1
    figure = make_subplots(rows=panels, cols=1, shared_xaxes=True, vertical_spacing=0.16 / panels)
    kept = evenly(np.arange(len(view.number)), GENERATIONS)
    x = view.number[kept]
    for row, spread in enumerate(view.spreads, start=1):
        for look in _spread_looks(spread, kept):
            named = row == 1 and look["name"] != LOWER
            figure.add_scatter(x=x, showlegend=named, **look, row=row, col=1)
        title_panel(figure, row, spread.axis.label)
    for name, counts, colour in (
        ("trials", view.trials, GREY),
        ("feasible trials", view.feasible, GREEN),
    ):
        figure.add_scatter(
            x=x,
            y=counts[kept],
            mode="lines",
            name=name,
            line={"color": colour, "width": 1.8, "shape": "hvh"},
            hovertemplate=f"generation %{{x}}: %{{y:,}}<extra>{name}</extra>",
            row=panels,
            col=1,
        )
    title_panel(figure, panels, "trials")
    style(figure, stack_height(panels))
    figure.update_layout(legend_traceorder="normal")  # a band would turn it around
    figure.update_yaxes(rangemode="tozero", row=panels, col=1)
    figure.update_xaxes(title_text="generation", row=panels, col=1)
    whole_steps(figure, view.number)
    return figure


def _spread_looks(spread: Spread, kept: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Yield the traces of one objective: the middle half as a band, the median, the best."""
    edge = {"mode": "lines", "line": {"width": 0, "color": BLUE}, "hoverinfo": "skip"}
    yield {**edge, "y": spread.low[kept], "name": LOWER}
    yield {
        **edge,
        "y": spread.high[kept],
        "name": "middle half",
        "fill": "tonexty",
        "fillcolor": pale(BLUE),
    }
    for name, values, colour, more in (
        ("median", spread.median, BLUE, {"mode": "lines"}),
        ("best", spread.best, ORANGE, {"mode": "lines+markers"}),
    ):
        yield {
            **more,
            "y": values[kept],
            "name": name,
            "line": {"color": colour, "width": 2 if name == "median" else 1},
            "marker": {"symbol": "diamond", "size": 6},
            "hovertemplate": f"generation %{{x}}: %{{y:.5g}}<extra>{name}</extra>",
        }


def _places(nodes: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Return where nodes stand: leaves side by side, parents in the middle above."""
    children: dict[str, list[str]] = {}
    level: dict[str, int] = {}
    for node in nodes:
        parent = node["parent"]
        level[node["name"]] = 0 if parent is None else level[parent] + 1
        if parent is not None:
            children.setdefault(parent, []).append(node["name"])
    x: dict[str, float] = {}
    leaves = 0
    for name in _in_order(nodes, children):
        if name in children:
            x[name] = sum(x[child] for child in children[name]) / len(children[name])
        else:
            x[name], leaves = float(leaves), leaves + 1
    return {name: (x[name], -float(level[name])) for name in x}


def _in_order(
    nodes: Sequence[Mapping[str, Any]], children: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the names with children before their parents."""
    found: list[str] = []
    waiting = [node["name"] for node in nodes if node["parent"] is None]
    while waiting:
        name = waiting.pop()
        found.append(name)
        waiting += children.get(name, [])
    return found[::-1]


def _node_text(node: Mapping[str, Any]) -> str:
    said = [f"<b>{escape(node['name'])}</b>"]
    if node["split"] is not None:
        return f"  {said[0]}, split by {escape(node['split'])}"
    if node.get("held_out") is not None:
        said.append(f"{float(node['held_out']):.4g}")
    return "<br>".join(said)


def _node_hover(node: Mapping[str, Any]) -> str:
    masks = [
        f"{escape(name)}: {escape(', '.join(map(option_text, options)))}"
        for name, options in node["masks"].items()
    ]
    return "<br>".join([f"<b>{escape(node['name'])}</b>", *(masks or ["every option"])])


def _map_title(name: str, found: Mapping[str, Any], chosen: bool) -> str:
    text = f"{escape(name)}: {float(found['score']):.3g}"
    return f"<b>{text}, split here</b>" if chosen else text
