"""One network taken apart: drawing, costs by layer, memory, neighbours, another one beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from dash import Dash, Input, Output, State, ctx, dcc, html, no_update
from dash.exceptions import PreventUpdate

from ...errors import NetloomError, StoreError
from ...jsonio import digest
from ..architecture_figures import layers_figure, memory_figure
from ..axes import objective_axes
from ..choice import MAX_NUMBER
from ..explained import ArchitectureView, Bars, DeviceView
from ..neighbours import (
    Neighbour,
    Pair,
    change_text,
    decision_pairs,
    metric_pairs,
    neighbours,
)
from ..source import Snapshot, Source
from ..summary import Note
from ..table import Row
from ..words import plural, value_text
from .parts import chip, graph, notation, note, rows_table, trouble, views
from .trial import facts, href, sources

COUNTS = ""  # what stands for no device in the choice of one
_OFFERED = 300  # members of the front that can be chosen from a list
_LISTED = 12  # tensors alive at the peak of memory


@dataclass(frozen=True, slots=True)
class Shown:
    """What the URL of the page holds: another trial beside this one, and a device."""

    beside: int | None = None
    device: str | None = None

    @classmethod
    def parse(cls, search: str | None) -> Shown:
        """Read the part of a URL behind `?`; what is not understood is left out."""
        found = parse_qs(
            (search or "").removeprefix("?"), keep_blank_values=True, max_num_fields=20
        )
        return cls(number_of(found.get("beside", [""])[-1]), found.get("device", [None])[-1])

    @property
    def search(self) -> str:
        """The part of a URL from `?` on; empty when everything is default."""
        pairs = {"beside": self.beside, "device": self.device}
        given = {name: value for name, value in pairs.items() if value is not None}
        return f"?{urlencode(given)}" if given else ""


def number_of(text: str) -> int | None:
    """Return the number of a trial that a URL holds; None where it holds none."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None
    return number if number is not None and number < MAX_NUMBER else None


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
            options = _others(source, source.snapshot(of["id"]), of["number"], known.beside)
            return no_update, options, known.beside, known.device or no_update
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
        *_missing(view, other),
        _drawings(view, other),
        *_costs(view, other, shown),
        html.Div([_metrics(view, other), _decisions(view, other)], className="twins"),
        _neighbours(shot, view, found, members),
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
        html.P(" · ".join(facts(view.trial)), className="facts"),
        *([html.P(trial.error, className="broken")] if trial.error else []),
    ]


