"""What is kept of a network for those who look at it: its drawing, its layers, its costs by layer.

One document for each trial, JSON values among the stored details (kind `explanation`), so that
whoever shows it needs neither torch nor the space. `netloom.dashboard.explained` reads it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ...db.records import EXPLANATION, SpaceRef, TrialRecord
from ...estimators import Estimator
from ...estimators.chosen import Networks, factors_of
from ...estimators.complexity import Complexity
from ...estimators.factor import FactorEstimator
from ...estimators.hardware import FIELDS, Hardware, Target
from ...hw_models import Workload
from ...hw_models.mcu.model import McuModel
from ...hw_models.workload import WORKLOAD_VERSION
from ...jsonio import digest
from ...spaces import Architecture, DecisionSpace, ProductSpace, Space
from ...spaces.drawing import draw
from .costing import explanation
from .evaluation import one_line
from .members import stored_architecture
from .traced_drawing import MOST, drawn_layers

if TYPE_CHECKING:
    from ...db import Store

FORMAT = 3  # raise it when a document of the same network reads otherwise than before
MAX_BYTES = 100_000  # of a document as it is stored, compressed
MAX_ROWS = 1000  # layers, and steps of a timeline; beyond, neighbours are added up
_LEAST_ROWS = 50
_SUMMED = ("latency_ms", "energy_mj", "macs", "params", "bytes_moved", "output_bytes")


class _Asked(NamedTuple):
    """A device of the experiment: who models it, and of which factor of a product."""

    hardware: Hardware
    target: str
    factor: FactorEstimator | None = None

    def networks(self, architecture: Architecture) -> tuple[Target, list[Workload]]:
        """Return the device as an architecture holds it, and what runs there."""
        if self.factor is not None:
            architecture = self.factor.product.project(architecture, self.factor.factor)
        asked = self.hardware.asked(architecture, self.target)
        return asked, self.hardware.networks(architecture)


class Explainer:
    """Makes the documents of the architectures of a space.

    Args:
        space: Any; of one that builds no networks there is nothing but the reason.
        estimators: Those of the experiment; the devices of each `hardware` are explained.
        counted: Whether layers are counted where no device is; None: if an estimator counts them
            anyway, so that nothing is traced for this alone.
        beside: Those of the other spaces that fixed points are of.
    """

    def __init__(
        self,
        space: DecisionSpace,
        estimators: Sequence[Estimator],
        *,
        counted: bool | None = None,
        beside: Mapping[SpaceRef, Explainer] | None = None,
    ) -> None:
        self.space, self._beside = space, dict(beside or {})
        self.devices = _devices(estimators)
        builds = bool(_factors(space))
        traced = bool(self.devices) or any(isinstance(_inner(e), Complexity) for e in estimators)
        self.counted = builds and (traced if counted is None else counted)
        # a device of the whole space has traced its networks already
        whole = [asked.hardware.networks for asked in self.devices.values() if not asked.factor]
        self._networks = whole[0] if whole else Networks(space).of if builds else None

    def of(self, trial: TrialRecord) -> Explainer:
        """Return the explainer of the space of a trial."""
        return self if trial.space is None else self._beside[trial.space]

    def document(
        self, architecture: Architecture, known: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return what is to be stored of an architecture.

        What cannot be made holds the reason instead; nothing is raised but an interruption.

        Args:
            architecture: A member of the space.
            known: What is stored of it; parts made in the same way are taken from there, and
                devices that are not asked about stay.
        """
        known = known or {}
        devices = dict(known.get("devices", {}))
        for name, asked in self.devices.items():
            devices[name] = self._device(architecture, name, asked, devices.get(name))
        drawn = self._drawn(architecture, known)
        try:
            return _small_enough({**drawn, "devices": devices})
        except Exception as error:  # of parts that are made next time, as they say why not now
            return self._lost(one_line(error), known)

    def _lost(self, reason: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """Return a document that holds why there is none; devices not asked about stay."""
        lost = {name: {"device": name, "error": reason} for name in self.devices}
        devices = {**known.get("devices", {}), **lost}
        return {"format": FORMAT, "networks": [], "error": reason, "devices": devices}

    # ------------------------------------------------------------ drawing and layers
    def _drawn(self, architecture: Architecture, known: Mapping[str, Any]) -> dict[str, Any]:
        made_by = digest([FORMAT, WORKLOAD_VERSION, self.space.fingerprint])
        whole = known.get("counted", False) or not self.counted
        if known.get("made_by") == made_by and whole and "error" not in known:
            return {key: value for key, value in known.items() if key != "devices"}
        found: dict[str, Any] = {"format": FORMAT, "made_by": made_by, "counted": self.counted}
        if self._networks is None:
            reason = (
                f"the space {self.space.name} builds no networks, so that there is none to draw"
            )
            return {**found, "networks": [], "reason": reason}
        try:
            workloads = self._networks(architecture) if self.counted else []
            return {**found, "networks": self._each(architecture, workloads)}
        except Exception as error:  # the run, and the devices, go on without a drawing
            return {**found, "networks": [], "error": one_line(error)}

    def _each(
        self, architecture: Architecture, workloads: Sequence[Workload]
    ) -> list[dict[str, Any]]:
        found = []
        for n, (name, space) in enumerate(_factors(self.space).items()):
            own = architecture
            if isinstance(self.space, ProductSpace):
                own = self.space.project(architecture, name)
            entry: dict[str, Any] = {"name": name, "space": space.name}
            entry |= _drawing(space, own, workloads[n] if workloads else None)
            if workloads:
                entry |= _counts(workloads[n])
            found.append(entry)
        return found

    # ------------------------------------------------------------ devices
    def _device(
        self,
        architecture: Architecture,
        name: str,
        asked: _Asked,
        known: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        try:
            target, networks = asked.networks(architecture)
            made_by = digest([FORMAT, target.model.fingerprint, target.asked])
            if known is not None and known.get("made_by") == made_by and "error" not in known:
                return dict(known)
            found = explanation(networks, name, target, top=None)
            found["made_by"] = made_by
            if "totals" in found:
                found["layers"] = _columns(found["layers"], ("share_percent",))
                found["units"] = {field: FIELDS[field][0] for field in found["totals"]}
            if chip := asked.hardware.chosen(architecture, asked.target):
                found["accelerator"] = dict(chip)
            return {**found, **(_memory(target, networks) if "totals" in found else {})}
        except Exception as error:
            return {"device": name, "error": one_line(error)}


# ---------------------------------------------------------------- parts of a document
def _drawing(space: Space, architecture: Architecture, workload: Workload | None) -> dict[str, Any]:
    """Return the drawing of a network by its parts, else by its layers, else the reason."""
    title = f"{space.name}  {space.format(architecture)}"
    if (parts := space.parts(architecture)) is not None:
        return {"drawing": draw(parts, title=title), "parts": len(parts)}
    if workload is None:
        return {"reason": f"the space {space.name} gives no parts, and layers were not counted"}
    layers = drawn_layers(workload)
    if not layers or len(layers) > MOST:
        reason = f"the space {space.name} gives no parts, and {len(layers)} layers are no picture"
        return {"reason": reason}
    return {"drawing": draw(layers, title=title), "parts": len(layers)}


def _counts(workload: Workload) -> dict[str, Any]:
    """Return totals and layers of a network; layers that only rename memory are left out."""
    rows = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "macs": layer.macs,
            "params": layer.params,
            "output_bytes": layer.output_bytes,
            "shape": " x ".join(str(size) for size in layer.output_shapes[0][1:]),
        }
        for layer in workload.layers
        if not layer.view
    ]
    totals = {
        "params": workload.params,
        "macs": workload.macs,
        "peak_activation_bytes": workload.peak_activation_bytes,
    }
    return {"totals": totals, "layers": _columns(rows)}


