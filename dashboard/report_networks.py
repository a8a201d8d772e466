"""The networks of the front in a report: drawn, with what they cost on each device and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..db.records import TrialRecord
from .explained import ArchitectureView, DeviceView, Drawing
from .markup import Html, el, join, notation, table
from .thinning import evenly
from .words import MISSING, value_text

if TYPE_CHECKING:
    from ..db import Store

SHOWN = 5  # networks of the front; each is up to some hundred KB
_LAYERS = 3  # costliest ones, named for each device


def chosen(front: Sequence[TrialRecord], most: int = SHOWN) -> list[TrialRecord]:
    """Return networks of the front from one end to the other, evenly spread: both ends are in it.

    Args:
        front: Sorted along its cost.
        most: How many at most.
    """
    return [front[place] for place in evenly(np.arange(len(front)), most).tolist()]


def read_networks(
    store: Store, experiment: str, front: Sequence[TrialRecord]
) -> list[ArchitectureView]:
    """Return the chosen networks of the front, with what is stored of them."""
    return [ArchitectureView.of(store, experiment, trial.number) for trial in chosen(front)]


def networks_part(networks: Sequence[ArchitectureView], members: int, ref: str) -> Html | None:
    """Return the networks drawn with their costs; None where nothing is stored of any.

    Args:
        networks: Some of the front, sorted along its cost.
        members: How many the front has.
        ref: What a command calls the experiment.
    """
    if not any(view.stored for view in networks):
        return None
    said = "All of them" if len(networks) == members else f"{len(networks)} of {members}"
    more = "" if len(networks) == members else ", from one end of the front to the other"
    command = el("code", f"netloom explain {ref} --front")
    absent = [view for view in networks if not view.stored]
    return join(
        [
            el("p", f"{said}{more}, sorted along the cost.", class_="about"),
            el("p", "What is missing here is stored by ", command, ".", class_="about")
            if absent
            else None,
            *(_network(view) for view in networks if view.stored),
        ]
    )


def _network(view: ArchitectureView) -> Html:
    trial = view.trial.trial
    values = ", ".join(f"{row.name} {row.text}" for row in view.trial.metrics if row.objective)
    return el(
        "article",
        el("h3", f"Trial {trial.number}{f' {trial.fixed}' if trial.fixed else ''}: {values}"),
        el("p", notation(trial.notation or trial.key)),
        el("p", f"Not drawn: {view.reason}.", class_="about") if view.reason else None,
        *(_drawing(drawing, trial.number) for drawing in view.drawings),
        _devices(view),
        class_="network",
    )


def _drawing(drawing: Drawing, number: int) -> Html:
    totals = ", ".join(f"{name} {value}" for name, value in drawing.totals)
    words = ": ".join(filter(None, [drawing.name, totals]))
    if drawing.svg is None:
        picture = el("p", f"Not drawn: {drawing.reason}.", class_="about")
    else:
        image = el("img", src=drawing.source, alt=f"Layers of trial {number}, input first")
        picture = el("div", image, class_="scroll picture", tabindex=0)
    return join([picture, el("p", words, class_="about") if words else None])


def _devices(view: ArchitectureView) -> Html | None:
    """Return a row for each device: verdict, totals, what the time goes into."""
    if not view.devices:
        return None
    fields = dict.fromkeys(key for device in view.devices.values() for key, *_ in device.totals)
    head = ("device", "verdict", *fields, "time goes into", "costliest layers")
    rows = [_device(device, list(fields)) for device in view.devices.values()]
    numeric = frozenset(range(2, 2 + len(fields)))
    return table(head, rows, numeric=numeric)


def _device(device: DeviceView, fields: Sequence[str]) -> list[object]:
    totals = {key: value for key, value, _ in device.totals}
    why = [el("small", text) for text in (*device.reasons, device.error) if text]
    verdict = join([device.verdict, *(join([el("br"), each]) for each in why)])
    shares = ", ".join(f"{kind} {share:.0f} %" for kind, share in device.waits)
    bars = device.bars
    layers = [] if bars is None else bars.costliest(_LAYERS)
    costly = [
        f"{bars.names[i]} {value_text(float(bars.values[i]), bars.unit)}"
        for i in layers
        if bars is not None
    ]
    return [
        join([device.name, el("br"), el("small", device.words)]),
        verdict,
        *(totals.get(field, MISSING) for field in fields),
        shares or MISSING,
        ", ".join(costly) or MISSING,
    ]
