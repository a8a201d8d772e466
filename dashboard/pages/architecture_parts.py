"""The sections of the page of one network."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dash import dcc, html

from ..architecture_figures import layers_figure, memory_figure
from ..choice import number_of, query, search_of
from ..explained import ArchitectureView, Bars, DeviceView, Drawing
from ..neighbours import Neighbour, Pair, change_text, decision_pairs, metric_pairs, named_pairs
from ..summary import Note
from ..table import Row
from ..words import plural, value_text
from .parts import graph, note, rows_table
from .trial import href, sources

COUNTS = ""  # what stands for no device in the choice of one
_LISTED = 12  # tensors alive at the peak of memory


@dataclass(frozen=True, slots=True)
class Shown:
    """What the URL of the page holds: another trial beside this one, and a device."""

    beside: int | None = None
    device: str | None = None

    @classmethod
    def parse(cls, search: str | None) -> Shown:
        """Read the part of a URL behind `?`; what is not understood is left out."""
        found = query(search, blank=True)
        return cls(number_of(found.get("beside", "")), found.get("device"))

    @property
    def search(self) -> str:
        """The part of a URL from `?` on; empty when everything is default."""
        pairs = {"beside": self.beside, "device": self.device}
        return search_of({name: value for name, value in pairs.items() if value is not None})


def missing_parts(view: ArchitectureView, other: ArchitectureView | None) -> list[Any]:
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


def drawings_part(view: ArchitectureView, other: ArchitectureView | None) -> Any:
    """Return the pictures, and why one is not there; None where there is neither."""
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
                shown.append(_picture(drawing, title))
            if totals:
                shown.append(html.P(totals, className="about"))
            if drawing.boxes and other is None:
                shown.append(_boxes(drawing))
    if other is not None:
        shown += _box_pairs(view, other)
    return html.Section([html.H2("Network"), *shown]) if shown else None


def _picture(drawing: Drawing, title: str) -> html.Div:
    """Return a picture with the files that it can be; as SVG only what can run nowhere."""
    name = re.sub(r"\W+", "-", title).strip("-").lower()
    saved = [  # assets/files.js makes the files
        html.Button(
            kind.upper(),
            title=f"Save as {kind.upper()}",
            className="save",
            **{"data-save": kind, "data-name": name},
        )
        for kind in (("png", "svg") if drawing.plain else ("png",))
    ]
    image = html.Img(src=drawing.source, alt=f"Layers of {title}, input first")
    return html.Div(
        [
            html.Div(image, className="scroll picture", tabIndex=0),
            html.Div(saved, className="files"),
        ],
        role="figure",
        **{"aria-label": f"Layers of {title}"},
    )


def _boxes(drawing: Drawing) -> html.Details:
    """Return what the boxes are in full: not all of it has room there."""
    rows = [(html.Code(label), text) for label, text in drawing.boxes]
    table = html.Div(rows_table(("box", "made as"), rows), className="long")
    return html.Details(
        [html.Summary(f"The {plural(len(rows), 'box', 'boxes')} in full"), table],
        className="sources",
    )


def _box_pairs(view: ArchitectureView, other: ArchitectureView) -> list[Any]:
    """Return the boxes of two networks side by side, for each factor that both have."""
    there = {drawing.name: dict(drawing.boxes) for drawing in other.drawings}
    found = []
    for drawing in view.drawings:
        pairs = named_pairs(dict(drawing.boxes), there.get(drawing.name, {}))
        if not (drawing.boxes and there.get(drawing.name)):
            continue
        differing = sum(pair.differs for pair in pairs)
        words = f"{differing} of {plural(len(pairs), 'box', 'boxes')} differ: both side by side"
        head = ("box", _called(view), _called(other))
        table = html.Div(_pairs(head, pairs), className="long")
        name = f"{drawing.name}: " if drawing.name else ""
        summary = html.Summary(f"{name}{words}")
        found.append(html.Details([summary, table], className="sources"))
    return found


def costs_parts(
    view: ArchitectureView, other: ArchitectureView | None, chosen: str | None
) -> list[Any]:
    """Return the costs by layer on the chosen device, and the memory of a microcontroller."""
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


def metrics_part(view: ArchitectureView, other: ArchitectureView | None) -> html.Section:
    """Return the metrics; of two networks side by side."""
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


def decisions_part(view: ArchitectureView, other: ArchitectureView | None) -> html.Section:
    """Return the decisions; of two networks side by side."""
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
    kept = "step" if len(head) > 3 else ""  # a metric is not broken before its unit
    header = html.Tr([html.Th(cell) for cell in head])
    body = [
        html.Tr(
            [
                html.Td(pair.name),
                html.Td(pair.here, className=kept),
                html.Td(pair.there, className=kept),
                *([html.Td(pair.change, className=f"step {_worth(pair.better)}")] if kept else []),
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


def neighbours_part(
    id: str,
    view: ArchitectureView,
    found: Sequence[Neighbour],
    members: Sequence[Row],
    shown: Shown,
) -> html.Section:
    """Return the next networks of the front, with links that keep the device that is shown."""
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
    rows = [_neighbour_row(id, number, each, shown) for each in found]
    return html.Section([title, html.P(words, className="about"), rows_table(head, rows)])


def _neighbour_row(id: str, number: int, each: Neighbour, shown: Shown) -> tuple[Any, ...]:
    step = next(d for d in each.differences if d.axis.metric == each.axis.metric)
    said = change_text(step.change, each.axis.unit)
    return (
        html.Span([f"next {each.side}: ", html.B(said), f" {each.axis.metric}"]),
        dcc.Link(
            f"trial {each.number}", href=href(id, each.number, replace(shown, beside=None).search)
        ),
        *(
            html.Span(
                [d.text, html.Small(f" → {value_text(d.value, d.axis.unit)}")],
                className=f"step {_worth(d.better)}",
            )
            for d in each.differences
        ),
        dcc.Link(
            "beside this one", href=href(id, number, replace(shown, beside=each.number).search)
        ),
    )
