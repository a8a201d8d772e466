"""What `netloom estimate` answers: counts and device costs of networks, explained or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import SpecError, UnknownName
from ...estimators.hardware import Target
from ...hw_models import Workload
from ...hw_models.dtypes import Dtype
from .costing import explanation, metrics_of, targets_of

if TYPE_CHECKING:
    from ...estimators import Estimator
    from ...estimators.complexity import Workloads
    from ...spaces import Architecture, DecisionSpace

_DATASETS = ("", "cifar100", "imagenet16")  # the options of a space say which table fits it


@dataclass(frozen=True)
class Asked:
    """What is asked of the devices.

    Args:
        devices: Modelled ones, device files, or those that a table of the space was measured on.
        batch: Images at once.
        dtype: Number format; None: each device's own.
        top: Costliest layers to list in explanations; None: no explanations.
    """

    devices: tuple[str, ...] = ()
    batch: int = 1
    dtype: Dtype | None = None
    top: int | None = None


@dataclass(frozen=True)
class Bench:
    """A space with the estimators that were asked for."""

    space: DecisionSpace
    estimators: tuple[Estimator, ...]
    wanted: frozenset[str]  # metrics of tables: only those of the devices asked for
    measured: tuple[str, ...] = ()
    explained: Mapping[str, Target] = field(default_factory=dict)
    top: int = 0
    workloads: Workloads | None = None

    @classmethod
    def of(cls, space: DecisionSpace, asked: Asked) -> Bench:
        """Return counts, plus one hardware estimator or table for the devices.

        Raises:
            UnknownName: If a device is neither modelled, nor a file, nor in a table of the space.
        """
        from ...estimators.complexity import Workloads
        from .parts import make_estimator
        from .spec import Named

        chosen = [make_estimator(Named(name="complexity"), space, None, ("complexity",))[0]]
        modelled, tables = _split(space, asked)
        explained: dict[str, Target] = {}
        workloads = None
        if modelled and asked.top is not None:
            explained = targets_of(modelled, batch=asked.batch, dtype=asked.dtype)
            workloads = Workloads(space)
        elif modelled:
            how = {"batch": asked.batch} | ({"dtype": asked.dtype} if asked.dtype else {})
            entries = [{"device": device, **how} for device in modelled]
            named = Named.model_validate({"name": "hardware", "devices": entries})
            chosen.append(make_estimator(named, space, None, ("--device",))[0])
        wanted = {metric.name for estimator in chosen for metric in estimator.metrics}
        for target, table in tables.items():
            if table not in chosen:
                chosen.append(table)
            wanted |= {m.name for m in table.metrics if m.name.endswith(f"@{target}")}
        return cls(
            space,
            tuple(chosen),
            frozenset(wanted),
            tuple(tables) if asked.top is not None else (),
            explained,
            asked.top or 0,
            workloads,
        )

    @property
    def units(self) -> dict[str, str]:
        """Unit of each metric."""
        return units_of(self.explained) | {
            m.name: m.unit for e in self.estimators for m in e.metrics
        }

    def parsed(self, value: Any) -> Architecture:
        """Return the architecture that a JSON value or text writes."""
        return self.space.parse(value)

    def answers(
        self, items: Sequence[Architecture | Exception]
    ) -> list[dict[str, Any] | Exception]:
        """Return one answer per architecture, in order; what failed stays an exception."""
        good = [item for item in items if not isinstance(item, Exception)]
        columns = (
            [e.evaluate_many(good, seeds=[0] * len(good)) for e in self.estimators] if good else []
        )
        rows = iter(list(zip(*columns, strict=True)))
        return [
            item if isinstance(item, Exception) else self._answer(item, next(rows))
            for item in items
        ]

    def _answer(
        self, architecture: Architecture, parts: Sequence[Any]
    ) -> dict[str, Any] | Exception:
        metrics: dict[str, float] = {}
        for part in parts:
            if isinstance(part, Exception):
                return part
            metrics |= {k: whole(v) for k, v in part.items() if k in self.wanted}
        answer: dict[str, Any] = {
            "architecture": dict(architecture),
            "key": architecture.key,
            "metrics": metrics,
        }
        if self.explained or self.measured:
            devices = self._explanations(architecture)
            answer["metrics"] |= _metrics(devices)
            answer["devices"] = devices
        return answer

    def _explanations(self, architecture: Architecture) -> list[dict[str, Any]]:
        found = []
        if self.explained and self.workloads is not None:
            workload = self.workloads.of(architecture)
            found = explanations(workload, self.explained, self.top)
        return found + [measured_device(device) for device in self.measured]


def network_answer(network: str, workload: Workload, asked: Asked) -> dict[str, Any]:
    """Return counts and device costs of a network that no space holds.

    Raises:
        HardwareLimit: If a device cannot run it, and no explanation is asked for.
        SpecError: If a device does not compute so, or is only in tables.
    """
    targets = targets_of(asked.devices, batch=asked.batch, dtype=asked.dtype)
    answer: dict[str, Any] = {
        "network": network,
        "metrics": {
            "params": workload.params,
            "macs": workload.macs,
            "peak_activation_bytes": workload.peak_activation_bytes,
        },
    }
    if asked.top is not None:
        devices = explanations(workload, targets, asked.top)
        answer["metrics"] |= _metrics(devices)
        return {**answer, "devices": devices}
    for name, target in targets.items():
        cost = target.cost(workload, breakdown=False)
        given = {f"{f}@{name}": getattr(cost, f) for f in target.model.provides}
        answer["metrics"] |= {k: whole(v) for k, v in given.items() if v is not None}
    return answer


def explanations(
    workload: Workload, targets: Mapping[str, Target], top: int
) -> list[dict[str, Any]]:
    """Return what a network costs on each device, and why."""
    return [explanation(workload, name, target, top=top) for name, target in targets.items()]


def units_of(targets: Mapping[str, Target]) -> dict[str, str]:
    """Return the units of the metrics of devices."""
    from ...estimators.hardware import FIELDS

    return {f"{f}@{name}": FIELDS[f][0] for name, t in targets.items() for f in t.model.provides}


def _metrics(devices: Sequence[Mapping[str, Any]]) -> dict[str, float | int]:
    return {name: whole(v) for device in devices for name, v in metrics_of(device).items()}


def whole(value: float) -> float | int:
    """Return an integer where the number is one."""
    return int(value) if float(value).is_integer() else float(value)


def measured_device(target: str) -> dict[str, Any]:
    """Return what there is to say of a device on which the networks of a table were measured."""
    from ...estimators.tables import measured_devices

    spaces = ", ".join(measured_devices()[target])
    title = f"measured on every network of {spaces} (estimator tabular)"
    return {"device": target, "family": "measured", "title": title}


def _split(space: DecisionSpace, asked: Asked) -> tuple[list[str], dict[str, Estimator]]:
    """Return the modelled devices, and the table of each measured one."""
    from ...hw_models import device_names

    known = set(device_names()) if asked.devices else set()
    modelled = [d for d in asked.devices if d in known or d.endswith((".yaml", ".yml"))]
    rest = [d for d in asked.devices if d not in modelled]
    if not rest:
        return modelled, {}
    tables, reason = table_targets(space)
    for device in rest:
        if device not in tables:
            error = UnknownName("device", device, known | set(tables))
            raise SpecError(f"{error} ({reason})") if reason else error
    if asked.batch != 1 or asked.dtype is not None:
        raise SpecError(
            f"{rest[0]} is known by measurements alone, at their own batch and number format; "
            "leave out --batch and --dtype, or this device"
        )
    return modelled, {device: tables[device] for device in rest}


def table_targets(space: DecisionSpace) -> tuple[dict[str, Estimator], str]:
    """Return the measured devices of a space's tables; else none, and the reason."""
    from ...estimators import ESTIMATORS
    from ...options import build

    reason = ""
    for dataset in _DATASETS:
        try:
            options = {"dataset": dataset} if dataset else {}
            table: Estimator = build(ESTIMATORS.get("tabular"), options, space, None)
        except SpecError as error:
            reason = reason or str(error)
            continue
        targets = {m.name.partition("@")[2] for m in table.metrics}
        return {target: table for target in sorted(targets) if target}, ""
    return {}, reason
