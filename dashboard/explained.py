"""One network taken apart: what its run stored of drawing, layers, devices and memory."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..db.records import EXPLANATION
from ..jsonio import digest
from .details import TrialView
from .table import Floats
from .words import MISSING, origin_text, value_text

if TYPE_CHECKING:
    from ..db import Store

BOTTLENECKS = ("compute", "memory", "overhead", "none")
_SHAPE = re.compile(
    r"</?(svg|g|rect|path|text|tspan|title)"
    r"( (xmlns|d|x|y|rx|width|height|viewBox|fill|stroke|(fill|stroke|font|text|paint)-[a-z]+)"
    r'="[^"(]*")*/?>'
)
_LEAST = 0.5  # per cent of the time that are worth a word


@dataclass(frozen=True)
class Drawing:
    """The picture of one network, or why there is none.

    Args:
        name: Of its factor in a product; else empty.
        svg: The picture as it is stored; None where there is none.
        reason: Then why.
        totals: Parameters, MACs and the like: name and value in words.
    """

    name: str
    svg: str | None = field(repr=False)
    reason: str
    totals: tuple[tuple[str, str], ...]

    @property
    def source(self) -> str:
        """The picture as the source of an `<img>`: nothing in it can run there."""
        text = b64encode((self.svg or "").encode()).decode()
        return f"data:image/svg+xml;base64,{text}"

    @property
    def plain(self) -> bool:
        """Whether there is nothing but shapes and words in it, wherever it is opened."""
        return "<" not in _SHAPE.sub("", self.svg or "<")

    @property
    def boxes(self) -> list[tuple[str, str]]:
        """The label of each box and all that is known of it; a picture shows no tooltips."""
        titles = re.findall(r"<g><title>([^<]*)</title>", self.svg or "")
        split = [unescape(title).partition(": ") for title in titles]
        return [(label, text) for label, _, text in split]


@dataclass(frozen=True)
class Bars:
    """The layers of a network in the order in which they run, with what each costs.

    Args:
        names: Of the layers; of several that were added up the first and the last.
        kinds: What they are.
        values: Milliseconds on a device; else MACs, (n,).
        bottlenecks: What each waits for, one of `BOTTLENECKS`; empty without a device.
        texts: What else is known of each.
        unit: Of the values.
        added_up: How many layers they were; None: each is one.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    values: Floats = field(repr=False)
    bottlenecks: tuple[str, ...]
    texts: tuple[str, ...] = field(repr=False)
    unit: str
    added_up: int | None

    def costliest(self, top: int) -> list[int]:
        """Return the positions of the largest values, largest first; what is free is left out."""
        order = np.argsort(-self.values, kind="stable")[:top]
        return [int(i) for i in order if self.values[i] > 0]

    @property
    def total(self) -> float:
        """The sum of the values."""
        return float(self.values.sum())


@dataclass(frozen=True)
class Timeline:
    """What is alive in the memory of a microcontroller at each operator.

    Args:
        operators: In the order in which they run.
        live_bytes: Tensors and scratch alive at each, (n,).
        beside_bytes: What the runtime needs beside them all the time.
        peak_bytes: What the whole needs as it was placed.
        budget_bytes: What the device has.
        peak: The operator at which most is alive.
        blocks: What is alive then: name, role and bytes, the largest first.
        words: How it was planned.
    """

    operators: tuple[str, ...]
    live_bytes: NDArray[np.int64] = field(repr=False)
    beside_bytes: int
    peak_bytes: int
    budget_bytes: int
    peak: str
    blocks: tuple[tuple[str, str, int], ...]
    words: str


@dataclass(frozen=True)
class DeviceView:
    """What a network costs on one device, and why.

    Args:
        name: What metrics call it.
        words: What it is: title, family, batch, number format.
        fits: The verdict; None where there is none.
        error: Why there is none.
        reasons: The limits that the network breaks, in words.
        totals: Quantity, value in words, and where it comes from.
        waits: What the time goes into: bottleneck and per cent, largest first.
        bars: The layers; None where the device runs none.
        memory: Of a microcontroller.
    """

    name: str
    words: str
    fits: bool | None
    error: str
    reasons: tuple[str, ...]
    totals: tuple[tuple[str, str, str], ...]
    waits: tuple[tuple[str, float], ...]
    bars: Bars | None
    memory: Timeline | None

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.fits is None:
            return "not known"
        if self.fits:
            return "fits"
        return "does not fit" if self.totals else "cannot run there"


@dataclass(frozen=True)
class ArchitectureView:
    """One network taken apart.

    Args:
        trial: Everything else that is known of the trial.
        kept: A digest of what is kept of the network itself; empty: nothing is.
        command: What stores it, or more of it.
        reason: Why there is nothing to draw or to count, where that is so.
        drawings: One for each network: several in a product of spaces.
        counts: The layers without a device, of all its networks; None where they are not counted.
        devices: By name, in the order of the experiment.
    """

    trial: TrialView
    kept: str
    command: str
    reason: str
    drawings: tuple[Drawing, ...]
    counts: Bars | None
    devices: Mapping[str, DeviceView]

    @property
    def stored(self) -> bool:
        """Whether anything is kept of the network itself."""
        return bool(self.kept)

    @classmethod
    def of(cls, store: Store, ref: str, number: int) -> ArchitectureView:
        """Read trial `number` of experiment `ref`.

        Raises:
            StoreError: If there is no such experiment or trial.
        """
        view = TrialView.of(store, ref, number)
        record = store.experiment(ref)
        kept = store.details(record.id, number, EXPLANATION)
        return cls.from_document(view, record.ref, kept)

    @classmethod
    def from_document(
        cls, trial: TrialView, experiment: str, kept: Mapping[str, Any] | None
    ) -> ArchitectureView:
        """Return the view of what is kept of a trial; None: nothing is."""
        state = "" if kept is None else digest(dict(kept))
        kept = kept or {}
        networks = kept.get("networks", ())
        return cls(
            trial=trial,
            kept=state,
            command=f"netloom explain {experiment} --trial {trial.trial.number}",
            reason=str(kept.get("reason") or kept.get("error") or ""),
            drawings=tuple(_drawing(network) for network in networks),
            counts=_counted([n for n in networks if "layers" in n]),
            devices={name: _device(name, d) for name, d in kept.get("devices", {}).items()},
        )


