"""Estimator `hardware`: what a network costs on named devices, by their hardware models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from ..errors import SpecError, UnknownName
from ..hw_models import (
    Cost,
    Device,
    HardwareModel,
    Workload,
    device_names,
    load_device,
    model_for,
)
from ..hw_models.dtypes import Dtype
from ..spaces import Architecture, DecisionSpace
from .complexity import Workloads
from .estimator import Direction, Estimator, Metric, Metrics, Report
from .tables import measured_devices

# field of Cost -> (unit, direction)
FIELDS: dict[str, tuple[str, Direction]] = {
    "latency_ms": ("ms", "minimize"),
    "peak_memory_bytes": ("bytes", "minimize"),
    "energy_mj": ("mJ", "minimize"),
    "flash_bytes": ("bytes", "minimize"),
    "area_mm2": ("mm2", "minimize"),
    "utilization": ("", "maximize"),
    "throughput_per_s": ("/s", "maximize"),
}


class DeviceChoice(BaseModel):
    """A device at a batch size, under a name of its own.

    Args:
        device: Name, or path of a device file.
        batch: Images at once.
        dtype: Number format (`float32`, `float16`, `bfloat16`, `int8`); the device's own if left
            out.
        as_: What metrics call it (`as` in a spec): `latency_ms@v100_b64`.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)
    device: str
    batch: int = Field(default=1, ge=1)
    dtype: Dtype | None = None
    as_: str | None = Field(default=None, alias="as", pattern=r"^[A-Za-z0-9_.-]+$")


class Target(NamedTuple):
    """A device as metrics name it: its model, and what it is asked at."""

    model: HardwareModel
    batch: int
    dtype: Dtype

    def cost(self, workload: Workload, *, breakdown: bool) -> Cost:
        """Return what a network costs there."""
        return self.model.cost(workload, self.batch, dtype=self.dtype, breakdown=breakdown)


class Hardware(Estimator):
    """Gives `latency_ms@dev`, `peak_memory_bytes@dev` and what else each device's model gives.

    Args:
        space: A space that builds networks.
        data: Not used.
        devices: Device names, paths of device files, or `{device: v100, batch: 64, as: v100_b64}`;
            without `as`, metrics use the device's own name.
    """

    name: ClassVar[str] = "hardware"
    cheap: ClassVar[bool] = True

    def __init__(
        self,
        space: DecisionSpace,
        data: Any = None,
        *,
        devices: Annotated[list[str | DeviceChoice], Field(min_length=1)],
    ) -> None:
        super().__init__(space, data)
        self._workloads = Workloads(space)
        given: object = devices
        if isinstance(given, str) or not given:
            raise SpecError(f"devices must be a list of device names, got {devices!r}")
        self.targets = chosen_targets([_choice(entry) for entry in devices])

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """For each device, what its model gives."""
        found = []
        for target, (model, batch, dtype) in self.targets.items():
            source = {
                "kind": "model",
                "source": model.device.name,
                "family": model.device.family,
                "calibrated": model.device.calibrated,
                "batch": batch,
                "dtype": dtype,
                "version": model.version,
            }
            for name in model.provides:
                unit, direction = FIELDS[name]
                provenance = model.provenance(name)
                error, base = provenance.error_percent, provenance.derived_from
                known: dict[str, Any] = {} if error is None else {"error_percent": error}
                if base:
                    known["proportional_to"] = f"{base}@{target}"
                whence = {**source, **known}
                found.append(Metric(f"{name}@{target}", unit, direction, provenance=whence))
        return tuple(found)

    def identity(self) -> dict[str, Any]:
        """Return the fingerprints of the models, which hold every number of their devices."""
        return {t: [m.fingerprint, batch, dtype] for t, (m, batch, dtype) in self.targets.items()}

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Return the metrics of all devices; see `Estimator.evaluate`."""
        workload = self._workloads.of(architecture)
        metrics: Metrics = {}
        for target, asked in self.targets.items():
            cost = asked.cost(workload, breakdown=False)
            for name in asked.model.provides:
                metrics[f"{name}@{target}"] = float(getattr(cost, name))
        return metrics

    def cost(self, architecture: Architecture, target: str) -> Cost:
        """Return the cost on one device with its breakdown.

        Raises:
            UnknownName: If `target` is not among the devices of this estimator.
        """
        if target not in self.targets:
            raise UnknownName("target", target, self.targets)
        return self.targets[target].cost(self._workloads.of(architecture), breakdown=True)

    def details(self, architecture: Architecture) -> Mapping[str, Any]:
        """Return, for each device, the cost with its breakdown by layer."""
        return {target: self.cost(architecture, target).to_dict() for target in self.targets}


def chosen_targets(choices: Iterable[DeviceChoice]) -> dict[str, Target]:
    """Return the devices by the name that metrics use.

    Raises:
        SpecError: If there is no such device, two have one name, or one does not compute in the
            number format asked for.
    """
    targets: dict[str, Target] = {}
    for choice in choices:
        device = _device(choice.device)
        name = choice.as_ or device.name
        if name in targets:
            raise SpecError(
                f"devices must have different names, got {name!r} twice; name one of them "
                f"{{device: {choice.device}, as: other_name}}"
            )
        model = model_for(device)
        targets[name] = Target(model, choice.batch, model.settled(choice.batch, choice.dtype))
    return targets


def _device(name: str) -> Device:
    """Return a device; one that only tables know is an error that says so."""
    try:
        return load_device(name)
    except UnknownName as error:
        unknown = UnknownName("device", name, device_names())
        if spaces := measured_devices().get(name):
            text = f"it is not modelled, but measured on {', '.join(spaces)}: use tabular"
            raise SpecError(f"{unknown}; {text}") from error
        raise unknown from error


def _choice(entry: str | DeviceChoice | Mapping[str, Any]) -> DeviceChoice:
    if isinstance(entry, str):
        return DeviceChoice(device=entry)
    if isinstance(entry, DeviceChoice):
        return entry
    from ..options import validate

    choice: DeviceChoice = validate(DeviceChoice, entry, where="devices")
    return choice