def _memory(target: Target, networks: Sequence[Workload]) -> dict[str, Any]:
    """Return what is alive at each operator on a microcontroller that runs one network."""
    model = target.model
    if not isinstance(model, McuModel) or len(networks) != 1:
        return {}
    [network] = target.at_resolution(networks)
    plan = model.memory_plan(network, target.batch)
    steps = [{"op": s.op, "kind": s.kind, "live_bytes": s.live_bytes} for s in plan.timeline]
    top = max(plan.timeline, key=lambda step: step.live_bytes, default=None)
    found: dict[str, Any] = {
        "planner": plan.planner,
        "arena_bytes": plan.arena_bytes,
        "beside_bytes": plan.scratch_bytes + plan.persistent_bytes,
        "peak_bytes": plan.peak_bytes,
        "budget_bytes": model.sram_bytes,
        "steps": _columns(steps),
    }
    if top is not None:
        blocks = [{"name": b.name, "bytes": b.size_bytes, "role": b.role} for b in top.blocks]
        found["peak"] = {"op": top.op, "live_bytes": top.live_bytes, "blocks": blocks}
    if model.psram_bytes:
        found["slow_bytes"] = model.psram_bytes
    if plan.patch is not None:
        found["tiles"] = {"per_side": plan.patch.n, "operators": plan.patch.split}
    return {"memory": found}


def _columns(rows: Sequence[Mapping[str, Any]], without: Sequence[str] = ()) -> dict[str, Any]:
    """Return rows as columns of equal length: half the size, and names once."""
    keys = list(dict.fromkeys(key for row in rows for key in row if key not in without))
    return {key: [_short(row.get(key)) for row in rows] for key in keys}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


