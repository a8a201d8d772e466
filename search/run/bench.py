"""What `netloom estimate` answers: counts and device costs of networks, explained or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import SpecError, UnknownName
from ...estimators.chosen import factors_of
from ...estimators.hardware import DeviceChoice, Hardware, Target
from ...hw_models import Workload
from ...hw_models.dtypes import Dtype
from ...hw_models.resolution import Resolution, sides
from .costing import explanation, metrics_of, targets_of

if TYPE_CHECKING:
    from ...estimators import Estimator
    from ...spaces import Architecture, DecisionSpace

_DATASETS = ("", "cifar100", "imagenet16")  # the options of a space say which table fits it


@dataclass(frozen=True)
class Asked:
    """What is asked of the devices.

    Args:
        devices: Modelled ones, device files, or those that a table of the space was measured on.
        batch: Images at once.
        dtype: Number format; None: each device's own.
        resolution: Side, or height and width, of the images; None: what networks were built for.
        top: Costliest layers to list in explanations; None: no explanations.
    """

    devices: tuple[str, ...] = ()
    batch: int = 1
    dtype: Dtype | None = None
    resolution: Resolution | None = None
    top: int | None = None

    @property
    def how(self) -> dict[str, Any]:
        """How the devices are asked: what is not left to them, beside the batch."""
        given = {"dtype": self.dtype, "resolution": self.resolution}
        return {"batch": self.batch} | {k: v for k, v in given.items() if v is not None}


@dataclass(frozen=True)
class Bench:
    """A space with the estimators that were asked for."""

    space: DecisionSpace
    estimators: tuple[Estimator, ...]
    wanted: frozenset[str]  # metrics of tables: only those of the devices asked for
    measured: tuple[str, ...] = ()
    explained: Hardware | None = None
    top: int = 0

    @classmethod
    def of(cls, space: DecisionSpace, asked: Asked) -> Bench:
        """Return counts, plus one hardware estimator or table for the devices.

        Of a product each network is counted by itself, and the accelerators that it decides are
        among the devices.

        Raises:
            UnknownName: If a device is neither modelled, nor a file, nor in a table of the space.
        """
        chosen = _counts(space, asked)
        modelled, tables = _split(space, asked)
        explained = None
        if modelled:
            costs = Hardware(space, devices=[DeviceChoice(device=d, **asked.how) for d in modelled])
            explained = costs if asked.top is not None else None
            chosen += [costs] if explained is None else []
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
        )

    @property
    def units(self) -> dict[str, str]:
        """Unit of each metric."""
        known = self.estimators if self.explained is None else (*self.estimators, self.explained)
        return {m.name: m.unit for e in known for m in e.metrics}

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
        if self.explained is not None or self.measured:
            devices = self._explanations(architecture)
            answer["metrics"] |= _metrics(devices)
            answer["devices"] = devices
        return answer

    def _explanations(self, architecture: Architecture) -> list[dict[str, Any]]:
        measured = [measured_device(device) for device in self.measured]
        if (costs := self.explained) is None:
            return measured
        networks, found = costs.networks(architecture), []
        for name in costs.targets:
            target, chip = costs.asked(architecture, name), costs.chosen(architecture, name)
            decided = {} if chip is None else {"accelerator": dict(chip)}
            found.append({**explanation(networks, name, target, top=self.top), **decided})
        return found + measured


def network_answer(network: str, workload: Workload, asked: Asked) -> dict[str, Any]:
    """Return counts and device costs of a network that no space holds.

    Raises:
        HardwareLimit: If a device cannot run it, and no explanation is asked for.
        SpecError: If a device does not compute so, or is only in tables.
    """
    targets = targets_of(asked.devices, **asked.how)
    if asked.resolution is not None:
        workload = workload.at_resolution(*sides(asked.resolution))
    answer: dict[str, Any] = {
        "network": network,
        "metrics": {
            "params": workload.params,
            "macs": workload.macs,
            "peak_activation_bytes": workload.peak_activation_bytes,
        },
    }
    if asked.top is not None:
        devices = [explanation([workload], n, t, top=asked.top) for n, t in targets.items()]
        answer["metrics"] |= _metrics(devices)
        return {**answer, "devices": devices}
    for name, target in targets.items():
        cost = target.cost(workload, breakdown=False)
        given = {f"{f}@{name}": getattr(cost, f) for f in target.model.provides}
        answer["metrics"] |= {k: whole(v) for k, v in given.items() if v is not None}
    return answer


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


def _counts(space: DecisionSpace, asked: Asked) -> list[Estimator]:
    """Return what counts the networks of a space; of a product, those of each factor."""
    from .parts import make_estimator
    from .spec import Named

    how = {} if asked.resolution is None else {"resolution": asked.resolution}
    factors: list[dict[str, str]] = [{"factor": name} for name in factors_of(space)[0]]
    return [
        make_estimator(
            Named.model_validate({"name": "complexity", **how, **factor}),
            space,
            None,
            ("complexity",),
        )[0]
        for factor in factors or [{}]
    ]


def _split(space: DecisionSpace, asked: Asked) -> tuple[list[str], dict[str, Estimator]]:
    """Return the modelled devices, and the table of each measured one."""
    from ...hw_models import device_names

    chips = factors_of(space)[1]
    known = set(device_names()) if asked.devices else set()
    modelled = [d for d in chips if d not in asked.devices]
    modelled += [d for d in asked.devices if d in known | {*chips} or d.endswith((".yaml", ".yml"))]
    rest = [d for d in asked.devices if d not in modelled]
    if not rest:
        return modelled, {}
    tables, reason = table_targets(space)
    for device in rest:
        if device not in tables:
            error = UnknownName("device", device, known.union(chips, tables))
            raise SpecError(f"{error} ({reason})") if reason else error
    if asked.how != {"batch": 1}:
        raise SpecError(
            f"{rest[0]} is known by measurements alone, at their own batch, number format and "
            "resolution; leave out --batch, --dtype and --resolution, or this device"
        )
    return modelled, {device: tables[device] for device in rest}


def table_targets(space: DecisionSpace) -> tuple[dict[str, Estimator], str]:
    """Return the measured devices of a space's tables; else none, and the reason."""
    from ...estimators import ESTIMATORS
    from ...options import build
    from ...spaces import ProductSpace

    if isinstance(space, ProductSpace):
        return {}, "tables know networks alone; estimate that factor of the product by itself"
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