def _drawing(network: Mapping[str, Any]) -> Drawing:
    units = {"params": "", "macs": "MACs", "peak_activation_bytes": "bytes"}
    totals = network.get("totals", {})
    return Drawing(
        name=str(network.get("name", "")),
        svg=network.get("drawing"),
        reason=str(network.get("reason", "")),
        totals=tuple((key, value_text(totals[key], unit)) for key, unit in units.items() if totals),
    )


def _counted(networks: Sequence[Mapping[str, Any]]) -> Bars | None:
    """Return the MACs of every layer of the networks, one after the other."""
    if not networks:
        return None
    names: list[str] = []
    kinds: list[str] = []
    values: list[float] = []
    texts: list[str] = []
    for network in networks:
        layers, before = network["layers"], f"{network['name']}." if network["name"] else ""
        names += [f"{before}{name}" for name in layers.get("name", ())]
        kinds += layers.get("kind", ())
        values += layers.get("macs", ())
        texts += [
            f"{value_text(params)} parameters, makes {shape} ({value_text(made, 'bytes')})"
            for params, shape, made in zip(
                layers.get("params", ()),
                layers.get("shape", ()),
                layers.get("output_bytes", ()),
                strict=True,
            )
        ]
    added = [n["added_up"] for n in networks if "added_up" in n]
    return Bars(
        tuple(names),
        tuple(kinds),
        np.array(values, dtype=np.float64),
        (),
        tuple(texts),
        "MACs",
        sum(added) or None,
    )


def _device(name: str, found: Mapping[str, Any]) -> DeviceView:
    totals, units = found.get("totals", {}), found.get("units", {})
    waits = [(k, float(v)) for k, v in found.get("waits_for", {}).items() if v >= _LEAST]
    return DeviceView(
        name=name,
        words=_words(found),
        fits=found.get("fits"),
        error=str(found.get("error", "")),
        reasons=tuple(str(reason["text"]) for reason in found.get("reasons", ())),
        totals=tuple(
            (key, value_text(value, units.get(key, "")), origin_text(found["provenance"][key]))
            for key, value in totals.items()
        ),
        waits=tuple(waits),
        bars=_bars(found) if found.get("layers") else None,
        memory=_timeline(found["memory"]) if "memory" in found else None,
    )


def _words(found: Mapping[str, Any]) -> str:
    if "title" not in found:
        return ""
    calibrated = "calibrated" if found["calibrated"] else "not calibrated"
    words = [
        f"family {found['family']}",
        calibrated,
        f"batch {found['batch']}",
        str(found["dtype"]),
    ]
    if size := found.get("resolution"):
        words.append(f"images of {size[0]} x {size[1]}")
    return f"{found['title']} ({', '.join(words)})"


def _bars(found: Mapping[str, Any]) -> Bars:
    layers = found["layers"]
    energies = layers.get("energy_mj", [None] * len(layers["name"]))
    texts = [
        f"{value_text(macs)} MACs, {value_text(moved, 'bytes')} moved"
        + ("" if energy is None else f", {value_text(energy, 'mJ')}")
        for macs, moved, energy in zip(layers["macs"], layers["bytes_moved"], energies, strict=True)
    ]
    return Bars(
        tuple(map(str, layers["name"])),
        tuple(map(str, layers["kind"])),
        np.array(layers["latency_ms"], dtype=np.float64),
        tuple(each if each in BOTTLENECKS else "none" for each in layers["bottleneck"]),
        tuple(texts),
        "ms",
        found.get("added_up"),
    )


def _timeline(memory: Mapping[str, Any]) -> Timeline:
    peak, steps = memory.get("peak", {}), memory.get("steps", {})
    blocks = [(str(b["name"]), str(b["role"]), int(b["bytes"])) for b in peak.get("blocks", ())]
    words = [f"planner {memory['planner']}"]
    if tiles := memory.get("tiles"):
        words.append(
            f"the first {tiles['operators']} operators run in {tiles['per_side']} x "
            f"{tiles['per_side']} tiles, of which the neediest is shown"
        )
    if slow := memory.get("slow_bytes"):
        words.append(f"what does not fit may lie in {value_text(slow, 'bytes')} of external RAM")
    if many := memory.get("added_up"):
        words.append(f"{many:,} operators, neighbours shown as one")
    return Timeline(
        operators=tuple(map(str, steps.get("op", ()))),
        live_bytes=np.array(steps.get("live_bytes", ()), dtype=np.int64),
        beside_bytes=int(memory["beside_bytes"]),
        peak_bytes=int(memory["peak_bytes"]),
        budget_bytes=int(memory["budget_bytes"]),
        peak=str(peak.get("op", MISSING)),
        blocks=tuple(sorted(blocks, key=lambda block: -block[2])),
        words="; ".join(words),
    )