def _choice(
    id: str, label: str, without: str, options: list[dict[str, Any]], value: Any
) -> html.Label:
    return html.Label(
        [
            html.Span(label),
            dcc.Dropdown(
                id=id,
                options=options,
                value=value,
                clearable=id == "arch-beside",
                placeholder=without,
                searchable=len(options) > 8,
            ),
        ],
        className="axis",
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


# ---------------------------------------------------------------- what was stored
def _missing(view: ArchitectureView, other: ArchitectureView | None) -> list[Any]:
    """Return what is to be done where nothing is stored, and why something is not."""
    found = []
    for each in (view, other):
        if each is None:
            continue
        named = f"Trial {each.trial.trial.number}"
        if not each.stored:
            text = (
                f"{named} is not taken apart: a search does so for its front at the end. The "
                "drawing, the layers and their costs are stored by"
            )
            found.append(note(Note("Nothing stored yet", text), html.Pre(each.command)))
        elif each.reason:
            found.append(note(Note(f"{named} could not be taken apart", each.reason)))
    return found


def _drawings(view: ArchitectureView, other: ArchitectureView | None) -> Any:
    shown = []
    for each in (view, other):
        for drawing in each.drawings if each else ():
            words = [f"Trial {each.trial.trial.number}", drawing.name] if each else []
            title = " · ".join(filter(None, words))
            totals = ", ".join(f"{name} {value}" for name, value in drawing.totals)
            if other is not None or drawing.name:
                shown.append(html.H3(title))
            if drawing.svg is None:
                shown.append(html.P(f"Not drawn: {drawing.reason}.", className="about"))
            else:
                picture = html.Img(src=drawing.source, alt=f"Layers of {title}, input first")
                shown.append(html.Div(picture, className="scroll picture", tabIndex=0))
            if totals:
                shown.append(html.P(totals, className="about"))
    return html.Section([html.H2("Network"), *shown]) if shown else None


def _costs(view: ArchitectureView, other: ArchitectureView | None, shown: Shown) -> list[Any]:
    """Return the costs by layer on the chosen device, and the memory of a microcontroller."""
    chosen = _device(view, shown)
    if chosen is None:
        return []
    both = [each for each in (view, other) if each is not None]
    if chosen == COUNTS:
        bars = {_called(each): each.counts for each in both if each.counts}
        return [_bars_section("MACs by layer", [], {k: v for k, v in bars.items() if v})]
    devices = {_called(each): each.devices[chosen] for each in both if chosen in each.devices}
    words = [part for name, d in devices.items() for part in _verdict(name, d, len(both) > 1)]
    layers = {name: device.bars for name, device in devices.items() if device.bars}
    lines = {name: device.memory for name, device in devices.items() if device.memory}
    section = _bars_section(f"Costs on {chosen}", words, layers)
    return [section, *([_memory_section(lines)] if lines else [])]


def _called(view: ArchitectureView) -> str:
    return f"trial {view.trial.trial.number}"


def _verdict(name: str, device: DeviceView, several: bool) -> list[Any]:
    """Return what a device says of a network: verdict, reasons, totals."""
    before = f"{name.capitalize()}: " if several else ""
    parts: list[Any] = [
        html.P(
            [html.B(f"{before}{device.verdict}"), f" · {device.words}" if device.words else ""],
            className="broken" if device.fits is False else "verdict",
        )
    ]
    parts += [html.P(text, className="broken") for text in (*device.reasons, device.error) if text]
    if device.totals:
        rows = [
            (key, html.Span(value, className="value"), html.Small(whence.strip("()")))
            for key, value, whence in device.totals
        ]
        parts.append(rows_table(("total", "value", "source"), rows, numeric=frozenset({1})))
    if device.waits:
        shares = ", ".join(f"{kind} {share:.0f} %" for kind, share in device.waits)
        parts.append(html.P(f"The time goes into {shares}.", className="about"))
    return parts


def _bars_section(title: str, words: Sequence[Any], layers: dict[str, Bars]) -> html.Section:
    parts = [html.H2(title), *words]
    if layers:
        parts.append(graph("layers-graph", layers_figure(layers), title))
        parts += [_costliest(name, bars, len(layers) > 1) for name, bars in layers.items()]
    return html.Section(parts)


def _costliest(name: str, bars: Bars, several: bool) -> html.Details:
    """Return the costliest layers as a table: what the figure says, to be read or copied."""
    rows = [
        (
            html.Code(bars.names[i]),
            bars.kinds[i],
            value_text(float(bars.values[i]), bars.unit),
            f"{100 * bars.values[i] / bars.total:.1f} %",
            bars.bottlenecks[i] if bars.bottlenecks else "",
            bars.texts[i],
        )
        for i in bars.costliest(10)
    ]
    summary = f"The costliest layers{f' of {name}' if several else ''}"
    if bars.added_up:
        summary += f" ({plural(bars.added_up, 'layer')}, neighbours added up)"
    head = ("layer", "kind", bars.unit, "share", "waits for", "")
    return html.Details(
        [html.Summary(summary), rows_table(head, rows, numeric=frozenset({2, 3}))],
        className="sources",
    )


def _memory_section(lines: dict[str, Any]) -> html.Section:
    parts: list[Any] = [
        html.H2("Memory while it runs"),
        graph("memory-graph", memory_figure(lines), "Bytes alive at each operator"),
    ]
    for name, line in lines.items():
        rows = [
            (html.Code(block), role, value_text(float(size), "bytes"))
            for block, role, size in line.blocks[:_LISTED]
        ]
        summary = f"Alive at the peak of {name}, {line.peak}: {plural(len(line.blocks), 'piece')}"
        table = rows_table(("piece", "role", "size"), rows, numeric=frozenset({2}))
        parts += [
            html.Details([html.Summary(summary), table], className="sources", open=len(lines) == 1),
            html.P(f"{line.words[:1].upper()}{line.words[1:]}.", className="about"),
        ]
    return html.Section(parts)


# ---------------------------------------------------------------- tables
def _metrics(view: ArchitectureView, other: ArchitectureView | None) -> html.Section:
    if other is not None:
        pairs = metric_pairs(view.trial, other.trial)
        head = ("metric", _called(view), _called(other), "difference")
        return html.Section([html.H2("Metrics"), _pairs(head, pairs)])
    rows = [
        (
            html.Span([row.name, html.Small(" held out") if row.split == "test" else ""]),
            html.Span(row.text, className="value"),
            html.Small(row.provenance.split(" · ")[0], title=row.provenance),
        )
        for row in view.trial.metrics
        if row.value is not None
    ]
    violated = view.trial.violated
    return html.Section(
        [
            html.H2("Metrics"),
            html.P(["Breaks ", ", ".join(violated)], className="broken") if violated else None,
            rows_table(("metric", "value", "source"), rows, numeric=frozenset({1})),
            sources(view.trial),
        ]
    )


def _decisions(view: ArchitectureView, other: ArchitectureView | None) -> html.Section:
    if other is None:
        table = rows_table(("decision", "value"), view.trial.decisions)
        return html.Section([html.H2("Decisions"), html.Div(table, className="long")])
    pairs = decision_pairs(view.trial, other.trial)
    differing = sum(pair.differs for pair in pairs)
    words = f"{differing} of {plural(len(pairs), 'decision')} differ."
    return html.Section(
        [
            html.H2("Decisions"),
            html.P(words, className="about"),
            html.Div(_pairs(("decision", _called(view), _called(other)), pairs), className="long"),
        ]
    )


def _pairs(head: Sequence[str], pairs: Sequence[Pair]) -> html.Div:
    """Return two networks side by side; rows that differ are marked."""
    header = html.Tr([html.Th(cell) for cell in head])
    body = [
        html.Tr(
            [
                html.Td(pair.name),
                html.Td(pair.here),
                html.Td(pair.there),
                *([html.Td(pair.change, className=_worth(pair.better))] if len(head) > 3 else []),
            ],
            className="differs" if pair.differs else "",
        )
        for pair in pairs
    ]
    return html.Div(
        html.Table([html.Thead(header), html.Tbody(body)]), className="scroll", tabIndex=0
    )


def _worth(better: bool | None) -> str:
    return "" if better is None else "better" if better else "worse"


def _neighbours(
    shot: Snapshot, view: ArchitectureView, found: Sequence[Neighbour], members: Sequence[Row]
) -> html.Section:
    number = view.trial.trial.number
    on_front = any(row.number == number for row in members)
    title = html.H2("Neighbours on the front")
    if not found:
        text = "There is no network on the front yet."
        if on_front:
            text = "It is alone on the front."
        elif members:
            text = f"Trial {number} has no costs that the front could be compared by."
        return html.Section([title, html.P(text, className="about")])
    axes = [difference.axis for difference in found[0].differences]
    head = ("step", "network", *(axis.metric for axis in axes), "")
    words = "What a step to the next network of the front buys, and what it costs." + (
        "" if on_front else f" Trial {number} is not on the front itself."
    )
    rows = [_neighbour_row(shot.record.id, number, each) for each in found]
    return html.Section([title, html.P(words, className="about"), rows_table(head, rows)])


def _neighbour_row(id: str, number: int, each: Neighbour) -> tuple[Any, ...]:
    step = next(d for d in each.differences if d.axis.metric == each.axis.metric)
    said = change_text(step.change, each.axis.unit)
    return (
        html.Span([f"next {each.side}: ", html.B(said), f" {each.axis.metric}"]),
        dcc.Link(f"trial {each.number}", href=href(id, each.number)),
        *(
            html.Span(
                [d.text, html.Small(f" → {value_text(d.value, d.axis.unit)}")],
                className=f"step {_worth(d.better)}",
            )
            for d in each.differences
        ),
        dcc.Link("beside this one", href=href(id, number, Shown(beside=each.number).search)),
    )