# ---------------------------------------------------------------- size
def _small_enough(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document, as JSON gives it back, small enough to be kept for every network.

    Neighbouring rows are added up where there are too many; a drawing goes last.
    """
    rows = MAX_ROWS
    found = _with_rows(document, rows)
    while _size(found) > MAX_BYTES and rows > _LEAST_ROWS:
        rows //= 2
        found = _with_rows(document, rows)
    if _size(found) > MAX_BYTES:
        found["networks"] = [_undrawn(entry) for entry in found["networks"]]
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def _size(document: Mapping[str, Any]) -> int:
    return len(zlib.compress(json.dumps(document, separators=(",", ":")).encode(), 6))


def _undrawn(entry: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in entry.items() if key != "drawing"}
    if "drawing" in entry:
        kept["reason"] = f"a drawing of {entry['parts']} parts takes more room than is given to one"
    return kept


def _with_rows(document: Mapping[str, Any], most: int) -> dict[str, Any]:
    networks = [_fewer(entry, "layers", most) for entry in document["networks"]]
    devices = {name: _fewer(entry, "layers", most) for name, entry in document["devices"].items()}
    for entry in devices.values():
        if "memory" in entry:
            entry["memory"] = _fewer(entry["memory"], "steps", most)
    return {**document, "networks": networks, "devices": devices}


def _fewer(entry: Mapping[str, Any], key: str, most: int) -> dict[str, Any]:
    """Return an entry whose table `key` has at most so many rows; `added_up` says from how many."""
    columns = entry.get(key, {})
    count = len(next(iter(columns.values()), ()))
    if count <= most:
        return dict(entry)
    length = -(-count // most)
    groups = [range(start, min(start + length, count)) for start in range(0, count, length)]
    return {
        **entry,
        key: {name: _grouped(columns, name, groups) for name in columns},
        "added_up": entry.get("added_up", count),
    }


def _grouped(columns: Mapping[str, Any], name: str, groups: Sequence[range]) -> list[Any]:
    values, times = columns[name], columns.get("latency_ms")
    if name in _SUMMED:
        return [fsum(values[i] or 0 for i in group) for group in groups]
    if name == "live_bytes":
        return [max(values[i] for i in group) for group in groups]
    if name in ("name", "op"):
        return [f"{values[group[0]]} … {values[group[-1]]}" for group in groups]
    if name == "bottleneck" and times is not None:
        return [values[max(group, key=lambda i: times[i])] for group in groups]
    if name == "kind":
        return [f"{len(group)} together" for group in groups]
    return [values[group[-1]] for group in groups]


# ---------------------------------------------------------------- what is asked
def _inner(estimator: Estimator) -> Estimator:
    return estimator.inner if isinstance(estimator, FactorEstimator) else estimator


def _devices(estimators: Sequence[Estimator]) -> dict[str, _Asked]:
    """Return every modelled device by the name that metrics have behind `@`."""
    found: dict[str, _Asked] = {}
    for estimator in estimators:
        hardware = _inner(estimator)
        if not isinstance(hardware, Hardware):
            continue
        factor = estimator if isinstance(estimator, FactorEstimator) else None
        for target in hardware.targets:
            name = target if factor is None else f"{factor.factor}.{target}"
            found[name] = _Asked(hardware, target, factor)
    return found


def _factors(space: DecisionSpace) -> dict[str, Space]:
    """Return the spaces that build networks: the space itself, or those of a product."""
    if isinstance(space, ProductSpace):
        known = {name: space.factors[name] for name in factors_of(space)[0]}
        return {name: factor for name, factor in known.items() if isinstance(factor, Space)}
    return {"": space} if isinstance(space, Space) else {}


# ---------------------------------------------------------------- storing
@dataclass
class Explained:
    """What became of the trials.

    Args:
        documents: Trial -> what is stored of it now.
        made: The trials whose documents are new or have changed.
        left: Trials that time did not allow.
    """

    documents: dict[int, dict[str, Any]] = field(default_factory=dict)
    made: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)


def explain_trials(
    store: Store,
    experiment_id: str,
    explainer: Explainer,
    trials: Sequence[TrialRecord],
    *,
    seconds: float | None = None,
    said: Callable[[int, int], None] = lambda done, total: None,
) -> Explained:
    """Store the documents of trials; those that are stored and would be the same are left alone.

    Args:
        store: Open for writing.
        experiment_id: The experiment's id.
        explainer: Of its space.
        trials: Any of it.
        seconds: After so long no further one is begun; None: all are made.
        said: Called with how many of how many are done.
    """
    found, start = Explained(), monotonic()
    for done, trial in enumerate(trials, start=1):
        if seconds is not None and monotonic() - start > seconds:
            found.left.append(trial.number)
            continue
        known = store.details(experiment_id, trial.number, EXPLANATION)
        document = explainer.of(trial).document(stored_architecture(trial), known)
        found.documents[trial.number] = document
        if document != known:
            with store.transaction() as transaction:
                transaction.add_details(experiment_id, trial.number, EXPLANATION, document)
            found.made.append(trial.number)
        said(done, len(trials))
    return found
