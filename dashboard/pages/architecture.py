"""One network taken apart: drawing, costs by layer, memory, neighbours, another one beside it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...errors import NetloomError, StoreError
from ...jsonio import digest
from ..axes import objective_axes
from ..choice import number_of
from ..explained import ArchitectureView
from ..neighbours import neighbours
from ..source import Snapshot, Source
from ..words import value_text
from .architecture_parts import (
    COUNTS,
    Shown,
    costs_parts,
    decisions_part,
    drawings_part,
    metrics_part,
    missing_parts,
    neighbours_part,
)
from .parts import SEARCHED_FROM, chip, dropdown, notation, trouble, views
from .trial import facts_line

_OFFERED = 300  # members of the front that can be chosen from a list


def layout(source: Source, ref: str, trial: str, search: str) -> Any:
    """Return the page of trial `trial` of experiment `ref`; a callback fills it.

    Raises:
        StoreError: If there is no such experiment or trial.
    """
    number = number_of(trial)
    if number is None:
        raise StoreError(f"a trial is named by its number, got {trial!r}; look into the table")
    shot = source.snapshot(ref)
    view = ArchitectureView.of(source.store, shot.record.id, number)
    shown = Shown.parse(search)
    return [
        dcc.Location(id="arch-place", refresh=False),
        dcc.Store(id="arch-of", data={"id": shot.record.id, "number": number}),
        dcc.Store(id="arch-drawn"),
        html.Div(_head(shot, view), className="wide"),
        html.Section(
            [
                _choice(
                    "arch-beside",
                    "Beside",
                    "another network",
                    _others(source, shot, number, shown.beside),
                    shown.beside,
                ),
                _choice(
                    "arch-device", "Costs on", "no device", _devices(view), _device(view, shown)
                ),
            ],
            className="wide controls",
        ),
        html.Div(id="arch-parts", className="wide parts", **{"aria-live": "polite"}),
    ]


def register(app: Dash, source: Source) -> None:
    """Connect the page."""

    @app.callback(
        Output("arch-place", "search"),
        Output("arch-beside", "options"),
        Output("arch-beside", "value"),
        Output("arch-device", "value"),
        Input("arch-place", "search"),
        Input("arch-beside", "value"),
        Input("arch-device", "value"),
        State("arch-of", "data"),
        prevent_initial_call=True,
    )
    def choose(search: str | None, beside: Any, device: Any, of: dict[str, Any]) -> Any:
        known, by = Shown.parse(search), ctx.triggered_id
        if by == "arch-place":  # a link, or the way back
            try:
                shot = source.snapshot(of["id"])
                view = ArchitectureView.of(source.store, shot.record.id, int(of["number"]))
            except NetloomError:
                raise PreventUpdate from None  # the page says it
            options = _others(source, shot, of["number"], known.beside)
            return no_update, options, known.beside, _device(view, known)
        if by == "arch-beside":
            new = replace(known, beside=None if beside is None else int(beside))
        else:
            new = replace(known, device=device)
        if by is None or new == known:
            raise PreventUpdate
        return new.search, no_update, no_update, no_update

    @app.callback(
        Output("arch-parts", "children"),
        Output("arch-drawn", "data"),
        Output("arch-device", "options"),
        Input("arch-place", "search"),
        Input("revision", "data"),
        State("arch-of", "data"),
        State("arch-drawn", "data"),
    )
    def show(search: str | None, _: Any, of: dict[str, Any], drawn: str | None) -> Any:
        try:
            return _show(source, Shown.parse(search), of, drawn)
        except NetloomError as error:
            return trouble(error), None, no_update


def _show(source: Source, shown: Shown, of: dict[str, Any], drawn: str | None) -> Any:
    shot, number = source.snapshot(of["id"]), int(of["number"])
    view = ArchitectureView.of(source.store, shot.record.id, number)
    other = None
    if shown.beside is not None and shown.beside != number:
        other = ArchitectureView.of(source.store, shot.record.id, shown.beside)
    state = digest([shot.state, shown.search, *(each.kept for each in (view, other) if each)])
    if state == drawn:
        raise PreventUpdate
    members = source.members(shot)
    found = neighbours(shot.record, members, view.trial)
    parts = [
        *missing_parts(view, other),
        drawings_part(view, other),
        *costs_parts(view, other, _device(view, shown)),
        html.Div([metrics_part(view, other), decisions_part(view, other)], className="twins"),
        neighbours_part(shot.record.id, view, found, members, shown),
    ]
    return [part for part in parts if part is not None], state, _devices(view)


# ---------------------------------------------------------------- heading and choices
def _head(shot: Snapshot, view: ArchitectureView) -> list[Any]:
    record, trial = shot.record, view.trial.trial
    named = f" {trial.fixed}" if trial.fixed else ""
    return [
        html.H1([f"Trial {trial.number} of {record.name}{named} ", chip(view.trial.status)]),
        views(record.id, "trial"),
        html.P(
            dcc.Link("Back to the front", href=f"/exp/{record.id}?trial={trial.number}"),
            className="facts",
        ),
        html.P(notation(trial.notation or trial.key), className="notation", tabIndex=0),
        facts_line(view.trial, record.id),
        *([html.P(trial.error, className="broken")] if trial.error else []),
    ]


def _choice(
    id: str, label: str, without: str, options: list[dict[str, Any]], value: Any
) -> html.Label:
    return dropdown(
        id,
        label,
        options,
        value,
        clearable=id == "arch-beside",
        placeholder=without,
        searchable=len(options) >= SEARCHED_FROM,
    )


def _others(
    source: Source, shot: Snapshot, number: int, beside: int | None
) -> list[dict[str, Any]]:
    """Return the members of the front that can stand beside this network, and the one that does."""
    axes = objective_axes(shot.record)
    rows = sorted(source.members(shot), key=lambda row: row.metrics[axes[-1].metric])
    offered = [
        {
            "value": row.number,
            "label": f"trial {row.number}: "
            + ", ".join(value_text(row.metrics[axis.metric], axis.unit) for axis in axes),
        }
        for row in rows[:_OFFERED]
        if row.number != number
    ]
    if beside is None or any(option["value"] == beside for option in offered):
        return offered
    return [*offered, {"value": beside, "label": f"trial {beside}"}]


def _devices(view: ArchitectureView) -> list[dict[str, Any]]:
    named = [{"value": name, "label": name} for name in view.devices]
    counted = [{"value": COUNTS, "label": "no device: MACs"}] if view.counts else []
    return [*named, *counted]


def _device(view: ArchitectureView, shown: Shown) -> str | None:
    """Return the device that is shown: the one of the URL if there is such, else the first."""
    if shown.device in view.devices or (shown.device == COUNTS and view.counts):
        return shown.device
    return next(iter(view.devices), COUNTS if view.counts else None)
